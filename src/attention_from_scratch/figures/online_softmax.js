// Attention in tiles: the grid of scores with the tile at work, and the running m, l, acc of its queries below it.
(root, data, tools) => {
  const { svg, set, color, format } = tools;
  const { scores, values, block_q: blockQ, block_k: blockK } = data;
  const queries = scores.length;
  const keys = values.length;
  const size = 60;
  const height = 34;
  const left = 88;
  const top = 62;
  const wide = Math.max(keys * size, 490);
  const stateTop = top + queries * height + 46;
  const columns = [["m", 98], ["old ×", 98], ["l", 98], ["acc", 98], ["O", 98]];
  const drawing = tools.canvas(root, { width: left + wide + 8, height: stateTop + blockQ * 36 + 8 });
  const label = (x, y, words, attributes = {}) => {
    const node = svg("text", { x, y, class: "afs-tick", ...attributes }, words);
    drawing.append(node);
    return node;
  };
  let mode = "all";
  let at = 0;

  // The grid, with one value above each key.
  label(left - 8, 20, "key", { "text-anchor": "end" });
  label(left - 8, 45, "value", { "text-anchor": "end" });
  values.forEach((value, j) => {
    label(left + (j + 0.5) * size, 20, String(j), { "text-anchor": "middle" });
    label(left + (j + 0.5) * size, 45, format(value, 1), { "text-anchor": "middle", class: "", style: `fill:${color("value-text")}` });
  });
  scores.forEach((_, i) => label(left - 8, top + (i + 0.5) * height + 5, `query ${i}`, { "text-anchor": "end" }));
  const cells = tools.grid(drawing, { rows: queries, columns: keys, x: left, y: top, size, height });
  const crosses = svg("g");
  const frame = svg("rect", { fill: "none", stroke: "currentColor", "stroke-width": 2.5, rx: 4 });
  drawing.append(crosses, frame);
  for (let i = 0; i <= queries; i += blockQ) line(left, left + keys * size, top + i * height, top + i * height);
  for (let j = 0; j <= keys; j += blockK) line(left + j * size, left + j * size, top, top + queries * height);
  function line(x1, x2, y1, y2) {
    drawing.append(svg("line", { x1, x2, y1, y2, class: "afs-axis" }));
  }

  // The state of the queries at work.
  const box = (row, column) => {
    const width = columns[column][1];
    const x = left + column * width;
    const y = stateTop + row * 36;
    const rect = svg("rect", { x: x + 1, y: y + 1, width: width - 2, height: 34, rx: 3, fill: color("raised") });
    const words = svg("text", { x: x + width / 2, y: y + 23, "text-anchor": "middle" });
    drawing.append(rect, words);
    return { rect, words };
  };
  columns.forEach(([name, width], c) => label(left + (c + 0.5) * width, stateTop - 10, name, { "text-anchor": "middle" }));
  const names = Array.from({ length: blockQ }, (_, r) => label(left - 8, stateTop + r * 36 + 23, "", { "text-anchor": "end" }));
  const states = names.map((_, r) => columns.map((_, c) => box(r, c)));

  const controls = tools.row(root);
  const holder = tools.el("div", {});
  root.append(holder);
  const say = tools.say(root);
  const hidden = (i, j) => mode === "causal" && j > i + keys - queries;
  const inside = ([start, stop], i) => i >= start && i < stop;

  // Which cells have been visited: those of the steps before this one.
  const paintGrid = (steps, step) => {
    const before = steps.slice(0, at).filter((s) => s.columns);
    const now = step.columns ? step : null;
    cells.forEach((row, i) => row.forEach((cell, j) => {
      const on = now && inside(now.rows, i) && inside(now.columns, j);
      const done = before.some((s) => inside(s.rows, i) && inside(s.columns, j));
      const masked = hidden(i, j);
      const paint = masked ? "mask" : on || done ? "weights" : "raised";
      const text = on ? (masked ? "−∞" : format(scores[i][j], 1)) : "";
      cell.set({ text, fill: paint, strength: masked ? 0.3 : on ? 1 : done ? 0.15 : 0, title: `query ${i}, key ${j}` });
    }));
    set(frame, now
      ? { x: left + now.columns[0] * size, y: top + now.rows[0] * height, width: (now.columns[1] - now.columns[0]) * size, height: (now.rows[1] - now.rows[0]) * height, "stroke-opacity": 1 }
      : { "stroke-opacity": 0 });
  };
  const paintCrosses = (steps) => {
    tools.clear(crosses);
    for (let i = 0; i < queries; i += blockQ) for (let j = 0; j < keys; j += blockK) {
      if (steps.some((s) => s.columns && s.rows[0] === i && s.columns[0] === j)) continue;
      const [right, bottom] = [Math.min(j + blockK, keys), Math.min(i + blockQ, queries)];
      const [x1, x2, y1, y2] = [left + j * size + 6, left + right * size - 6, top + i * height + 6, top + bottom * height - 6];
      crosses.append(svg("path", { d: `M${x1},${y1}L${x2},${y2}M${x2},${y1}L${x1},${y2}`, class: "afs-axis" }));
    }
  };
  const paintStates = (step) => {
    states.forEach((row, r) => {
      const state = step.states[r];
      names[r].textContent = state ? `query ${step.rows[0] + r}` : "";
      const texts = state
        ? [state.m === null ? "−∞" : format(state.m, 1), step.columns ? format(state.shrink) : "", format(state.l), format(state.acc),
          step.columns ? "" : state.out === null ? "0" : format(state.out)]
        : ["", "", "", "", ""];
      row.forEach((cell, c) => {
        cell.words.textContent = texts[c];
        const strong = (c === 1 && state && step.columns && state.shrink < 0.995) || (c === 4 && !step.columns);
        set(cell.rect, { stroke: strong ? "currentColor" : "none", "stroke-width": 1.5 });
      });
    });
  };
  const words = (step) => {
    const [first, stop] = step.rows;
    const who = stop - first > 1 ? `queries ${first} to ${stop - 1}` : `query ${first}`;
    if (!step.columns) return `Done with ${who}: O = acc / l is written, and with it log-sum-exp = m + log l.`;
    const [left_, right_] = step.columns;
    const moved = step.states.map((s, r) => [s.shrink, first + r]).filter(([f]) => f < 0.995);
    const start = `Tile of ${who}, keys ${left_} to ${right_ - 1}. `;
    if (left_ === 0) return start + "Nothing was known before, so the old sums count 0.";
    if (!moved.length) return start + "No larger score: the sums only grow.";
    return start + moved.map(([f, q]) => `A larger score for query ${q}: its old l and acc are multiplied by ${format(f)}.`).join(" ");
  };
  const draw = () => {
    const steps = data.steps[mode];
    paintGrid(steps, steps[at]);
    paintCrosses(steps);
    paintStates(steps[at]);
    say(words(steps[at]));
  };
  const restart = () => {
    tools.clear(holder);
    tools.stepper(holder, { count: data.steps[mode].length, onStep: (i) => { at = i; draw(); } });
  };
  tools.choice(controls, {
    label: "mask", options: [["all", "none"], ["causal", "causal"]], value: mode, onChange: (v) => { mode = v; at = 0; restart(); },
  });
  restart();
}
