// A query and a key on a line of positions; one dial for each pair of their numbers; the dot product by distance.
(root, data, tools) => {
  const { svg, set, color, format } = tools;
  const { query, key, frequencies, length } = data;
  const last = length - 1;
  const at = { query: Math.round(last * 0.55), key: Math.round(last * 0.4) };
  const pair = (vector, i) => [vector[2 * i], vector[2 * i + 1]];
  const turn = ([a, b], angle) => [a * Math.cos(angle) - b * Math.sin(angle), a * Math.sin(angle) + b * Math.cos(angle)];
  // The share of pair i in the dot product, when the query stands `distance` steps behind the key.
  const share = (i, distance) => tools.dot(turn(pair(query, i), distance * frequencies[i]), pair(key, i));
  const product = (distance) => tools.sum(frequencies.map((_, i) => share(i, distance)));

  // The line of positions.
  const line = tools.canvas(root, { width: 600, height: 84 });
  const x = tools.scale([0, last], [24, 576]);
  line.append(svg("line", { x1: x(0), x2: x(last), y1: 44, y2: 44, class: "afs-axis" }));
  for (const [value, words] of tools.ticks([0, last], 6)) line.append(
    svg("line", { x1: x(value), x2: x(value), y1: 40, y2: 48, class: "afs-axis" }),
    svg("text", { x: x(value), y: 80, class: "afs-tick", "text-anchor": "middle" }, words),
  );
  const names = {};
  const handles = {};
  for (const [name, y] of [["key", 52], ["query", 36]]) {
    names[name] = svg("text", { y: 14, "text-anchor": "middle", class: "afs-label afs-halo", style: `fill: var(--afs-${name}-text)` }, name);
    handles[name] = svg("circle", { cy: y, r: 9, fill: color(name) });
    line.append(names[name], handles[name]);
  }

  // The dials.
  const radius = 56;
  const step = 600 / frequencies.length;
  const dials = tools.canvas(root, { width: 600, height: 190 });
  const longest = Math.max(...frequencies.flatMap((_, i) => [query, key].map((vector) => Math.hypot(...pair(vector, i)))));
  const end = ([a, b], cx, cy) => ({ x2: cx + (a / longest) * radius, y2: cy - (b / longest) * radius });
  const hands = frequencies.map((frequency, i) => {
    const [cx, cy] = [(i + 0.5) * step, 88];
    dials.append(
      svg("text", { x: cx, y: 16, "text-anchor": "middle", class: "afs-tick" }, `${format(frequency, 3)} a step`),
      svg("circle", { cx, cy, r: radius + 6, fill: color("raised"), stroke: color("rule") }),
    );
    const made = {};
    for (const [name, vector] of [["key", key], ["query", query]]) {
      const ray = { x1: cx, y1: cy, stroke: color(name), "stroke-linecap": "round" };
      const still = svg("line", { ...ray, ...end(pair(vector, i), cx, cy), "stroke-width": 2, "stroke-opacity": 0.45, "stroke-dasharray": "2 5" });
      made[name] = svg("line", { ...ray, "stroke-width": 4 });
      made[`${name} tip`] = svg("circle", { r: 5, fill: color(name) });
      dials.append(still, made[name], made[`${name} tip`]);
    }
    const words = svg("text", { x: cx, y: 176, "text-anchor": "middle" });
    dials.append(words);
    return (distance) => {
      for (const [name, vector] of [["query", query], ["key", key]]) {
        const { x2, y2 } = end(turn(pair(vector, i), at[name] * frequency), cx, cy);
        set(made[name], { x2, y2 });
        set(made[`${name} tip`], { cx: x2, cy: y2 });
      }
      words.textContent = `adds ${format(share(i, distance))}`;
    };
  });

  // The dot product against the distance.
  const distances = Array.from({ length: 4 * 2 * last + 1 }, (_, i) => i / 4 - last);
  const products = distances.map(product);
  const [low, high] = [Math.min(...products), Math.max(...products)];
  const room = 0.08 * (high - low || 1);
  const curve = tools.plot(root, {
    x: [-last, last], y: [low - room, high + room], height: 220,
    xLabel: "distance: position of the query − position of the key", yLabel: "dot product",
  });
  const plumb = svg("line", { y1: curve.y(low - room), stroke: color("weights"), "stroke-width": 1.5, "stroke-dasharray": "3 4" });
  const dot = svg("circle", { r: 7, fill: color("weights") });
  curve.layer.append(
    svg("path", { d: tools.path(distances.map((d, i) => [curve.x(d), curve.y(products[i])])), fill: "none", stroke: color("ink"), "stroke-width": 1.5 }),
    plumb, dot,
  );

  const controls = tools.row(root);
  const say = tools.say(root);
  const draw = () => {
    const distance = at.query - at.key;
    for (const name of ["query", "key"]) {
      set(handles[name], { cx: x(at[name]) });
      const other = at[name === "query" ? "key" : "query"];
      // Names that would run into each other are pushed apart.
      const gap = x(at[name]) - x(other);
      const push = Math.abs(gap) < 64 ? ((gap || (name === "query" ? 1 : -1)) > 0 ? 1 : -1) * (64 - Math.abs(gap)) / 2 : 0;
      set(names[name], { x: tools.clamp(x(at[name]) + push, 30, 570) });
    }
    hands.forEach((move) => move(distance));
    const value = product(distance);
    set(dot, { cx: curve.x(distance), cy: curve.y(value) });
    set(plumb, { x1: curve.x(distance), x2: curve.x(distance), y2: curve.y(value) });
    say(`Query at ${at.query}, key at ${at.key}: distance ${format(distance, 0)}, dot product ${format(value, 3)}.`);
  };
  const drags = {};
  for (const name of ["query", "key"]) {
    drags[name] = tools.drag(handles[name], {
      label: `position of the ${name}`, show: (v) => format(v, 0),
      x: { scale: x, min: 0, max: last, step: 1, value: at[name] },
      onMove: (position) => { at[name] = position; draw(); },
    });
  }
  const together = (steps) => {
    const [first, final] = [Math.min(at.query, at.key), Math.max(at.query, at.key)];
    const by = tools.clamp(steps, -first, last - final);
    at.query += by; at.key += by;
    for (const name of ["query", "key"]) drags[name].move({ x: at[name] });
    draw();
  };
  const both = tools.el("div", { class: "afs-control", role: "group", "aria-label": "both together" }, tools.el("span", {}, "both together"));
  controls.append(both);
  tools.button(both, "← 1", () => together(-1), { "aria-label": "both one step back" });
  tools.button(both, "1 →", () => together(1), { "aria-label": "both one step on" });
  tools.button(both, "10 →", () => together(10), { "aria-label": "both ten steps on" });
  tools.button(both, "to the start", () => together(-length));
  draw();
}
