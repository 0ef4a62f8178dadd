// A slider on the width: two rows of weights, and where they stand on the measured curves.
(root, data, tools) => {
  const { svg, set, color, format, widths } = { ...tools, widths: data.widths };
  const names = ["plain", "scaled"];
  const paints = ["mask", "weights"];
  const words = ["q · k", "q · k / √d"];
  const keys = data.rows[0][0][0].length;
  let draw = 0;
  let at = widths.indexOf(4);

  // The weights: one panel for each way to score, one bar for each key.
  const panels = svg("g");
  const drawing = tools.canvas(root, { width: 600, height: 172 });
  drawing.append(panels);
  const floor = 148;
  const tall = 104;
  const bars = names.map((name, side) => {
    const left = side * 308;
    const step = 292 / keys;
    panels.append(
      svg("text", { x: left, y: 16, class: "afs-label" }, `softmax of ${words[side]}`),
      svg("line", { x1: left, x2: left + 292, y1: floor - tall, y2: floor - tall, class: "afs-rule" }),
      svg("line", { x1: left, x2: left + 292, y1: floor, y2: floor, class: "afs-axis" }),
      svg("text", { x: left + 292, y: floor - tall - 5, class: "afs-tick", "text-anchor": "end" }, "all the weight"),
      svg("text", { x: left + 146, y: floor + 19, class: "afs-tick", "text-anchor": "middle" }, `${keys} keys`),
    );
    return data.rows[0][0][0].map((_, k) => {
      const bar = svg("rect", { x: left + k * step + 1.5, width: step - 3, rx: 2, fill: color(paints[side]) });
      bar.append(svg("title"));
      panels.append(bar);
      return bar;
    });
  });

  // The curves: measured once for every width; a dot marks the width of the slider.
  const pair = tools.el("div", { style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr));gap:.5rem 1rem" });
  // These two drawings are half as wide as others, so their words need no growing on a narrow screen.
  const note = (x, y, text, more) => svg("text", { x, y, class: "afs-tick", style: "font-size:13px", ...more }, text);
  const curve = (title, values, top, steps) => {
    const [left, right, high, low] = [44, 290, 34, 160];
    const node = svg("svg", { viewBox: "0 0 300 205", role: "img", "aria-label": `${title} against d` });
    const x = tools.scale([0, widths.length - 1], [left, right]);
    const y = tools.scale([0, top], [low, high]);
    node.append(note(0, 16, title, { class: "afs-label" }));
    for (const step of steps) node.append(
      svg("line", { x1: left, x2: right, y1: y(step), y2: y(step), class: step ? "afs-rule" : "afs-axis" }),
      note(left - 7, y(step) + 5, String(step), { "text-anchor": "end" }),
    );
    widths.forEach((d, i) => {
      if (i % 3 === 0) node.append(note(x(i), low + 19, String(d), { "text-anchor": "middle" }));
    });
    node.append(note((left + right) / 2, low + 39, "width d", { "text-anchor": "middle" }));
    const ruler = svg("line", { y1: high, y2: low, class: "afs-axis", "stroke-dasharray": "3 3" });
    node.append(ruler);
    const dots = values.map((line, side) => {
      const d = tools.path(line.map((v, i) => [x(i), y(v)]));
      const dot = svg("circle", { r: 6, fill: color(paints[side]) });
      node.append(svg("path", { d, fill: "none", stroke: color(paints[side]), "stroke-width": 2.5 }), dot);
      return dot;
    });
    pair.append(node);
    return () => {
      set(ruler, { x1: x(at), x2: x(at) });
      dots.forEach((dot, side) => set(dot, { cx: x(at), cy: y(values[side][at]) }));
    };
  };
  const most = Math.log(keys);
  const moves = [
    curve("entropy (nats)", data.entropy, Math.ceil(most), [0, 1, 2, 3].filter((v) => v <= Math.ceil(most))),
    curve("size of the gradient", data.gradient, 0.4, [0, 0.1, 0.2, 0.3, 0.4]),
  ];

  const show = () => {
    bars.forEach((row, side) => row.forEach((bar, k) => {
      const weight = data.rows[draw][side][at][k];
      const height = Math.max(weight * tall, 1);
      set(bar, { y: floor - height, height });
      bar.firstChild.textContent = `key ${k + 1}: ${format(weight, 3)}`;
    }));
    moves.forEach((move) => move());
    const [plain, scaled] = data.rows[draw].map((ways) => format(Math.max(...ways[at]), 2));
    say(`d = ${widths[at]}: the largest weight is ${plain} without the scale and ${scaled} with it.`);
  };

  const controls = tools.row(root);
  tools.slider(controls, {
    label: "width d", min: 0, max: widths.length - 1, value: at, accent: "weights",
    show: (i) => String(widths[i]), onInput: (i) => { at = i; show(); },
  });
  tools.button(controls, "another query", () => { draw = (draw + 1) % data.rows.length; show(); });
  const say = tools.say(root);
  root.append(pair);
  show();
}
