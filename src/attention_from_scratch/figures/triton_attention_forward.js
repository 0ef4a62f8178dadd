// The matrix of scores in tiles: whole, masked or skipped.
(root, data, tools) => {
  const { svg, color } = tools;
  const { largest } = data;
  const state = { queries: data.queries, keys: data.keys, length: data.keys, bq: data.block, bk: data.block, causal: "on" };
  const size = 300;
  const left = 120;
  const top = 34;
  const drawing = tools.canvas(root, { width: 600, height: top + size + 12 });
  drawing.append(svg("text", { x: left, y: 18, class: "afs-label" }, "keys →"));
  drawing.append(svg("text", { x: left - 12, y: top + 16, class: "afs-label", "text-anchor": "end" }, "queries ↓"));
  const layer = svg("g");
  drawing.append(layer);
  const lengths = tools.row(root);
  const blocks = tools.row(root);
  const say = tools.say(root);

  const sees = (i, j) => j < Math.min(state.length, state.keys) && (state.causal === "off" || j <= i + state.keys - state.queries);
  const kind = (i0, i1, j0, j1, whole) => {
    let seen = 0;
    for (let i = i0; i < i1; i++) for (let j = j0; j < j1; j++) seen += sees(i, j) ? 1 : 0;
    return seen === 0 ? "skipped" : seen === (i1 - i0) * (j1 - j0) && whole ? "whole" : "masked";
  };
  const looks = { whole: ["weights", 0.85], masked: ["weights", 0.35], skipped: ["mask", 0.15] };

  const draw = () => {
    tools.clear(layer);
    const unit = size / Math.max(state.queries, state.keys);
    const counts = { whole: 0, masked: 0, skipped: 0 };
    for (let i = 0; i < state.queries; i += state.bq) {
      const i1 = Math.min(i + state.bq, state.queries);
      for (let j = 0; j < state.keys; j += state.bk) {
        const j1 = Math.min(j + state.bk, state.keys);
        const what = kind(i, i1, j, j1, j + state.bk <= state.keys);
        counts[what] += 1;
        const [fill, strength] = looks[what];
        layer.append(svg("rect", {
          x: left + j * unit + 1, y: top + i * unit + 1, width: Math.max(1, (j1 - j) * unit - 2),
          height: Math.max(1, (i1 - i) * unit - 2), rx: 2, fill: color(fill), "fill-opacity": strength,
        }, svg("title", {}, `queries ${i} to ${i1 - 1}, keys ${j} to ${j1 - 1}: ${what}`)));
      }
    }
    if (state.causal === "on") {
      const points = [];
      for (let i = 0; i <= state.queries; i++) {
        const j = Math.min(state.keys, Math.max(0, i + state.keys - state.queries + (i < state.queries ? 1 : 0)));
        points.push([left + j * unit, top + i * unit]);
      }
      layer.append(svg("path", { d: tools.path(points), fill: "none", stroke: "currentColor", "stroke-width": 1.5, "stroke-dasharray": "4 3" }));
    }
    if (state.length < state.keys) layer.append(svg("line", {
      x1: left + state.length * unit, x2: left + state.length * unit, y1: top, y2: top + state.queries * unit,
      stroke: color("key"), "stroke-width": 2,
    }));
    const all = counts.whole + counts.masked + counts.skipped;
    say(`${all} tiles: ${counts.whole} whole, ${counts.masked} with a mask, ${counts.skipped} skipped `
      + `(${Math.round((100 * counts.skipped) / all)} % of the work).`);
  };
  const number = (v) => String(v);
  const change = (name) => (v) => {
    state[name] = v;
    if (name === "keys") { state.length = v; length.value = v; }
    draw();
  };
  tools.slider(lengths, { label: "queries", min: 1, max: largest, value: state.queries, show: number, onInput: change("queries") });
  tools.slider(lengths, { label: "keys", min: 1, max: largest, value: state.keys, show: number, onInput: change("keys") });
  const length = tools.slider(lengths, {
    label: "real keys", min: 0, max: largest, value: state.length, show: number,
    onInput: (v) => { state.length = Math.min(v, state.keys); draw(); },
  });
  tools.slider(blocks, { label: "rows of a block", min: 8, max: 32, step: 8, value: state.bq, show: number, onInput: change("bq") });
  tools.slider(blocks, { label: "keys of a block", min: 8, max: 32, step: 8, value: state.bk, show: number, onInput: change("bk") });
  tools.choice(blocks, { label: "causal", options: [["on", "on"], ["off", "off"]], value: state.causal, onChange: change("causal") });
  draw();
}
