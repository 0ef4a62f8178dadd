// Left, the mask to paint on; right, the weights that it leaves, and the sum of every row.
(root, data, tools) => {
  const { svg, set, color } = tools;
  const { sentences, lengths, scores } = data;
  const count = sentences[0].length;
  const size = 200 / count;
  const [left, top] = [62, 84];
  const all = Array.from({ length: count }, (_, i) => i);
  const state = { example: 0, preset: "causal", offset: 0, way: "minus", row: 2, column: 0 };
  let mask = [];

  const presets = {
    everything: () => true,
    causal: (i, j) => j <= i + state.offset,
    padding: (i, j) => j < lengths[state.example],
    both: (i, j) => j <= i + state.offset && j < lengths[state.example],
    window: (i, j) => Math.abs(i - j) <= 1,
  };
  const fill = () => { mask = all.map((i) => all.map((j) => presets[state.preset](i, j))); };
  const weigh = (i) => {
    const row = scores[state.example][i];
    const seen = mask[i];
    if (state.way === "zero") return tools.softmax(row.map((score, j) => (seen[j] ? score : 0)));
    if (state.way === "after") return tools.softmax(row).map((weight, j) => (seen[j] ? weight : 0));
    if (!seen.some(Boolean)) return row.map(() => 0);
    return tools.softmax(row.map((score, j) => (seen[j] ? score : -Infinity)));
  };

  const controls = tools.row(root);
  // Two drawings, side by side or, on a narrow screen, one below the other; each is narrow, so its words need no growing.
  const pair = tools.el("div", { style: "display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,15rem),1fr));gap:.5rem 1.5rem" });
  root.append(pair);
  const word = (drawing, x, y, paint, more = {}, text = "") => {
    const node = svg("text", { x, y, style: `font-size:14px;fill:${color(paint)}`, ...more }, text);
    drawing.append(node);
    return node;
  };
  const sides = ["may look", "weights, in %"].map((title) => {
    const drawing = tools.canvas(pair, { width: left + 200 + 38, height: top + 206 });
    word(drawing, left, 15, "ink", { class: "afs-label" }, title);
    const rows = all.map((i) => word(drawing, left - 8, top + (i + 0.5) * size + 5, "query-text", { "text-anchor": "end" }));
    const columns = all.map((j) => {
      const [x, y] = [left + (j + 0.5) * size + 4, top - 8];
      return word(drawing, x, y, "key-text", { transform: `rotate(-42 ${x} ${y})` });
    });
    return { drawing, rows, columns };
  });
  const [{ drawing }, { drawing: result }] = sides;
  word(result, left + 236, top - 10, "soft", { "text-anchor": "end" }, "sum");

  const sheet = svg("g", {
    tabindex: 0, role: "application", "aria-roledescription": "mask painter", style: "touch-action:none;cursor:crosshair;outline:none",
    "aria-label": "Mask: rows are queries, columns are keys. Arrow keys move, space paints.",
  });
  drawing.append(sheet);
  const cells = tools.grid(sheet, { rows: count, columns: count, x: left, y: top, size });
  const ring = svg("rect", {
    width: size - 2, height: size - 2, rx: 3, fill: "none", stroke: color("ink"), "stroke-width": 3, "pointer-events": "none", visibility: "hidden",
  });
  sheet.append(ring);
  const weights = tools.grid(result, { rows: count, columns: count, x: left, y: top, size });
  const sums = all.map((i) => word(result, left + 236, top + (i + 0.5) * size + 5, "weights-text", { "text-anchor": "end", class: "afs-label" }));

  const say = tools.say(root);
  const percent = (weight) => String(Math.round(100 * weight));
  const tell = (i, row) => {
    const words = sentences[state.example];
    const read = all.filter((j) => row[j] >= 0.005).sort((a, b) => row[b] - row[a]);
    const hidden = tools.sum(all.filter((j) => !mask[i][j]).map((j) => row[j]));
    const start = read.length
      ? `${words[i]} reads ${read.map((j) => `${words[j]} ${percent(row[j])} %`).join(", ")}.`
      : `${words[i]} may look at nothing and reads nothing.`;
    const total = tools.sum(row);
    say(start, hidden > 0.005 ? ` Hidden words keep ${percent(hidden)} %.` : "",
      read.length && total < 0.995 ? ` Only ${percent(total)} % are left.` : "");
  };
  const draw = () => {
    const words = sentences[state.example];
    sides.forEach((side) => [side.rows, side.columns].forEach((line) => line.forEach((node, i) => { node.textContent = words[i]; })));
    all.forEach((i) => {
      const row = weigh(i);
      all.forEach((j) => {
        const seen = mask[i][j];
        cells[i][j].set({ fill: seen ? "query" : "mask", strength: seen ? 0.75 : 0.12, text: seen ? "✓" : "", title: `${words[i]} ${seen ? "may" : "may not"} look at ${words[j]}` });
        weights[i][j].set({ fill: "weights", strength: row[j] ** 0.7, text: row[j] ? percent(row[j]) : "", title: `${words[i]} reads ${words[j]}: ${tools.format(100 * row[j], 1)} %` });
      });
      const total = percent(tools.sum(row));
      sums[i].textContent = total;
      if (i === state.row) tell(i, row);
    });
    set(ring, { x: left + state.column * size + 1, y: top + state.row * size + 1 });
  };

  const paint = (i, j, seen) => {
    Object.assign(state, { row: i, column: j });
    if (mask[i][j] !== seen) { mask[i][j] = seen; presetChoice.set(null); }
    draw();
  };
  const cellAt = (event) => {
    const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(drawing.getScreenCTM().inverse());
    return [point.y - top, point.x - left].map((v) => tools.clamp(Math.floor(v / size), 0, count - 1));
  };
  let brush = null;
  sheet.addEventListener("pointerdown", (event) => {
    const [i, j] = cellAt(event);
    brush = !mask[i][j];
    sheet.setPointerCapture(event.pointerId);
    sheet.focus({ preventScroll: true });
    paint(i, j, brush);
    event.preventDefault();
  });
  sheet.addEventListener("pointermove", (event) => { if (brush !== null) paint(...cellAt(event), brush); });
  for (const end of ["pointerup", "pointercancel"]) sheet.addEventListener(end, () => { brush = null; });
  sheet.addEventListener("keydown", (event) => {
    const step = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    if (step) {
      state.row = tools.clamp(state.row + step[0], 0, count - 1);
      state.column = tools.clamp(state.column + step[1], 0, count - 1);
      draw();
    } else if (event.key === " " || event.key === "Enter") {
      paint(state.row, state.column, !mask[state.row][state.column]);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });
  sheet.addEventListener("focus", () => set(ring, { visibility: sheet.matches(":focus-visible") ? "visible" : "hidden" }));
  sheet.addEventListener("blur", () => set(ring, { visibility: "hidden" }));
  weights.forEach((line, i) => line.forEach((cell) => cell.box.addEventListener("pointerenter", () => { state.row = i; draw(); })));

  tools.choice(controls, {
    label: "sentence", value: 0, options: sentences.map((words, b) => [b, words.slice(0, lengths[b]).join(" ")]),
    onChange: (b) => { state.example = b; if (state.preset) fill(); draw(); },
  });
  const presetChoice = tools.choice(tools.row(root), {
    label: "mask", value: state.preset,
    options: [["everything", "everything"], ["causal", "causal"], ["padding", "padding"], ["both", "causal and padding"], ["window", "window"]],
    onChange: (v) => { state.preset = v; fill(); draw(); },
  });
  tools.slider(tools.row(root), {
    label: "offset of the causal mask", min: 1 - count, max: count - 1, value: state.offset, accent: "query", show: (v) => tools.format(v, 0),
    onInput: (v) => {
      state.offset = v;
      if (state.preset !== "both") { state.preset = "causal"; presetChoice.set("causal"); }
      fill();
      draw();
    },
  });
  tools.choice(tools.row(root), {
    label: "hide by", value: state.way,
    options: [["minus", "−∞ before the softmax"], ["zero", "0 before the softmax"], ["after", "0 after the softmax"]],
    onChange: (v) => { state.way = v; draw(); },
  });
  fill();
  draw();
}
