// The same numbers three times: memory, grid of positions, stack of heads under the right or the wrong recipe.
(root, data, tools) => {
  const { svg, set, color } = tools;
  const { length, heads, dim } = data;
  const width = heads * dim;
  const count = length * width;
  const size = 34;
  const paints = [["ochre", 0.3], ["soft", 0.14], ["ink", 0.34]];
  const drawing = tools.canvas(root, { width: 600, height: 108 + Math.max(length, 1) * size + 20 });
  const title = (x, y, words) => drawing.append(svg("text", { x, y, class: "afs-label" }, words));
  let recipe = "right";
  let at = 2;

  title(0, 14, "memory");
  const memory = tools.grid(drawing, { rows: 1, columns: count, x: 0, y: 22, size })[0];
  title(0, 92, "x (length, width)");
  const positions = tools.grid(drawing, { rows: length, columns: width, x: 0, y: 102, size }).flat();
  const stackX = (head) => width * size + 60 + head * (dim * size + 40);
  const stacks = Array.from({ length: heads }, (_, head) => {
    title(stackX(head), 92, `head ${head}`);
    return tools.grid(drawing, { rows: length, columns: dim, x: stackX(head), y: 102, size });
  });

  // Which number of the memory stands at (head, position, dim).
  const index = {
    right: (h, l, d) => l * width + h * dim + d,
    wrong: (h, l, d) => (h * length + l) * dim + d,
  };
  const paint = (cell, number) => {
    const [fill, strength] = paints[Math.floor(number / width) % paints.length];
    cell.set({ text: String(number), fill, strength: number === at ? 1 : strength });
    set(cell.box, { stroke: number === at ? "currentColor" : "none", "stroke-width": 2 });
  };
  const controls = tools.row(root);
  const words = tools.row(root);
  const say = tools.say(root);
  const draw = () => {
    memory.forEach(paint);
    positions.forEach(paint);
    let where = [0, 0, 0];
    stacks.forEach((stack, h) => stack.forEach((line, l) => line.forEach((cell, d) => {
      const number = index[recipe](h, l, d);
      if (number === at) where = [h, l, d];
      paint(cell, number);
    })));
    const [h, l, d] = where;
    const steps = recipe === "right" ? [dim, width, 1] : [length * dim, dim, 1];
    say(`Number ${at} of position ${Math.floor(at / width)} lies at head ${h}, row ${l}, dim ${d}: `
      + `${h}·${steps[0]} + ${l}·${steps[1]} + ${d}·${steps[2]} = ${at}.`
      + (Math.floor(at / width) === l ? "" : " It has left its position."));
  };
  const slider = tools.slider(words, {
    label: "number", min: 0, max: count - 1, value: at, show: (v) => String(v), onInput: (v) => { at = v; draw(); },
  });
  const follow = (cell, number) => cell.box.addEventListener("pointerenter", () => { at = number(); slider.value = at; draw(); });
  memory.forEach((cell, i) => follow(cell, () => i));
  positions.forEach((cell, i) => follow(cell, () => i));
  stacks.forEach((stack, h) => stack.forEach((line, l) => line.forEach((cell, d) => follow(cell, () => index[recipe](h, l, d)))));
  tools.choice(controls, {
    label: "recipe", options: [["right", "cut, then exchange"], ["wrong", "view alone"]], value: recipe,
    onChange: (v) => { recipe = v; draw(); },
  });
  draw();
}
