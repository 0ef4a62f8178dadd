// What every moving figure is given as `tools`. An expression: it makes one object and touches nothing outside it.
(() => {
  const SVG = "http://www.w3.org/2000/svg";
  const color = (name) => `var(--afs-${name})`;

  // Elements. Attributes whose value is null or undefined are left out; children may be strings or nodes.
  const fill = (node, attributes, children) => {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === null || value === undefined) continue;
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else node.setAttribute(name, value);
    }
    node.append(...children.flat());
    return node;
  };
  const el = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);
  const set = (node, attributes) => fill(node, attributes, []);
  const clear = (node) => { node.replaceChildren(); return node; };

  // Numbers.
  const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
  const sum = (xs) => xs.reduce((a, b) => a + b, 0);
  const dot = (a, b) => sum(a.map((x, i) => x * b[i]));
  const softmax = (xs) => {
    const top = Math.max(...xs);
    const powers = xs.map((x) => Math.exp(x - top));
    const total = sum(powers);
    return powers.map((p) => p / total);
  };
  const format = (x, digits = 2) => {
    if (!Number.isFinite(x)) return Number.isNaN(x) ? "not a number" : x > 0 ? "∞" : "−∞";
    const text = Math.abs(x).toFixed(digits);
    return x < 0 && Number(text) !== 0 ? "−" + text : text;
  };
  const scale = ([a, b], [c, d]) => {
    const map = (x) => c + ((x - a) / (b - a)) * (d - c);
    map.invert = (y) => a + ((y - c) / (d - c)) * (b - a);
    return map;
  };
  const ticks = ([low, high], about = 5) => {
    const raw = (high - low) / about;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw * 0.999);
    const places = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
    const out = [];
    for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-6; i++) out.push([i * step, format(i * step, places)]);
    return out;
  };
  const path = (points) => points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(2)},${y.toFixed(2)}`).join("");

  // An empty drawing. The numbers are viewBox units; the page decides how large it stands.
  const canvas = (root, { width = 600, height = 300 } = {}) => {
    const node = svg("svg", { viewBox: `0 0 ${width} ${height}` });
    root.append(node);
    return node;
  };
  // A pair of axes to draw in. Returns {svg, layer, x, y}: x and y map data to the drawing, x.invert and y.invert back.
  const plot = (root, o) => {
    const { width = 600, height = 320, left = 52, right = 16, top = 34, bottom = 46 } = o;
    const node = canvas(root, { width, height });
    const x = scale(o.x, [left, width - right]);
    const y = scale(o.y, [height - bottom, top]);
    const put = (at, attributes, words) => node.append(svg("text", { ...at, ...attributes }, words));
    if (o.yTicks !== false) for (const [value, words] of ticks(o.y)) {
      node.append(svg("line", { x1: left, x2: width - right, y1: y(value), y2: y(value), class: "afs-rule" }));
      put({ x: left - 8, y: y(value) + 4 }, { class: "afs-tick", "text-anchor": "end" }, words);
    }
    node.append(svg("line", { x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "afs-axis" }));
    for (const [value, words] of ticks(o.x, 6)) put({ x: x(value), y: height - bottom + 19 }, { class: "afs-tick", "text-anchor": "middle" }, words);
    if (o.xLabel) put({ x: (left + width - right) / 2, y: height - 6 }, { "text-anchor": "middle" }, o.xLabel);
    if (o.yLabel) put({ x: 4, y: 16 }, {}, o.yLabel);
    const layer = svg("g");
    node.append(layer);
    return { svg: node, layer, x, y };
  };
  // A grid of cells; cells[row][column].set({text, fill, strength, title}) colours one (strength 0 to 1).
  const grid = (parent, { rows, columns, x = 0, y = 0, size = 40, height = size }) => {
    const cell = (r, c) => {
      const box = svg("rect", { x: x + c * size + 1, y: y + r * height + 1, width: size - 2, height: height - 2, rx: 3, fill: color("raised") });
      const words = svg("text", { x: x + (c + 0.5) * size, y: y + (r + 0.5) * height + 5, "text-anchor": "middle", "pointer-events": "none" });
      const title = svg("title");
      box.append(title);
      parent.append(box, words);
      return { box, words, set: ({ text, fill: paint, strength = 1, title: hover }) => {
        if (paint !== undefined) set(box, { fill: color(paint), "fill-opacity": paint === "raised" ? 1 : 0.08 + 0.92 * clamp(strength, 0, 1) });
        if (text !== undefined) words.textContent = text;
        if (paint !== undefined) words.setAttribute("class", paint !== "raised" && strength > 0.55 ? "afs-on" : "");
        if (hover !== undefined) title.textContent = hover;
      } };
    };
    return Array.from({ length: rows }, (_, r) => Array.from({ length: columns }, (_, c) => cell(r, c)));
  };

  // Controls.
  const row = (root) => { const node = el("div", { class: "afs-row" }); root.append(node); return node; };
  const slider = (root, { label, min, max, step = 1, value, show = (v) => format(v), accent, onInput }) => {
    const input = el("input", { type: "range", min, max, step, value, style: accent && `--afs-accent: ${color(accent)}` });
    const output = el("output", {});
    const tell = () => { output.textContent = show(Number(input.value)); input.setAttribute("aria-valuetext", output.textContent); };
    input.addEventListener("input", () => { tell(); onInput(Number(input.value)); });
    root.append(el("label", { class: "afs-control" }, el("span", {}, label), input, output));
    tell();
    return { input, get value() { return Number(input.value); }, set value(v) { input.value = v; tell(); } };
  };
  const button = (root, label, onClick, attributes = {}) => {
    const node = el("button", { type: "button", ...attributes, onclick: onClick }, label);
    root.append(node);
    return node;
  };
  // One of several: options is a list of [value, words].
  const choice = (root, { label, options, value, onChange }) => {
    const box = el("div", { class: "afs-control", role: "group", "aria-label": label }, el("span", {}, label));
    const press = (chosen) => buttons.forEach((b, i) => b.setAttribute("aria-pressed", String(options[i][0] === chosen)));
    const buttons = options.map(([v, words]) => button(box, words, () => { press(v); onChange(v); }));
    press(value);
    root.append(box);
    return { set: press };
  };
  // Back, next, start again and a slider over `count` steps; calls onStep(index) at once and at every move.
  const stepper = (root, { count, label = "Step", onStep }) => {
    const bar = row(root);
    let at = 0;
    const go = (i) => {
      at = clamp(i, 0, count - 1);
      track.value = at; back.disabled = at === 0; next.disabled = at === count - 1;
      onStep(at);
    };
    const back = button(bar, "←", () => go(at - 1), { "aria-label": "Step back" });
    const next = button(bar, "→", () => go(at + 1), { "aria-label": "Next step" });
    const track = slider(bar, { label, min: 0, max: count - 1, value: 0, show: (v) => `${v + 1} of ${count}`, onInput: go });
    go(0);
    return { go };
  };
  // A line of words under the drawing that screen readers hear when it changes.
  const say = (root) => {
    const node = el("p", { class: "afs-say", "aria-live": "polite" });
    root.append(node);
    return (...words) => node.replaceChildren(...words);
  };

  // Lets a node of a drawing be dragged by mouse, finger or arrow keys (Home and End, Shift for ten steps).
  // x and y are {scale, min, max, step, value}; give one of them for a line, both for a plane.
  const drag = (node, { label, x, y, show = (v) => format(v), onMove }) => {
    const at = { x: x && x.value, y: y && y.value };
    const round = (axis, v) => clamp(Math.round(v / axis.step) * axis.step, axis.min, axis.max);
    const main = x || y;
    set(node, { tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": main.min, "aria-valuemax": main.max });
    const move = (to, quiet) => {
      if (x && to.x !== undefined) at.x = round(x, to.x);
      if (y && to.y !== undefined) at.y = round(y, to.y);
      const words = [x && show(at.x), y && show(at.y)].filter(Boolean).join(", ");
      set(node, { "aria-valuenow": x ? at.x : at.y, "aria-valuetext": words });
      if (!quiet) onMove(at.x, at.y);
    };
    const here = (event) => {
      const root = node.ownerSVGElement;
      const p = new DOMPoint(event.clientX, event.clientY).matrixTransform(root.getScreenCTM().inverse());
      move({ x: x && x.scale.invert(p.x), y: y && y.scale.invert(p.y) });
    };
    let held = false;
    node.addEventListener("pointerdown", (event) => {
      held = true; node.setPointerCapture(event.pointerId); node.focus({ preventScroll: true }); here(event); event.preventDefault();
    });
    node.addEventListener("pointermove", (event) => { if (held) here(event); });
    for (const end of ["pointerup", "pointercancel"]) node.addEventListener(end, () => { held = false; });
    node.addEventListener("keydown", (event) => {
      const many = event.shiftKey ? 10 : 1;
      const sideways = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const upright = { ArrowDown: -1, ArrowUp: 1 }[event.key];
      let to = null;
      if (sideways) to = x ? { x: at.x + sideways * many * x.step } : { y: at.y + sideways * many * y.step };
      else if (upright) to = y ? { y: at.y + upright * many * y.step } : { x: at.x + upright * many * x.step };
      else if (event.key === "Home") to = x ? { x: x.min } : { y: y.min };
      else if (event.key === "End") to = x ? { x: x.max } : { y: y.max };
      if (!to) return;
      event.preventDefault(); event.stopPropagation();
      move(to);
    });
    move({}, true);
    return { move: (to) => move(to) };
  };

  return { color, el, svg, set, clear, clamp, sum, dot, softmax, format, scale, ticks, path, canvas, plot, grid, row, slider, button, choice, stepper, say, drag };
})()
