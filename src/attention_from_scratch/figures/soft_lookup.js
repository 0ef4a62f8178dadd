// Keys on a line: above, the values and the answer for every query; below, the weights and the query to drag.
(root, data, tools) => {
  const { keys, values } = data;
  const widen = (numbers, share) => {
    const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
    const margin = share * (high - low || 1);
    return [low - margin, high + margin];
  };
  const span = widen(keys, 0.12);
  const top = tools.plot(root, { x: span, y: widen(values, 0.12), yLabel: data.yLabel, height: 240, bottom: 26 });
  const low = tools.plot(root, { x: span, y: [0, 1], xLabel: data.xLabel, yLabel: "weight of each key", height: 200, top: 30 });
  const { x } = low;

  const state = { query: data.query, power: Math.log10(data.temperature) };
  // The largest score is subtracted before the division, so the coldest setting cannot overflow.
  const weigh = (query) => {
    const scores = keys.map((key) => -((query - key) ** 2) / 2);
    const best = Math.max(...scores);
    return tools.softmax(scores.map((score) => (score - best) / 10 ** state.power));
  };

  const line = (paint, attributes) => tools.svg("line", { stroke: tools.color(paint), ...attributes });
  const curve = tools.svg("path", { fill: "none", stroke: tools.color("ink"), "stroke-width": 2 });
  const tie = line("query", { y2: 214, "stroke-dasharray": "3 4", "stroke-width": 1.5 }); // 214: the upper plot's floor
  const dots = keys.map((key, i) => tools.svg("circle", { cx: x(key), cy: top.y(values[i]), fill: tools.color("value") }));
  const answer = tools.svg("circle", { r: 8, fill: tools.color("ground"), stroke: tools.color("ink"), "stroke-width": 3 });
  top.layer.append(curve, tie, ...dots, answer);

  const bars = keys.map((key) => line("weights", { x1: x(key), x2: x(key), y1: low.y(0), "stroke-width": 16 }));
  const feet = keys.map((key) => line("key", { x1: x(key), x2: x(key), y1: low.y(0) - 5, y2: low.y(0) + 6, "stroke-width": 4 }));
  const shares = keys.map((key) => tools.svg("text", { x: x(key), "text-anchor": "middle", class: "afs-halo" }));
  const plumb = line("query", { y1: low.y(1), y2: low.y(0), "stroke-dasharray": "3 4", "stroke-width": 1.5 });
  const handle = tools.svg("circle", { cy: low.y(0), r: 10, fill: tools.color("query") });
  low.layer.append(...bars, plumb, ...feet, ...shares, handle);

  const controls = tools.row(root);
  const say = tools.say(root);
  const draw = () => {
    const weights = weigh(state.query);
    const found = tools.dot(weights, values);
    const at = x(state.query);
    weights.forEach((weight, i) => {
      tools.set(bars[i], { y2: low.y(weight) });
      tools.set(dots[i], { r: 3.5 + 8 * Math.sqrt(weight) });
      tools.set(shares[i], { y: low.y(weight) - 6 });
      shares[i].textContent = weight >= 0.005 ? `${Math.round(100 * weight)} %` : "";
    });
    tools.set(answer, { cx: at, cy: top.y(found) });
    tools.set(tie, { x1: at, x2: at, y1: top.y(found) });
    tools.set(plumb, { x1: at, x2: at });
    tools.set(handle, { cx: at });
    const steps = Array.from({ length: 241 }, (_, i) => span[0] + ((span[1] - span[0]) * i) / 240);
    tools.set(curve, { d: tools.path(steps.map((q) => [x(q), top.y(tools.dot(weigh(q), values))])) });
    const best = weights.indexOf(Math.max(...weights));
    say(`Query ${tools.format(state.query, 1)} → answer ${tools.format(found, 1)}. The key ${tools.format(keys[best], 1)} has the most weight, ${Math.round(100 * weights[best])} %.`);
  };
  tools.drag(handle, {
    label: "query", show: (v) => tools.format(v, 1),
    x: { scale: x, min: span[0], max: span[1], step: 0.1, value: state.query },
    onMove: (query) => { state.query = query; draw(); },
  });
  tools.slider(controls, {
    label: "temperature", min: -2, max: 4, step: 0.05, value: state.power, accent: "weights",
    show: (power) => tools.format(10 ** power, power < 0 ? 2 : power < 1 ? 1 : 0),
    onInput: (power) => { state.power = power; draw(); },
  });
  draw();
}
