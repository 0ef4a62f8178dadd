// The lanes of one program above, memory below, a line for every access.
(root, data, tools) => {
  const { svg, set, color } = tools;
  const { size, block, cells, sector } = data;
  const perRow = cells / 2;
  const cell = 34;
  const left = 28;
  const rowY = (i) => 150 + (i >= perRow ? 86 : 0);
  const cellX = (i) => left + (i % perRow) * cell;
  const drawing = tools.canvas(root, { width: 600, height: 304 });
  const label = (x, y, words) => drawing.append(svg("text", { x, y, class: "afs-label" }, words));
  label(left, 16, "lanes of the program");
  label(left, 294, "memory");

  const frames = Array.from({ length: cells / sector }, (_, s) => {
    const frame = svg("rect", {
      x: cellX(s * sector) - 2, y: rowY(s * sector) - 4, width: sector * cell + 4, height: cell + 8, rx: 5,
      fill: "none", "stroke-width": 2.5,
    });
    drawing.append(frame);
    return frame;
  });
  const lines = svg("g", { "pointer-events": "none" });
  const memory = [0, 1].flatMap((r) =>
    tools.grid(drawing, { rows: 1, columns: perRow, x: left, y: rowY(r * perRow), size: cell })[0]);
  const laneX = (l) => left + (l + 0.5) * ((perRow * cell) / block) - cell / 2;
  const lanes = Array.from({ length: block }, (_, l) =>
    tools.grid(drawing, { rows: 1, columns: 1, x: laneX(l), y: 26, size: cell })[0][0]);
  drawing.append(lines);

  let program = 0;
  let stride = 1;
  let masked = "on";
  const first = tools.row(root);
  const second = tools.row(root);
  const say = tools.say(root);
  const count = () => Math.floor((size - 1) / stride) + 1; // numbers that the kernel is asked to handle
  const programs = () => Math.ceil(count() / block);

  const draw = () => {
    const touched = new Set();
    let outside = 0;
    tools.clear(lines);
    memory.forEach((m, i) => m.set({ text: i < size ? String(i) : "?", fill: i < size ? "raised" : "mask", strength: 0.25 }));
    lanes.forEach((lane, l) => {
      const index = program * block + l;
      const at = index * stride;
      const inside = index < count();
      const active = inside || masked === "off";
      lane.set({ text: String(index), fill: active ? (inside ? "query" : "key") : "mask", strength: active ? 0.9 : 0.2 });
      if (!active || at >= cells) return;
      if (!inside) outside += 1;
      touched.add(Math.floor(at / sector));
      memory[at].set({ fill: inside ? "query" : "key", strength: 0.9 });
      lines.append(svg("line", {
        x1: laneX(l) + cell / 2, y1: 26 + cell, x2: cellX(at) + cell / 2, y2: rowY(at),
        stroke: color(inside ? "query" : "key"), "stroke-width": 1.5, "stroke-opacity": 0.75,
      }));
    });
    frames.forEach((frame, s) => set(frame, { stroke: touched.has(s) ? "currentColor" : color("rule") }));
    const own = lanes.filter((_, l) => program * block + l < count()).length;
    const fetched = touched.size * sector;
    say(`Program ${program} of ${programs()}: ${own} of ${block} lanes have a number; ${touched.size} `
      + `${touched.size === 1 ? "sector is" : "sectors are"} fetched, ${fetched} numbers for ${own} that are used.`
      + (outside ? ` ${outside} ${outside === 1 ? "lane touches" : "lanes touch"} memory that is not ours.` : ""));
  };
  const steps = tools.slider(first, {
    label: "program", min: 0, max: programs() - 1, value: 0, show: (v) => String(v), onInput: (v) => { program = v; draw(); },
  });
  tools.slider(first, {
    label: "stride", min: 1, max: 4, value: 1, show: (v) => String(v),
    onInput: (v) => {
      stride = v;
      set(steps.input, { max: programs() - 1 });
      program = Math.min(program, programs() - 1);
      steps.value = program;
      draw();
    },
  });
  tools.choice(second, {
    label: "mask", options: [["on", "on"], ["off", "off"]], value: masked, onChange: (v) => { masked = v; draw(); },
  });
  draw();
}
