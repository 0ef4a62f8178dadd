// Curves of several seeds, one colour a group; a line to move along the steps reads all of them off.
(root, data, tools) => {
  const { svg, set, color, format } = tools;
  const width = 600, height = 330, right = 20;
  const last = Math.max(...data.groups.flatMap((group) => group.runs.flatMap((run) => run.loss.map(([step]) => step))));
  let quantity = data.quantities[0];
  let step = last;
  const controls = tools.row(root);
  const legend = tools.row(root);
  for (const { name, paint } of data.groups)
    legend.append(tools.el("span", { style: `color: ${color(paint)}; font-weight: 600; margin-inline-end: 1.2em` }, `— ${name}`));
  const stage = tools.el("div", {});
  root.append(stage);
  const say = tools.say(root);

  // The value of a run at a step: that of the last point which is not after it.
  const at = (points, where) => {
    const before = points.filter(([x]) => x <= where + 1e-9);
    return before.length ? before[before.length - 1][1] : null;
  };
  const read = () => {
    const words = data.groups.map(({ name, runs }) => {
      const values = runs.map((run) => at(run[quantity.key], step)).filter((value) => value !== null);
      if (!values.length) return `${name}: not yet`;
      const mean = tools.sum(values) / values.length;
      return values.length === 1 ? `${name}: ${format(mean, 3)} (one seed)` : `${name}: ${format(mean, 3)} (${format(Math.min(...values), 3)} to ${format(Math.max(...values), 3)}, ${values.length} seeds)`;
    });
    say(`step ${step}, ${quantity.words}: ${words.join("; ")}.`);
  };
  const draw = () => {
    tools.clear(stage);
    const values = data.groups.flatMap(({ runs }) => runs.flatMap((run) => run[quantity.key].map(([, y]) => y)));
    const low = Math.min(...values), high = Math.max(...values);
    const room = 0.08 * (high - low) + 0.01;
    const { svg: drawing, layer, x, y } = tools.plot(stage, {
      width, height, right, x: [0, last], y: [low - room, high + room], xLabel: "step", yLabel: quantity.words,
    });
    for (const { name, paint, runs } of data.groups) for (const run of runs) {
      const points = run[quantity.key].map(([a, b]) => [x(a), y(b)]);
      const title = `${name}, seed ${run.seed}`;
      layer.append(svg("path", { d: tools.path(points), fill: "none", stroke: color(paint), "stroke-width": 1.8, "stroke-opacity": 0.85 }, svg("title", {}, title)));
      if (points.length <= 20) for (const [cx, cy] of points)
        layer.append(svg("circle", { cx, cy, r: 4, fill: color(paint) }, svg("title", {}, title)));
    }
    const line = svg("line", { y1: y(high + room), y2: y(low - room), stroke: color("soft"), "stroke-width": 1.5, "stroke-dasharray": "4 3" });
    const handle = svg("circle", { cy: y(high + room), r: 9, fill: color("soft"), stroke: color("ground"), "stroke-width": 2 });
    drawing.append(line, handle);
    const move = (to) => {
      step = Math.round(to);
      set(line, { x1: x(step), x2: x(step) });
      set(handle, { cx: x(step) });
      read();
    };
    tools.drag(handle, {
      label: "step", x: { scale: x, min: 0, max: last, step: 1, value: step }, show: (v) => `step ${v}`, onMove: move,
    });
    move(step);
  };
  tools.choice(controls, {
    label: "show", options: data.quantities.map((q) => [q.key, q.words]), value: quantity.key,
    onChange: (key) => { quantity = data.quantities.find((q) => q.key === key); draw(); },
  });
  draw();
}
