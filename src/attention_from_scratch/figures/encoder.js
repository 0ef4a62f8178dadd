// The gradient norm of every layer on a logarithmic axis, for the depth and the scale under the sliders.
(root, data, tools) => {
  const { svg, set, color, scale } = tools;
  const width = 600, height = 330, left = 58, right = 124, top = 34, bottom = 48;
  const drawing = tools.canvas(root, { width, height });
  // What is above the ceiling runs along the top edge: one wiring that explodes must not flatten the others.
  const ceiling = 3;
  const log = (norm) => norm === null ? Infinity : Math.log10(norm);
  const all = data.norms.flat(3).map(log);
  const low = Math.floor(Math.min(...all)), high = Math.max(low + 1, Math.min(ceiling, Math.ceil(Math.max(...all))));
  const map = scale([low, high], [height - bottom, top]);
  const y = (exponent) => map(Math.min(exponent, high));
  const power = (n) => String(n).replace("-", "⁻").replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]);
  const every = Math.ceil((high - low) / 7);
  for (let n = low; n <= high; n += every) {
    const words = Math.abs(n) <= 3 ? tools.format(10 ** n, Math.max(0, -n)) : "10" + power(n);
    drawing.append(
      svg("line", { x1: left, x2: width - right, y1: y(n), y2: y(n), class: "afs-rule" }),
      svg("text", { x: left - 8, y: y(n) + 4, class: "afs-tick", "text-anchor": "end" }, words),
    );
  }
  drawing.append(
    svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "afs-axis" }),
    svg("text", { x: 4, y: 16 }, "norm of the gradient (hollow: off the chart)"),
    svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, "layer (the last one is nearest to the loss)"),
  );
  const layer = svg("g");
  drawing.append(layer);

  const short = (value) => value === null ? "an overflow" : value >= 1000 || value < 0.01
    ? value.toExponential(1).replace(/e([+-])(\d+)/, (_, sign, digits) => "·10" + power((sign === "-" ? "-" : "") + digits))
    : tools.format(value, value >= 10 ? 0 : 2);
  let depth = data.depths.length - 1;
  let start = Math.max(0, data.scales.indexOf(1));
  const controls = tools.row(root);
  const say = tools.say(root);
  // Names stand at the right end of their lines, moved apart where two would overlap.
  const label = (ends) => {
    let at = -Infinity;
    const placed = ends.sort((a, b) => a.y - b.y).map((end) => { at = Math.max(end.y, at + 18); return { ...end, y: at }; });
    const over = Math.max(0, (placed.length ? placed[placed.length - 1].y : 0) - (height - bottom));
    for (const { name, paint, y: where } of placed)
      layer.append(svg("text", { x: width - right + 10, y: where - over + 5, class: "afs-label", style: `fill: ${color(paint === "mask" ? "mask-text" : paint)}` }, name));
  };
  const draw = () => {
    tools.clear(layer);
    const count = data.depths[depth];
    const x = scale([1, Math.max(2, count)], [left + 8, width - right]);
    const step = Math.max(1, Math.ceil(count / 12));
    for (let i = 1; i <= count; i += step)
      layer.append(svg("text", { x: x(i), y: height - bottom + 19, class: "afs-tick", "text-anchor": "middle" }, String(i)));
    const ends = [];
    const words = data.wirings.map(({ name, paint }, index) => {
      const norms = data.norms[index][depth][start];
      const points = norms.map((norm, i) => [x(i + 1), y(log(norm))]);
      layer.append(svg("path", { d: tools.path(points), fill: "none", stroke: color(paint), "stroke-width": 2.5 }));
      points.forEach(([cx, cy], i) => layer.append(
        svg("circle", { cx, cy, r: 3.5, fill: log(norms[i]) > high ? color("ground") : color(paint), stroke: color(paint), "stroke-width": 1.5 },
          svg("title", {}, `${name}, layer ${i + 1}: ${short(norms[i])}`)),
      ));
      ends.push({ name, paint, y: points[points.length - 1][1] });
      return `${name} ${short(norms[0])} in the first layer, ${short(norms[norms.length - 1])} in the last`;
    });
    label(ends);
    say(`${count} layers, first weights times ${data.scales[start]}: ${words.join("; ")}.`);
  };
  tools.slider(controls, {
    label: "depth", min: 0, max: data.depths.length - 1, value: depth, show: (v) => `${data.depths[v]} layers`,
    onInput: (v) => { depth = v; draw(); },
  });
  tools.slider(controls, {
    label: "first weights", min: 0, max: data.scales.length - 1, value: start, show: (v) => `× ${data.scales[v]}`,
    onInput: (v) => { start = v; draw(); },
  });
  draw();
}
