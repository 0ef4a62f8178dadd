// Left, a sentence twice with a line for every weight of the chosen head; right, all heads of all layers to choose from.
(root, data, tools) => {
  const { svg, set, color } = tools;
  const layers = data[0].maps.length, heads = data[0].maps[0].length;
  const state = { sentence: 0, view: "head", layer: 0, head: 0, word: null };
  const percent = (thousandths) => `${Math.round(thousandths / 10)}\u00a0%`;
  const marks = (words) => words.map((w, j) => (w === "[CLS]" || w === "[SEP]" ? j : -1)).filter((j) => j >= 0);

  const sentences = tools.row(root), views = tools.row(root), sliders = tools.row(root);
  const pair = tools.el("div", { style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,17rem),1fr));gap:.5rem 1.5rem" });
  root.append(pair);
  const left = tools.el("div", {}), right = tools.el("div", {});
  pair.append(left, right);
  const say = tools.say(root);

  // The words, and the lines between them.
  const width = 340, height = 27, top = 30, from = 118, to = 222;
  let lines = [], askers = [], shares = [], asked = [];
  const weights = (i) => {
    const s = data[state.sentence], n = s.words.length;
    const map = state.view === "head" ? s.maps[state.layer][state.head] : s.rollout[state.layer];
    return map.slice(i * n, (i + 1) * n);
  };
  const point = (i) => { state.word = i; paint(); };
  const words = () => {
    tools.clear(left);
    const all = data[state.sentence].words;
    const drawing = tools.canvas(left, { width, height: top + all.length * height + 4 });
    const y = (i) => top + (i + 0.5) * height;
    drawing.append(
      svg("text", { x: from - 6, y: 16, "text-anchor": "end", style: "font-size:14px;fill:var(--afs-query-text)" }, "looks"),
      svg("text", { x: to + 6, y: 16, style: "font-size:14px;fill:var(--afs-key-text)" }, "is looked at"),
    );
    lines = all.map((_, i) => all.map((_, j) => {
      const line = svg("line", { x1: from, y1: y(i), x2: to, y2: y(j), stroke: color("weights"), "stroke-linecap": "round", "pointer-events": "none" });
      drawing.append(line);
      return line;
    }));
    askers = all.map((word, i) => {
      const box = svg("rect", { x: 1, y: y(i) - height / 2 + 1, width: from - 4, height: height - 2, rx: 4, fill: color("raised"), tabindex: i ? -1 : 0, role: "button", "aria-label": `word ${i + 1}, ${word}`, style: "cursor:pointer" });
      const words = svg("text", { x: from - 9, y: y(i) + 5, "text-anchor": "end", style: "font-size:15px", "pointer-events": "none" }, word);
      for (const event of ["pointerdown", "pointerenter", "focus"]) box.addEventListener(event, () => point(i));
      box.addEventListener("keydown", (event) => {
        const next = { ArrowDown: i + 1, ArrowUp: i - 1, Home: 0, End: all.length - 1 }[event.key];
        if (event.key === "Escape") { point(null); return; }
        if (next === undefined) return;
        event.preventDefault();
        const target = askers[tools.clamp(next, 0, all.length - 1)];
        askers.forEach((other) => set(other, { tabindex: other === target ? 0 : -1 }));
        target.focus({ preventScroll: true });
      });
      drawing.append(box, words);
      return box;
    });
    asked = []; shares = [];
    all.forEach((word, j) => {
      const box = svg("rect", { x: to + 3, y: y(j) - height / 2 + 1, width: width - to - 4, height: height - 2, rx: 4, fill: color("raised") });
      const words = svg("text", { x: to + 9, y: y(j) + 5, style: "font-size:15px", "pointer-events": "none" }, word);
      const share = svg("text", { x: width - 5, y: y(j) + 5, "text-anchor": "end", style: "font-size:13px", "pointer-events": "none" });
      drawing.append(box, words, share);
      asked.push(box); shares.push(share);
    });
  };

  // All heads.
  const size = 24, edge = 46;
  const sheet = tools.canvas(right, { width: edge + heads * size + 2, height: 46 + layers * size + 4 });
  sheet.append(
    svg("text", { x: edge, y: 15, style: "font-size:14px" }, "head"),
    svg("text", { x: 0, y: 36, style: "font-size:14px" }, "layer"),
  );
  for (let h = 0; h < heads; h++) sheet.append(svg("text", { x: edge + (h + 0.5) * size, y: 36, class: "afs-tick", "text-anchor": "middle", style: "font-size:13px" }, h + 1));
  for (let l = 0; l < layers; l++) sheet.append(svg("text", { x: edge - 12, y: 44 + (l + 0.5) * size + 5, class: "afs-tick", "text-anchor": "middle", style: "font-size:13px" }, l + 1));
  const cells = tools.grid(sheet, { rows: layers, columns: heads, x: edge, y: 44, size });
  const frame = svg("rect", { fill: "none", stroke: color("ink"), "stroke-width": 2.5, rx: 4, "pointer-events": "none" });
  sheet.append(frame);
  const overview = () => cells.forEach((row, l) => row.forEach((cell, h) => {
    const s = data[state.sentence], n = s.words.length;
    const share = tools.sum(s.maps[l][h].filter((_, place) => marks(s.words).includes(place % n))) / n;
    cell.set({ fill: "weights", strength: share / 1000, title: `layer ${l + 1}, head ${h + 1}: ${percent(share)} to the marks` });
  }));
  cells.forEach((row, l) => row.forEach((cell, h) => {
    set(cell.box, { style: "cursor:pointer" });
    cell.box.addEventListener("pointerdown", () => { state.view = "head"; view.set("head"); choose(l, h); });
  }));

  const paint = () => {
    const all = data[state.sentence].words;
    lines.forEach((row, i) => {
      const w = weights(i), on = state.word === null || state.word === i;
      row.forEach((line, j) => set(line, { "stroke-opacity": on ? Math.sqrt(w[j] / 1000) : 0, "stroke-width": 0.5 + 5 * w[j] / 1000, display: w[j] < 15 ? "none" : "inline" }));
    });
    const row = state.word === null ? null : weights(state.word);
    askers.forEach((box, i) => set(box, { fill: i === state.word ? color("query") : color("raised"), "fill-opacity": i === state.word ? 0.25 : 1 }));
    asked.forEach((box, j) => {
      set(box, { fill: row && row[j] >= 15 ? color("weights") : color("raised"), "fill-opacity": row && row[j] >= 15 ? 0.08 + 0.4 * row[j] / 1000 : 1 });
      shares[j].textContent = row && row[j] >= 15 ? percent(row[j]) : "";
    });
    const whole = state.view === "rollout";
    set(frame, { x: edge + (whole ? 0 : state.head * size), y: 44 + state.layer * size, width: whole ? heads * size : size, height: size });
    const what = whole ? `Rollout after layer ${state.layer + 1}` : `Layer ${state.layer + 1}, head ${state.head + 1}`;
    if (row) {
      const order = row.map((w, j) => [w, all[j]]).sort((a, b) => b[0] - a[0]).slice(0, 3);
      say(`${what}: “${all[state.word]}” ${whole ? "holds" : "looks at"} ${order.map(([w, word]) => `${word} ${percent(w)}`).join(", ")}.`);
    } else {
      const share = tools.sum(all.map((_, i) => tools.sum(marks(all).map((j) => weights(i)[j])))) / all.length;
      say(`${what}: ${percent(share)} of all weight ${whole ? "comes from" : "goes to"} [CLS] and [SEP].`);
    }
  };
  const choose = (l, h) => {
    state.layer = l; state.head = h;
    layer.value = l + 1; head.value = h + 1;
    paint();
  };

  tools.choice(sentences, {
    label: "sentence", value: 0, options: data.map((_, i) => [i, String(i + 1)]),
    onChange: (i) => { state.sentence = i; state.word = null; words(); overview(); paint(); },
  });
  const view = tools.choice(views, {
    label: "show", value: "head", options: [["head", "one head"], ["rollout", "rollout"]],
    onChange: (chosen) => { state.view = chosen; paint(); },
  });
  tools.button(views, "all words", () => point(null));
  const layer = tools.slider(sliders, { label: "layer", min: 1, max: layers, value: 1, show: (v) => String(v), accent: "weights", onInput: (v) => choose(v - 1, state.head) });
  const head = tools.slider(sliders, { label: "head", min: 1, max: heads, value: 1, show: (v) => String(v), accent: "weights", onInput: (v) => choose(state.layer, v - 1) });
  words();
  overview();
  paint();
}
