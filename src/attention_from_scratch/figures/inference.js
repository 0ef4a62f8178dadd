// Left, the calls of a decoder: what is computed, computed once more, or read. Right, the mask of the chosen call.
(root, data, tools) => {
  const { svg, set, color } = tools;
  const { prompt, written, chunk } = data;
  const columns = prompt + written - 1;  // the last token written is never an input
  const size = Math.min(34, 260 / columns);
  const [left, top] = [58, 62];
  const state = { way: "whole", offset: "right", at: 0 };

  // A call is [first position computed, one past the last]; what lies before the first is read from the cache.
  const calls = () => {
    const steps = Array.from({ length: written - 1 }, (_, i) => prompt + i);
    if (state.way === "none") return [[0, prompt], ...steps.map((p) => [0, p + 1])];
    const piece = state.way === "whole" ? prompt : chunk;
    const pieces = [];
    for (let p = 0; p < prompt; p += piece) pieces.push([p, Math.min(p + piece, prompt)]);
    return [...pieces, ...steps.map((p) => [p, p + 1])];
  };

  const ways = tools.row(root);
  const offsets = tools.row(root);
  const pair = tools.el("div", { style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:.5rem 1.5rem" });
  root.append(pair);
  const controls = tools.el("div", {});
  root.append(controls);
  const say = tools.say(root);

  const word = (parent, x, y, words, more = {}) => {
    const node = svg("text", { x, y, style: "font-size:14px", ...more }, words);
    parent.append(node);
    return node;
  };
  const sheet = (title, across, down, rows, names) => {
    const drawing = tools.canvas(pair, { width: left + columns * size + 6, height: top + rows * size + 6 });
    word(drawing, 0, 15, title, { class: "afs-label" });
    word(drawing, left, 36, across, { style: "font-size:14px;fill:var(--afs-key-text)" });
    word(drawing, 0, top - 8, down, { style: `font-size:14px;fill:var(--afs-${names})` });
    for (let p = 0; p < columns; p++) word(drawing, left + (p + 0.5) * size, top - 8, p, { class: "afs-tick", "text-anchor": "middle", style: "font-size:13px" });
    return drawing;
  };

  let cells = [], frame = null, maskSide = null, steps = { go: () => {} };
  const kind = (call, before, position) => {
    if (position >= call[1]) return "nothing";
    if (position < call[0]) return "read";
    return before && position < before[1] ? "again" : "new";
  };
  const looks = {
    nothing: { text: "", fill: "raised" },
    read: { text: "·", fill: "key", strength: 0.16 },
    again: { text: "×", fill: "ochre", strength: 0.6 },
    new: { text: "+", fill: "key", strength: 1 },
  };
  const means = { nothing: "not there yet", read: "read from the cache", again: "computed once more", new: "computed for the first time" };

  const drawMask = ([first, end]) => {
    const rows = Math.max(...calls().map(([a, b]) => b - a));
    if (maskSide) maskSide.remove();
    maskSide = sheet("the mask of this call", "keys, by position", "queries", rows, "query-text");
    const grid = tools.grid(maskSide, { rows: end - first, columns: end, x: left, y: top, size });
    const reach = (i) => i + (state.offset === "right" ? first : 0);
    grid.forEach((row, i) => {
      word(maskSide, left - 10, top + (i + 0.5) * size + 5, first + i, { "text-anchor": "end", style: "font-size:14px" });
      row.forEach((cell, j) => cell.set(j <= reach(i)
        ? { text: "", fill: "weights", strength: 0.9, title: `position ${first + i} sees position ${j}` }
        : { text: "", fill: "raised", title: `position ${j} is hidden from position ${first + i}` }));
    });
    const hidden = tools.sum(Array.from({ length: end - first }, (_, i) => Math.max(0, first + i - reach(i))));
    return hidden;
  };

  const show = (at) => {
    state.at = at;
    const all = calls();
    cells.forEach((row, r) => row.forEach((cell, p) => {
      const what = r > at ? "nothing" : kind(all[r], all[r - 1], p);
      cell.set({ ...looks[what], title: `call ${r + 1}, position ${p}: ${r > at ? "later" : means[what]}` });
    }));
    set(frame, { y: top + at * size });
    const hidden = drawMask(all[at]);
    const computed = tools.sum(all.slice(0, at + 1).map(([a, b]) => b - a));
    const [first, end] = all[at];
    const reads = state.way === "none" ? "" : `, reads ${first}`;
    const wrong = hidden ? ` With offset 0 its queries miss ${hidden} of the keys that they may see.` : "";
    const again = computed - end;
    say(`Call ${at + 1} of ${all.length} computes ${end - first} ${end - first === 1 ? "position" : "positions"}${reads}. `
      + `So far ${computed} were computed, ${again ? `${again} of them once more` : "none of them twice"}.${wrong}`);
  };

  const draw = () => {
    const all = calls();
    tools.clear(pair);
    maskSide = null;
    const drawing = sheet("the calls", "keys and values, by position", "call", all.length, "ink");
    cells = tools.grid(drawing, { rows: all.length, columns, x: left, y: top, size });
    all.forEach((_, r) => word(drawing, left - 10, top + (r + 0.5) * size + 5, r + 1, { "text-anchor": "end", style: "font-size:14px" }));
    cells.forEach((row, r) => row.forEach((cell) => {
      for (const event of ["pointerdown", "pointerenter"]) cell.box.addEventListener(event, () => steps.go(r));
    }));
    frame = svg("rect", { x: left - 30, y: top, width: columns * size + 31, height: size, rx: 4, fill: "none", stroke: color("ink"), "stroke-width": 2, "pointer-events": "none" });
    drawing.append(frame);
    tools.clear(controls);
    const keep = Math.min(state.at, all.length - 1);
    steps = { go: () => {} };
    steps = tools.stepper(controls, { count: all.length, label: "call", onStep: show });
    steps.go(keep);
  };

  const change = (name) => (value) => { state[name] = value; draw(); };
  tools.choice(ways, {
    label: "way", value: state.way, onChange: change("way"),
    options: [["none", "no cache"], ["whole", "cache"], ["pieces", `cache, prompt in pieces of ${chunk}`]],
  });
  tools.choice(offsets, {
    label: "mask", value: state.offset, onChange: change("offset"),
    options: [["right", "with the offset"], ["zero", "offset 0"]],
  });
  draw();
}
