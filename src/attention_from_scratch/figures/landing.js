// A query among six words: scores from distance, softmax, and the mean of the values.
(root, data, tools) => {
  const { svg, color } = tools;
  const canvas = tools.canvas(root, { width: 640, height: 344 });
  const x = tools.scale([0, 1], [24, 616]);
  const y = tools.scale([0, 1], [300, -10]);
  const bar = tools.scale([0, 1], [110, 530]);

  const lines = data.map((key) => svg("line", { x1: x(key.x), y1: y(key.y), stroke: color("weights"), "stroke-linecap": "round" }));
  const marks = data.map((key) => svg("circle", { cx: x(key.x), cy: y(key.y), r: 7, fill: color("key") }));
  const names = data.map((key) => svg("text", { x: x(key.x), y: y(key.y) - 14, "text-anchor": "middle", class: "afs-halo" }, key.word));
  const shares = data.map((key) => svg("text", { x: x(key.x), y: y(key.y) + 25, "text-anchor": "middle", class: "afs-tick afs-halo" }));
  const query = svg("circle", { r: 12, fill: color("query") });
  const bank = svg("text", { "text-anchor": "middle", class: "afs-label afs-halo", "pointer-events": "none" }, "bank?");
  const read = svg("circle", { cy: 306, r: 9, fill: color("value") });
  canvas.append(
    ...lines, ...marks, ...names, ...shares,
    svg("line", { x1: bar(0), x2: bar(1), y1: 306, y2: 306, class: "afs-axis" }),
    ...data.map((key) => svg("line", { x1: bar(key.value), x2: bar(key.value), y1: 300, y2: 312, stroke: color("value"), "stroke-width": 2 })),
    svg("text", { x: bar(0) - 14, y: 311, "text-anchor": "end" }, "nature"),
    svg("text", { x: bar(1) + 14, y: 311 }, "finance"),
    read, query, bank,
  );

  const say = tools.say(root);
  const draw = (qx, qy) => {
    const weights = tools.softmax(data.map((key) => -24 * ((key.x - qx) ** 2 + (key.y - qy) ** 2)));
    const value = tools.dot(weights, data.map((key) => key.value));
    weights.forEach((weight, i) => {
      tools.set(lines[i], { x2: x(qx), y2: y(qy), "stroke-width": Math.max(0.75, 22 * weight), "stroke-opacity": 0.2 + 0.7 * weight });
      shares[i].textContent = `${tools.format(100 * weight, 0)} %`;
    });
    tools.set(query, { cx: x(qx), cy: y(qy) });
    tools.set(bank, { x: x(qx), y: y(qy) - 20 });
    tools.set(read, { cx: bar(value) });
    const top = weights.indexOf(Math.max(...weights));
    say(`Most weight: ${data[top].word}. Value read: ${tools.format(value)}, where 0 is nature and 1 is finance.`);
  };
  tools.drag(query, {
    label: "query for the word bank",
    x: { scale: x, min: 0, max: 1, step: 0.02, value: 0.32 },
    y: { scale: y, min: 0.1, max: 0.95, step: 0.02, value: 0.55 },
    onMove: draw,
  });
  draw(0.32, 0.55);
}
