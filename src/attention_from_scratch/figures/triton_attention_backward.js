// Speed against operations a byte, for attention in three steps and in one kernel.
(root, data, tools) => {
  const { svg, set, color } = tools;
  const { dim, size } = data;
  const log = (x) => Math.log10(x);
  const width = 600, height = 330, left = 62, right = 30, top = 36, bottom = 48;
  const x = tools.scale([-1, 4], [left, width - right]); // operations a byte: 0.1 … 10,000
  const y = tools.scale([-2, 4], [height - bottom, top]); // TFLOP/s: 0.01 … 10,000
  const drawing = tools.canvas(root, { width, height });
  for (let power = -2; power <= 4; power += 1) {
    drawing.append(svg("line", { x1: left, x2: width - right, y1: y(power), y2: y(power), class: "afs-rule" }));
    drawing.append(svg("text", { x: left - 8, y: y(power) + 4, class: "afs-tick", "text-anchor": "end" }, String(10 ** power)));
  }
  for (let power = -1; power <= 4; power += 1) {
    drawing.append(svg("text", { x: x(power), y: height - bottom + 19, class: "afs-tick", "text-anchor": "middle" }, String(10 ** power)));
  }
  drawing.append(svg("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, "operations for each byte moved"));
  drawing.append(svg("text", { x: 4, y: 16 }, "attainable TFLOP/s"));
  const roof = svg("path", { fill: "none", stroke: "currentColor", "stroke-width": 2.5 });
  drawing.append(roof);
  const mark = (name, words) => {
    const line = svg("line", { y2: height - bottom, stroke: color(name), "stroke-width": 2, "stroke-dasharray": "4 3" });
    const dot = svg("circle", { r: 7, fill: color(name) });
    const label = svg("text", { class: "afs-label" }, words);
    drawing.append(line, dot, label);
    return { line, dot, label };
  };
  const naive = mark("key", "three steps");
  const fused = mark("query", "one kernel");
  let length = 12;
  let peak = log(data.peak);
  let bandwidth = log(data.bandwidth);
  const first = tools.row(root);
  const second = tools.row(root);
  const say = tools.say(root);
  const number = (v) => (v >= 100 ? v.toFixed(0) : v >= 1 ? v.toFixed(1) : v.toPrecision(2));

  const draw = () => {
    const n = 2 ** length;
    const flops = 4 * n * n * dim;
    const vectors = 4 * n * dim;
    const intensity = { naive: flops / ((vectors + 4 * n * n) * size), fused: flops / ((vectors + n) * size) };
    const reach = (i) => Math.min(10 ** peak, i * 10 ** bandwidth);
    const ridge = peak - bandwidth;
    set(roof, { d: tools.path([[x(-1), y(Math.max(-2, bandwidth - 1))], [x(tools.clamp(ridge, -1, 4)), y(peak)], [x(4), y(peak)]]) });
    for (const [kind, parts] of [["naive", naive], ["fused", fused]]) {
      const at = x(tools.clamp(log(intensity[kind]), -1, 4));
      const up = y(tools.clamp(log(reach(intensity[kind])), -2, 4));
      set(parts.line, { x1: at, x2: at, y1: up });
      set(parts.dot, { cx: at, cy: up });
      set(parts.label, { x: at + 10, y: Math.min(up + 24, height - bottom - 8), "text-anchor": at > width - 130 ? "end" : "start" });
      if (at > width - 130) set(parts.label, { x: at - 10 });
    }
    const bound = (kind) => (log(intensity[kind]) < ridge ? "memory is the limit" : "arithmetic is the limit");
    say(`Length ${n}: three steps do ${number(intensity.naive)} operations a byte, at most ${number(reach(intensity.naive))} TFLOP/s `
      + `(${bound("naive")}); one kernel does ${number(intensity.fused)}, at most ${number(reach(intensity.fused))} TFLOP/s (${bound("fused")}).`);
  };
  tools.slider(first, { label: "length", min: 6, max: 16, value: length, show: (v) => String(2 ** v), onInput: (v) => { length = v; draw(); } });
  tools.slider(second, { label: "peak TFLOP/s", min: -1, max: 3.5, step: 0.1, value: peak, show: (v) => number(10 ** v), onInput: (v) => { peak = v; draw(); } });
  tools.slider(second, { label: "bandwidth TB/s", min: -2, max: 1, step: 0.1, value: bandwidth, show: (v) => number(10 ** v), onInput: (v) => { bandwidth = v; draw(); } });
  draw();
}
