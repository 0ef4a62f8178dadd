// Speed against operations a byte: two bounds on a machine of choice, or the versions of the course on a measured one.
(root, data, tools) => {
  const { svg, color } = tools;
  const { dim, size, measured } = data;
  const log = (v) => Math.log10(v);
  const width = 600, height = 330, left = 66, right = 30, top = 36, bottom = 48;
  const views = { own: { x: [-1, 4], y: [-2, 4] }, cpu: { x: [0, 4], y: [-5, 0] } }; // powers of ten
  const drawing = tools.canvas(root, { width, height });
  const first = tools.row(root);
  const second = tools.row(root);
  const third = tools.row(root);
  const say = tools.say(root);
  const number = (v) => (v >= 100 ? v.toFixed(0) : v >= 1 ? v.toFixed(1) : v.toPrecision(2));
  const rate = (v) => (v >= 1 ? `${number(v)} TFLOP/s` : v >= 1e-3 ? `${number(v * 1e3)} GFLOP/s` : `${number(v * 1e6)} MFLOP/s`);
  const power = (p) => (p < -2 ? `10${[...String(p)].map((c) => "⁻¹²³⁴⁵"["-12345".indexOf(c)]).join("")}` : String(10 ** p));
  let view = "own";
  let length = 12;
  let peak = log(data.peak);
  let bandwidth = log(data.bandwidth);

  // Axes and roof of the view; returns the two scales.
  const frame = (roofPeak, roofBandwidth) => {
    const { x: [x0, x1], y: [y0, y1] } = views[view];
    const x = tools.scale([x0, x1], [left, width - right]);
    const y = tools.scale([y0, y1], [height - bottom, top]);
    tools.clear(drawing);
    for (let p = y0; p <= y1; p += 1) {
      drawing.append(svg("line", { x1: left, x2: width - right, y1: y(p), y2: y(p), class: "afs-rule" }));
      drawing.append(svg("text", { x: left - 8, y: y(p) + 4, class: "afs-tick", "text-anchor": "end" }, power(p)));
    }
    for (let p = x0; p <= x1; p += 1) {
      drawing.append(svg("text", { x: x(p), y: height - bottom + 19, class: "afs-tick", "text-anchor": "middle" }, power(p)));
    }
    drawing.append(svg("text", { x: (left + width - right) / 2, y: height - 8, "text-anchor": "middle" }, "operations for each byte moved"));
    drawing.append(svg("text", { x: 4, y: 16 }, view === "own" ? "attainable TFLOP/s" : "measured TFLOP/s"));
    const ridge = roofPeak - roofBandwidth;
    const foot = Math.max(x0, y0 - roofBandwidth); // where the slope enters the drawing
    drawing.append(svg("path", {
      d: tools.path([[x(foot), y(foot + roofBandwidth)], [x(tools.clamp(ridge, x0, x1)), y(Math.min(roofPeak, x1 + roofBandwidth))], [x(x1), y(Math.min(roofPeak, x1 + roofBandwidth))]]),
      fill: "none", stroke: "currentColor", "stroke-width": 2.5,
    }));
    return { x, y, ridge };
  };
  const dot = (x, y, name, words, place) => {
    const end = place.dx < 0 ? "end" : "start";
    drawing.append(svg("circle", { cx: x, cy: y, r: 7, fill: color(name) }));
    drawing.append(svg("text", { x: x + place.dx, y: y + place.dy, class: "afs-label", "text-anchor": end }, words));
  };

  const drawOwn = () => {
    const n = 2 ** length;
    const flops = 4 * n * n * dim;
    const vectors = 4 * n * dim;
    const intensity = { naive: flops / ((vectors + 4 * n * n) * size), fused: flops / ((vectors + n) * size) };
    const reach = (i) => Math.min(10 ** peak, i * 10 ** bandwidth);
    const { x, y, ridge } = frame(peak, bandwidth);
    for (const [kind, name, words] of [["naive", "key", "three steps"], ["fused", "query", "one kernel"]]) {
      const at = x(tools.clamp(log(intensity[kind]), -1, 4));
      const up = y(tools.clamp(log(reach(intensity[kind])), -2, 4));
      drawing.append(svg("line", { x1: at, x2: at, y1: up, y2: height - bottom, stroke: color(name), "stroke-width": 2, "stroke-dasharray": "4 3" }));
      dot(at, up, name, words, { dx: at > width - 130 ? -10 : 10, dy: Math.min(24, height - bottom - 8 - up) });
    }
    const bound = (kind) => (log(intensity[kind]) < ridge ? "memory is the limit" : "arithmetic is the limit");
    say(`Length ${n}: three steps do ${number(intensity.naive)} operations a byte, at most ${rate(reach(intensity.naive))} `
      + `(${bound("naive")}); one kernel does ${number(intensity.fused)}, at most ${rate(reach(intensity.fused))} (${bound("fused")}).`);
  };

  const drawMeasured = () => {
    const { x, y } = frame(log(measured.peak), log(measured.bandwidth));
    const places = { "Python loops": { dx: 12, dy: 5 }, NumPy: { dx: -12, dy: -2 }, "torch naive": { dx: 12, dy: 16 }, "torch tiled": { dx: 12, dy: 16 }, SDPA: { dx: 12, dy: 6 } };
    for (const point of measured.points) {
      dot(x(log(point.intensity)), y(log(point.rate)), point.fused ? "query" : "key", point.name, places[point.name] || { dx: 12, dy: 4 });
    }
    say(`${measured.machine}, one thread, float32: a product of matrices reaches ${rate(measured.peak)}, a copy ${number(measured.bandwidth * 1e3)} GB/s. `
      + measured.points.map((p) => `${p.name} (length ${p.length}): ${rate(p.rate)}`).join(", ") + ".");
  };

  const draw = () => {
    for (const bar of [second, third]) bar.style.display = view === "own" ? "" : "none";
    if (view === "own") drawOwn(); else drawMeasured();
  };
  tools.choice(first, {
    label: "machine", options: [["own", "of your choice"], ["cpu", "chapter 08's CPU, measured"]], value: view,
    onChange: (v) => { view = v; draw(); },
  });
  tools.slider(second, { label: "length", min: 6, max: 16, value: length, show: (v) => String(2 ** v), onInput: (v) => { length = v; draw(); } });
  tools.slider(third, { label: "peak TFLOP/s", min: -1, max: 3.5, step: 0.1, value: peak, show: (v) => number(10 ** v), onInput: (v) => { peak = v; draw(); } });
  tools.slider(third, { label: "bandwidth TB/s", min: -2, max: 1, step: 0.1, value: bandwidth, show: (v) => number(10 ** v), onInput: (v) => { bandwidth = v; draw(); } });
  draw();
}
