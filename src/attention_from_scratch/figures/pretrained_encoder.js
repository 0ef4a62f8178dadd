// The error of every machine after each layer, on a logarithmic axis; a tolerance to drag says which ones pass.
(root, data, tools) => {
  const { svg, set, color, scale } = tools;
  const width = 600, height = 400, left = 58, right = 164, top = 34, bottom = 48;
  const drawing = tools.canvas(root, { width, height });
  const log = Math.log10;
  const all = data.machines.flatMap((machine) => machine.errors).map(log);
  const low = Math.floor(Math.min(...all)), high = Math.ceil(Math.max(...all));
  const y = scale([low, high], [height - bottom, top]);
  const last = data.machines[0].errors.length - 1;
  const x = scale([0, Math.max(1, last)], [left + 36, width - right - 12]);
  const power = (n) => "10" + String(n).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  const short = (value) => {
    const n = Math.floor(log(value) + 1e-9);
    return n >= -1 && n < 2 ? tools.format(value, 1) : `${tools.format(value / 10 ** n, 1)}·${power(n)}`;
  };
  for (let n = low; n <= high; n++) drawing.append(
    svg("line", { x1: left, x2: width - right, y1: y(n), y2: y(n), class: "afs-rule" }),
    svg("text", { x: left - 8, y: y(n) + 4, class: "afs-tick", "text-anchor": "end" }, power(n)),
  );
  for (let i = 0; i <= last; i++)
    drawing.append(svg("text", { x: x(i), y: height - bottom + 19, class: "afs-tick", "text-anchor": "middle" }, String(i)));
  drawing.append(
    svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "afs-axis" }),
    svg("text", { x: 4, y: 16 }, "largest error"),
    svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, "layer (0: embeddings)"),
  );
  const layer = svg("g");
  const line = svg("line", { x1: left, x2: width - right, stroke: color("ink"), "stroke-width": 1.5, "stroke-dasharray": "7 5" });
  const knob = svg("circle", { cx: left + 10, r: 9, fill: color("ink") });
  drawing.append(layer, line, knob);

  let chosen = null;
  let exponent = Math.min(high, Math.max(low, log(data.tolerance)));
  const passes = (machine) => machine.errors.every((error) => log(error) <= exponent + 1e-9);
  const paint = (machine) => machine.right ? "ink" : passes(machine) ? "ochre" : "soft";
  const draw = () => {
    tools.clear(layer);
    set(line, { y1: y(exponent), y2: y(exponent) });
    set(knob, { cy: y(exponent) });
    const ends = data.machines.map((machine) => {
      const strong = machine.right || passes(machine) || machine === chosen;
      const points = machine.errors.map((error, i) => [x(i), y(log(error))]);
      const shade = color(machine === chosen && paint(machine) === "soft" ? "ink" : paint(machine));
      layer.append(svg("path", { d: tools.path(points), fill: "none", stroke: shade, "stroke-width": strong ? 2.5 : 1.2 }));
      for (const [cx, cy] of points) layer.append(svg("circle", { cx, cy, r: strong ? 3.5 : 2, fill: shade }));
      return { machine, strong, shade, at: points[last][1] };
    }).sort((a, b) => a.at - b.at);
    // Names stand at the right end of their lines, moved apart where two would overlap, and back from the lower edge.
    const room = 19;
    ends.forEach((end, i) => { end.y = Math.max(end.at, i ? ends[i - 1].y + room : top); });
    for (let i = ends.length - 1; i >= 0; i--)
      ends[i].y = Math.min(ends[i].y, i === ends.length - 1 ? height - bottom : ends[i + 1].y - room);
    for (const { machine, strong, shade, at, y: where } of ends) {
      layer.append(
        svg("path", { d: tools.path([[x(last) + 5, at], [width - right + 8, where]]), class: "afs-rule" }),
        svg("text", { x: width - right + 12, y: where + 5, class: strong ? "afs-label" : "", style: `fill: ${shade}` }, machine.name),
      );
    }
    const wrong = data.machines.filter((machine) => !machine.right);
    const through = wrong.filter(passes);
    const good = data.machines.find((machine) => machine.right);
    const verdict = through.length ? `${through.length} of ${wrong.length} wrong machines pass: ${through.map((m) => m.name).join(", ")}` : `none of the ${wrong.length} wrong machines passes`;
    const single = chosen ? ` ${chosen.name}: ${chosen.errors.map(short).join(", ")}.` : "";
    say(`Tolerance ${short(10 ** exponent)}: ${verdict}; the right one ${passes(good) ? "passes" : "does not"}.${single}`);
  };
  const row = tools.row(root);
  const say = tools.say(root);
  tools.choice(row, {
    label: "machine", value: null, options: [[null, "none"], ...data.machines.map((machine) => [machine, machine.name])],
    onChange: (machine) => { chosen = machine; draw(); },
  });
  tools.drag(knob, {
    label: "tolerance", show: (v) => short(10 ** v),
    y: { scale: y, min: low, max: high, step: 0.1, value: exponent },
    onMove: (_, v) => { exponent = v; draw(); },
  });
  draw();
}
