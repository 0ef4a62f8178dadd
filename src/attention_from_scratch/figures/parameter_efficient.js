// Macro-F1 against a cost that the reader chooses; a large dot is the mean of a method's seeds.
(root, data, tools) => {
  const { svg, color, scale } = tools;
  const width = 600, height = 340, left = 58, right = 84, top = 34, bottom = 50;
  const drawing = tools.canvas(root, { width, height });
  const all = [...data.scores.flat(), ...data.intervals.flat()];
  const low = Math.floor(Math.min(...all) * 50) / 50, high = Math.max(low + 0.02, Math.ceil(Math.max(...all) * 50) / 50);
  const y = scale([low, high], [height - bottom, top]);
  for (const [value, words] of tools.ticks([low, high])) drawing.append(
    svg("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "afs-rule" }),
    svg("text", { x: left - 8, y: y(value) + 4, class: "afs-tick", "text-anchor": "end" }, words),
  );
  const title = svg("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" });
  drawing.append(
    svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "afs-axis" }),
    svg("text", { x: 4, y: 16 }, "macro-F1 on the test set"), title,
  );
  const layer = svg("g");
  drawing.append(layer);

  const mean = (xs) => tools.sum(xs) / xs.length;
  const price = (value) => value >= 1e6 ? `${tools.format(value / 1e6, 1)} million`
    : value >= 1e4 ? `${tools.format(value / 1e3, 0)} thousand` : value >= 100 ? tools.format(value, 0)
    : value >= 10 ? tools.format(value, 1) : tools.format(value, value >= 0.1 ? 2 : 4);
  const short = (value) => value >= 1e6 ? `${tools.format(value / 1e6, 0)}M` : value >= 1e3 ? `${tools.format(value / 1e3, 0)}k`
    : value >= 1 ? tools.format(value, 0) : String(value);
  let cost = 0, chosen = data.methods.length > 4 ? 4 : 0;
  const controls = tools.row(root);
  const names = tools.row(root);
  const say = tools.say(root);

  // An axis from a little below the smallest price to a little above the largest, logarithmic where they are far apart.
  const axis = (prices) => {
    const least = Math.min(...prices), most = Math.max(...prices);
    if (most < 20 * least) {
      const domain = [0, most * 1.06], map = scale(domain, [left, width - right]);
      return { x: map, marks: tools.ticks(domain) };
    }
    const from = Math.floor(Math.log10(least)), to = Math.ceil(Math.log10(most) + 0.02);
    const map = scale([from, to], [left, width - right]);
    const marks = Array.from({ length: to - from + 1 }, (_, i) => [10 ** (from + i), short(Number((10 ** (from + i)).toPrecision(1)))]);
    return { x: (value) => map(Math.log10(value)), marks };
  };
  // Names beside the means, right or left of them, moved up or down where they would lie on a dot or on one another.
  const places = (points) => {
    const taken = points.map(([px, py]) => ({ from: px - 9, to: px + 9, y: py, half: 9 }));
    return points.map(([px, py], i) => {
      const long = 8.2 * data.methods[i].length;
      const options = [0, -18, 18, -34, 34, -50, 50].flatMap((d) => [[px + 13, d], [px - 13 - long, d]])
        .map(([from, d]) => ({ from, to: from + long, y: py + d, half: 8 }))
        .filter(({ from, to, y: at }) => from > left && to < width && at > top - 8 && at < height - bottom - 4);
      const clear = (a) => taken.every((b) => a.to < b.from || b.to < a.from || Math.abs(a.y - b.y) >= a.half + b.half);
      const best = options.find(clear) || options[0];
      taken.push(best);
      return [best.from, best.y];
    });
  };
  const draw = () => {
    tools.clear(layer);
    const { name, prices } = data.costs[cost];
    const { x, marks } = axis(prices);
    title.textContent = name;
    for (const [value, words] of marks)
      layer.append(svg("text", { x: x(value), y: height - bottom + 19, class: "afs-tick", "text-anchor": "middle" }, words));
    const means = data.methods.map((_, i) => [x(prices[i]), y(mean(data.scores[i]))]);
    const labels = places(means);
    data.methods.forEach((method, i) => {
      const paint = i === chosen ? "ochre" : "ink";
      const [cx, cy] = means[i];
      const dots = data.scores[i].map((score) => svg("circle", { cx, cy: y(score), r: 3, fill: color(paint), "fill-opacity": 0.55 }));
      const big = svg("circle", { cx, cy, r: i === chosen ? 9 : 7, fill: color(paint) }, svg("title", {}, method));
      const range = svg("line", { x1: cx, x2: cx, y1: y(Math.min(...data.scores[i])), y2: y(Math.max(...data.scores[i])), stroke: color(paint), "stroke-width": 1.5, "stroke-opacity": 0.55 });
      const words = svg("text", { x: labels[i][0], y: labels[i][1] + 5, class: "afs-label", style: `fill: ${color(paint)}` }, method);
      const [least, most] = data.intervals[i];
      const bar = i === chosen ? [svg("rect", { x: cx - 7, width: 14, y: y(most), height: y(least) - y(most), rx: 3, fill: color(paint), "fill-opacity": 0.22 })] : [];
      const mark = svg("g", {}, ...bar, range, ...dots, big, words);
      for (const event of ["pointerenter", "pointerdown"]) mark.addEventListener(event, () => { if (chosen !== i) { chosen = i; pick.set(method); draw(); } });
      layer.append(mark);
    });
    const scores = data.scores[chosen];
    say(`${data.methods[chosen]}: ${data.costs.map((c) => `${c.name} ${price(c.prices[chosen])}`).join(", ")}; `
      + `macro-F1 ${tools.format(mean(scores), 3)} (${scores.map((s) => tools.format(s, 3)).join(", ")}), `
      + `between ${tools.format(data.intervals[chosen][0])} and ${tools.format(data.intervals[chosen][1])} with other reviews.`);
  };
  tools.choice(controls, {
    label: "pay with", options: data.costs.map((c, i) => [i, c.name]), value: cost,
    onChange: (v) => { cost = v; draw(); },
  });
  const pick = tools.choice(names, {
    label: "method", options: data.methods.map((m) => [m, m]), value: data.methods[chosen],
    onChange: (v) => { chosen = data.methods.indexOf(v); draw(); },
  });
  draw();
}
