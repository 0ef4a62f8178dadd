// The alignment map: rows are written characters, columns are characters of the source.
(root, data, tools) => {
  const { svg, set, color, format } = tools;
  const { readings } = data;
  const LEFT = 76, TOP = 58, WIDTH = 600, HEIGHT = 20;
  const seen = (c) => (/\s/.test(c) ? "␣" : c);
  const mean = (heads) => heads[0].map((row, r) => row.map((_, c) => tools.sum(heads.map((h) => h[r][c])) / heads.length));
  let which = 0, head = "mean", at = 0, letters = [], marks = [], frame = null;

  const texts = tools.row(root);
  const heads = tools.row(root);
  const stage = tools.el("div", {});
  root.append(stage);
  const controls = tools.el("div", {});
  root.append(controls);
  const say = tools.say(root);

  const now = () => readings[which];
  const map = () => (head === "mean" ? mean(now().heads) : now().heads[head]);

  const show = (row) => {
    at = row;
    const { source, written } = now();
    const weights = map()[row];
    const peak = Math.max(...weights, 1e-9);
    letters.forEach((box, c) => set(box, { "fill-opacity": 0.06 + 0.94 * (weights[c] / peak) }));
    letters.forEach((box, c) => set(box.nextSibling, { class: weights[c] / peak > 0.55 ? "afs-on" : "" }));
    set(frame, { y: TOP + row * HEIGHT });
    marks.forEach((mark, r) => set(mark, { class: r === row ? "afs-label" : "", "fill-opacity": r === row ? 1 : 0.75 }));
    const most = weights.map((w, c) => [w, c]).sort((a, b) => b[0] - a[0]).slice(0, 3);
    say(`Character ${row + 1} of ${written.length}, “${seen(written[row])}”, reads `
      + most.map(([w, c]) => `“${seen(source[c])}” at place ${c + 1}: ${format(w)}`).join(", ") + ".");
  };

  const draw = () => {
    const { source, written } = now();
    const size = Math.min(30, (WIDTH - LEFT) / source.length);
    tools.clear(stage);
    const drawing = tools.canvas(stage, { width: WIDTH, height: TOP + written.length * HEIGHT + 6 });
    const title = (x, y, anchor, name, words) => drawing.append(
      svg("text", { x, y, "text-anchor": anchor, class: "afs-label", style: `fill: var(--afs-${name}-text)` }, words));
    title(LEFT, 16, "start", "key", "source");
    title(LEFT - 8, 42, "end", "query", "written");
    letters = source.map((letter, c) => {
      const x = LEFT + c * size;
      const box = svg("rect", { x: x + 1, y: 24, width: size - 2, height: 26, rx: 3, fill: color("key") });
      const word = svg("text", { x: x + size / 2, y: 42, "text-anchor": "middle", "pointer-events": "none" }, seen(letter));
      drawing.append(box, word);
      return box;
    });
    const weights = map();
    marks = written.map((letter, r) => {
      const mark = svg("text", { x: LEFT - 14, y: TOP + (r + 0.5) * HEIGHT + 5, "text-anchor": "end" }, seen(letter));
      drawing.append(mark);
      return mark;
    });
    written.forEach((_, r) => source.forEach((letter, c) => {
      const box = svg("rect", {
        x: LEFT + c * size + 1, y: TOP + r * HEIGHT + 1, width: size - 2, height: HEIGHT - 2, rx: 3,
        fill: color("weights"), "fill-opacity": 0.05 + 0.95 * weights[r][c],
      }, svg("title", {}, `“${seen(written[r])}” reads “${seen(letter)}”: ${format(weights[r][c])}`));
      for (const event of ["pointerenter", "pointerdown"]) box.addEventListener(event, () => steps.go(r));
      drawing.append(box);
    }));
    frame = svg("rect", {
      x: LEFT - 30, width: source.length * size + 30, height: HEIGHT, rx: 4, "pointer-events": "none",
      fill: "none", stroke: color("query"), "stroke-width": 2,
    });
    drawing.append(frame);
  };

  let steps = { go: () => {} };
  const fresh = () => {
    draw();
    tools.clear(controls);
    const keep = Math.min(at, now().written.length - 1);
    steps = tools.stepper(controls, { count: now().written.length, label: "written", onStep: show });
    steps.go(keep);
  };
  if (readings.length > 1) tools.choice(texts, {
    label: "source", options: readings.map((one, i) => [i, one.source.join("")]), value: which,
    onChange: (v) => { which = v; at = 0; fresh(); },
  });
  const count = readings[0].heads.length;
  if (count > 1) tools.choice(heads, {
    label: "head", options: [["mean", "mean"], ...Array.from({ length: count }, (_, h) => [h, String(h)])], value: head,
    onChange: (v) => { head = v; fresh(); },
  });
  fresh();
}
