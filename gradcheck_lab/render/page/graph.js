"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const svg = (tag, attributes = {}, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const isStep = step => step.kind === "op" || step.kind === "native";
  const FEW = 40;  // steps up to which nothing is folded

  // Blocks of steps that repeat in kind and order, none of them wrong by itself, are one node each: start, length, times.
  function repeats(steps) {
    const words = steps.map(step => `${step.label.split(" ")[0]}|${step.inputs.length}|${step.state}`), calm = steps.map(step => step.state !== "wrong" && isStep(step));
    const found = [];
    for (let start = 0; start < steps.length;) {
      let best = null;
      for (let length = 1; length <= 60 && start + 2 * length <= steps.length; length++) {
        let end = start + length;
        while (end < steps.length && words[end] === words[end - length] && calm[end] && calm[end - length]) end++;
        const times = Math.floor((end - start) / length);
        if (times >= 2 && (!best || times * length > best.times * best.length)) best = { start, length, times };
      }
      if (best && best.times * best.length >= 4) { found.push(best); start += best.times * best.length; } else start++;
    }
    return found;
  }
  function nodesOf(steps, folded) {
    const home = steps.map((_, k) => k), nodes = new Map();
    for (const { start, length, times } of folded ? repeats(steps) : []) for (let k = start; k < start + length * times; k++) home[k] = start;
    const users = steps.map(() => new Set());
    steps.forEach((step, k) => { for (const from of step.inputs) users[from].add(home[k]); });
    const blocks = new Set(home.filter((at, k) => at !== k));
    steps.forEach((step, k) => {  // what goes into one block alone is part of it, but for the data that a program begins with
      const [only] = users[k];
      if (!isStep(step) && users[k].size === 1 && blocks.has(only) && !(k === 0 && step.kind === "input")) home[k] = only;
    });
    const sizes = new Map();
    home.forEach(k => sizes.set(k, (sizes.get(k) || 0) + 1));
    const first = steps.reduce((last, step, k) => step.state === "wrong" && step.kind !== "input" && step.kind !== "parameter" ? k : last, -1);
    steps.forEach((step, k) => {
      if (home[k] !== k) return;
      const count = sizes.get(k), native = step.kind === "native" || step.state === "not compared";
      const label = count > 1 ? `${home.filter((at, each) => at === k && isStep(steps[each])).length} steps: ${step.label.split(" ")[0]} …` : step.label;
      nodes.set(k, { label, classes: ["node", step.state.replace("not compared", "unverified"), native ? "native" : "", k === first ? "first" : ""].join(" "), step, count });
    });
    const edges = new Set();
    steps.forEach((step, k) => { for (const from of step.inputs) if (home[from] !== home[k]) edges.add(`${home[from]},${home[k]}`); });
    return { nodes, edges: [...edges].map(each => each.split(",").map(Number)) };
  }
  function draw(box) {
    const report = Number(box.dataset.graph), steps = data.reports[report].steps;
    let folded = steps.length > FEW;
    const bar = document.createElement("div");
    bar.className = "zoom";
    const button = (text, label, act) => {
      const node = document.createElement("button");
      node.type = "button"; node.textContent = text; node.setAttribute("aria-label", label);
      node.addEventListener("click", act);
      bar.append(node);
    };
    let view = [0, 0, 100, 100], whole = view, picture = null;
    const look = () => picture.setAttribute("viewBox", view.join(" "));
    const zoom = (by, x = 0.5, y = 0.5) => {
      const [left, top, width, height] = view;
      view = [left + width * x * (1 - by), top + height * y * (1 - by), width * by, height * by];
      look();
    };
    function lay() {
      const { nodes, edges } = nodesOf(steps, folded), graph = new dagre.graphlib.Graph();
      graph.setGraph({ rankdir: box.clientWidth > 700 ? "LR" : "TB", nodesep: 16, ranksep: 34, marginx: 12, marginy: 12 });
      graph.setDefaultEdgeLabel(() => ({}));
      for (const [k, node] of nodes) graph.setNode(k, { width: Math.min(260, 24 + 7.6 * node.label.length), height: 30 });
      for (const [from, to] of edges) graph.setEdge(from, to);
      dagre.layout(graph);
      if (picture) picture.remove();
      picture = svg("svg", { role: "group", "aria-label": "the program's graph: inputs, steps and what they are made of" });
      picture.append(svg("defs", {}, svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
        svg("rect", { width: 6, height: 6, style: "fill: var(--card); stroke: none" }), svg("rect", { width: 2.5, height: 6, style: "fill: var(--fail); fill-opacity: .28; stroke: none" })),
        svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 8, refY: 4, markerWidth: 7, markerHeight: 7, orient: "auto" }, svg("path", { d: "M0 0L8 4L0 8z", style: "fill: var(--dim); stroke: none" }))));
      for (const each of graph.edges()) {
        const { points } = graph.edge(each);
        picture.append(svg("path", { d: points.map((p, k) => `${k ? "L" : "M"}${p.x.toFixed(1)} ${p.y.toFixed(1)}`).join(""), "marker-end": "url(#arrow)" }));
      }
      for (const [k, node] of nodes) {
        const { x, y, width, height } = graph.node(k), text = node.label.length > 32 ? `${node.label.slice(0, 31)}…` : node.label;
        const group = svg("g", { class: node.classes, transform: `translate(${x - width / 2} ${y - height / 2})`, tabindex: "0", role: "button", "data-step": k,
          "aria-label": `${node.label}: ${node.step.state}` }, svg("title", {}, `${node.label}: ${node.step.state}`),
          svg("rect", { width, height }), svg("text", { x: width / 2, y: height / 2 }, text));
        const open = () => {
          if (node.count > 1) { folded = false; lay(); } else if (node.step.gradients.length) window.showGradient(report, node.step.gradients[0]);
        };
        group.addEventListener("click", open);
        group.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); open(); } });
        picture.append(group);
      }
      const { width, height } = graph.graph();
      const frame = Math.max(width, 1), tall = Math.max(height, 1);
      whole = [0, 0, frame, tall];
      view = [...whole];
      // a long program is legible at once, at its first wrong step
      const wrong = picture.querySelector(".node.first"), room = box.clientWidth || 800, most = 1.6;
      if (Math.max(frame / room, tall / 380) > most) {
        const scale = most, w = room * scale, h = 380 * scale;
        const [cx, cy] = wrong ? wrong.getAttribute("transform").match(/[\d.]+/g).map(Number) : [0, 0];
        view = [Math.max(0, Math.min(frame - w, cx - w / 2)), tall > h ? Math.max(0, Math.min(tall - h, cy - h / 2)) : (tall - h) / 2, w, h];
      } else picture.style.height = `min(${Math.max(110, Math.ceil(room * Math.min(tall / frame, 1)))}px, 24rem)`;
      look();
      box.prepend(picture);
      let from = null;
      picture.addEventListener("pointerdown", event => { if (!event.target.closest(".node")) { from = [event.clientX, event.clientY, ...view]; picture.setPointerCapture(event.pointerId); } });
      picture.addEventListener("pointermove", event => {
        if (!from) return;
        const size = picture.getBoundingClientRect(), scale = Math.max(view[2] / size.width, view[3] / size.height);
        view = [from[2] - (event.clientX - from[0]) * scale, from[3] - (event.clientY - from[1]) * scale, view[2], view[3]];
        look();
      });
      picture.addEventListener("pointerup", () => { from = null; });
      picture.addEventListener("wheel", event => {
        if (!event.ctrlKey && !event.metaKey) return;
        event.preventDefault();
        const size = picture.getBoundingClientRect();
        zoom(event.deltaY < 0 ? 0.85 : 1.18, (event.clientX - size.left) / size.width, (event.clientY - size.top) / size.height);
      }, { passive: false });
    }
    button("+", "zoom in", () => zoom(0.7));
    button("−", "zoom out", () => zoom(1.4));
    button("all", "show all", () => { view = [...whole]; look(); });
    if (steps.length > FEW) button("fold", "fold repeated blocks", () => { folded = !folded; lay(); });
    box.append(bar);
    lay();
    performance.mark("graph");
  }
  const boxes = [...document.querySelectorAll("[data-graph]")];
  if (!("IntersectionObserver" in window)) boxes.forEach(draw);
  else {
    const seen = new IntersectionObserver(entries => entries.forEach(each => { if (each.isIntersecting) { seen.unobserve(each.target); draw(each.target); } }), { rootMargin: "200px" });
    boxes.forEach(box => seen.observe(box));
    addEventListener("beforeprint", () => boxes.forEach(box => { if (!box.childElementCount) { seen.unobserve(box); draw(box); } }));
  }
})();
