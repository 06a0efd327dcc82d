// The graph: operations and what goes into them, laid out by dagre, drawn as SVG.
//
// A solid line forward: the value exists. Beside it, in the other colour, a line backward: the gradient has flowed there. What
// does not exist yet is dashed and pale. Of a long computation the operations around the present step are drawn.
"use strict";

const WINDOW = 48; // operations that are drawn at once
const USES = 3; // a leaf that more of them use is drawn once for each, or there would be lines only

/**
 * A curve from point to point that leaves and arrives vertically: between two rows of nodes it stays there. shift moves it to
 * the side, so that two curves along the same points keep apart; backwards turns it round.
 */
function curve(points, shift, backwards) {
  const text = (x, y) => `${x.toFixed(1)},${y.toFixed(1)}`;
  const pieces = [];
  for (let i = 1; i < points.length; i++) {
    const [from, to] = [points[i - 1], points[i]];
    const middle = (from.y + to.y) / 2 - shift * Math.sign(Math.round(to.x - from.x));
    const four = [[from.x, from.y], [from.x, middle], [to.x, middle], [to.x, to.y]].map(([x, y]) => text(x + shift, y));
    pieces.push(backwards ? four.reverse() : four);
  }
  if (backwards) pieces.reverse();
  return `M${pieces[0][0]} ${pieces.map((four) => `C${four.slice(1).join(" ")}`).join(" ")}`;
}

/** Where the lines of edges begin and end: side by side along the lower and the upper side of their nodes. */
function ends(edges, graph) {
  const found = edges.map(() => ({}));
  for (const [own, other, end] of [["from", "to", "begin"], ["to", "from", "finish"]]) {
    for (const id of new Set(edges.map((edge) => edge[own]))) {
      const node = graph.node(id);
      const mine = edges.map((edge, i) => i).filter((i) => edges[i][own] === id);
      mine.sort((i, j) => graph.node(edges[i][other]).x - graph.node(edges[j][other]).x || i - j);
      const apart = Math.min(18, (node.width - 16) / mine.length);
      mine.forEach((i, k) => {
        found[i][end] = { x: node.x + (k - (mine.length - 1) / 2) * apart, y: node.y + (own === "from" ? node.height / 2 : -node.height / 2) };
      });
    }
  }
  return found;
}

class Graph {
  /** data: {nodes, edges}; choose: called with a node that is clicked. */
  constructor(place, data, values, choose) {
    this.place = place;
    this.data = data;
    this.values = values;
    this.choose = choose;
    this.operations = data.nodes.filter((node) => node.step && !node.update);
    this.part = null;
  }

  /** Lay out the part with this operation, unless it is drawn already. */
  layOut(index) {
    const from = Math.max(0, Math.min(this.operations.length - WINDOW, index - WINDOW / 2));
    const begin = this.operations.length <= WINDOW ? 0 : this.part && index >= this.part[0] + 4 && index < this.part[1] - 4
      ? this.part[0] : from;
    const part = [begin, Math.min(this.operations.length, begin + WINDOW)];
    if (this.part && this.part[0] === part[0] && this.part[1] === part[1]) return;
    this.part = part;
    const inside = new Set(this.operations.slice(...part).map((node) => node.id));
    const steps = this.operations.slice(...part).map((node) => node.step);
    const near = (node) => node.update && node.step > steps[0] && (part[1] === this.operations.length || node.step < steps.at(-1));
    const updates = new Set(this.data.nodes.filter(near).map((node) => node.id));
    const into = this.data.edges.filter((edge) => inside.has(edge.to));
    const wanted = new Set([...inside, ...updates, ...into.map((edge) => edge.from)]);
    const edges = [...into, ...this.data.edges.filter((edge) => updates.has(edge.from) && wanted.has(edge.to))];
    const nodes = this.data.nodes.filter((node) => wanted.has(node.id));
    for (const leaf of nodes.filter((node) => !node.step)) {
      const uses = edges.filter((edge) => edge.from === leaf.id);
      if (uses.length <= USES) continue;
      nodes.splice(nodes.indexOf(leaf), 1);
      for (const use of uses) {
        const copy = { ...leaf, id: `${leaf.id} in ${use.to}`, is: leaf.id };
        if (!nodes.some((node) => node.id === copy.id)) nodes.splice(nodes.findIndex((node) => node.id === use.to), 0, copy);
        edges[edges.indexOf(use)] = { ...use, from: copy.id, source: leaf.id };
      }
      const renewed = edges.findIndex((edge) => edge.to === leaf.id); // by an update: that leads to the first of them
      if (renewed >= 0) edges[renewed] = { ...edges[renewed], to: `${leaf.id} in ${uses[0].to}` };
    }
    const graph = new dagre.graphlib.Graph({ multigraph: true });
    // of dagre's ways the one that keeps chains of layers narrow
    graph.setGraph({ rankdir: "TB", align: "DR", ranker: "tight-tree", nodesep: 14, ranksep: 34, marginx: 8, marginy: 8 });
    graph.setDefaultEdgeLabel(() => ({}));
    for (const node of nodes) graph.setNode(node.id, { ...this.size(node) });
    edges.forEach((edge, i) => graph.setEdge(edge.from, edge.to, {}, String(i)));
    // an optimizer's step comes after what was computed before it; the line that says so is not drawn
    for (const node of nodes.filter((one) => one.update)) {
      const above = nodes.filter((one) => one.step && one.step < node.step).pop();
      if (above) graph.setEdge(above.id, node.id, {}, `order-${node.id}`);
    }
    dagre.layout(graph);
    this.draw(graph, nodes, edges, updates);
  }

  size(node) {
    const widest = Math.max(7.6 * this.name(node).length, 6.9 * this.below(node).length);
    return { width: Math.max(52, Math.min(160, widest + 14)), height: 40 };
  }

  /** The first line of a node; of a parameter such as encoder.0.weight the last part. */
  name(node) {
    const last = node.name.split(".").pop();
    return node.step || !/^[A-Za-z_]/.test(last) ? node.name : last;
  }

  /** The second line of a node: what it makes, its place in the model, or its shape. */
  below(node) {
    if (node.update) return "update";
    const value = this.values[node.value];
    const shape = value.shape.length ? value.shape.join("×") : "number";
    if (node.step) return `${value.label} · ${shape}`;
    return this.name(node) === node.name ? shape : node.name.slice(0, -this.name(node).length - 1);
  }

  draw(graph, nodes, edges, updates) {
    const svg = (tag, attributes, ...children) => {
      const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
      made.append(...children);
      return made;
    };
    const every = [...graph.edges().flatMap((edge) => graph.edge(edge).points.map((p) => p.x)),
      ...graph.nodes().flatMap((id) => [graph.node(id).x - graph.node(id).width / 2, graph.node(id).x + graph.node(id).width / 2])];
    const left = Math.min(...every) - 8;
    const [width, height] = [Math.max(...every) + 8 - left, graph.graph().height];
    const arrow = (id) =>
      svg("marker", { id, viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 9, markerHeight: 9, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" },
        svg("path", { d: "M0,0.8 L7.5,4 L0,7.2 z", class: id }));
    const picture = svg("svg", {
      viewBox: `${left} 0 ${width} ${height}`, width, height, role: "group", "aria-label": "graph of the computation",
    }, svg("defs", {}, arrow("forward-arrow"), arrow("backward-arrow")));
    const at = ends(edges, graph);
    this.edges = edges.map((edge, i) => {
      const between = graph.edge(edge.from, edge.to, String(i)).points.slice(1, -1);
      const points = [at[i].begin, ...(between.length > 1 ? between : []), at[i].finish];
      const made = updates.has(edge.from);
      const forward = svg("path", { d: curve(points, made ? 0 : -3, false), class: `edge forward${made ? " renewed" : ""}`, "marker-end": "url(#forward-arrow)" });
      const backward = svg("path", { d: curve(points, 3, true), class: "edge backward", "marker-end": "url(#backward-arrow)" });
      picture.append(forward, backward);
      return { edge, forward, backward };
    });
    this.nodes = nodes.map((node) => {
      const { x, y, width: w, height: h } = graph.node(node.id);
      const box = svg("rect", { x: x - w / 2, y: y - h / 2, width: w, height: h, rx: node.step ? 9 : 0 });
      const short = (text, room) => (text.length * 7.2 > room + 4 ? `${text.slice(0, Math.floor(room / 7.2) - 1)}…` : text);
      const group = svg("g", { class: `node ${node.step ? "operation" : `leaf ${node.kind}`}`, tabindex: -1, role: "button" },
        svg("title", {}), box,
        svg("text", { x, y: y - 3, class: "name" }, short(this.name(node), w - 6)),
        svg("text", { x, y: y + 12, class: "below" }, short(this.below(node), (w - 6) * 1.12)));
      group.addEventListener("click", () => this.choose(node));
      group.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") {
          event.preventDefault();
          this.choose(node);
        }
      });
      picture.append(group);
      return { node, group, x: x - left, y };
    });
    this.place.replaceChildren(picture);
    this.picture = picture;
    // shrink a little to fit; past that, scroll
    const room = this.place.clientWidth - 4;
    this.scale = Math.max(0.86, Math.min(1, room / width));
    picture.setAttribute("width", width * this.scale);
    picture.setAttribute("height", height * this.scale);
  }

  /**
   * Show how far the computation is.
   *
   * known(value): is the value computed? gradient(value): "complete", "part" or "none". pulled(edge): has a gradient flowed back
   * along it? current: the id of the node of this step,
   * or null; flowing: the ids "from to" of the edges along which this step sends something; backwards: is it a gradient?
   */
  show({ index, known, gradient, pulled, current, updated, flowing, backwards, describe }) {
    this.layOut(index);
    for (const { node, group } of this.nodes) {
      const isCurrent = node.id === current;
      const state = node.update ? null : gradient(node.value);
      const done = node.update ? updated(node) : known(node.value);
      group.classList.toggle("current", isCurrent);
      group.classList.toggle("touched", !isCurrent && flowing.has(node.is || node.id) && (!node.is || node.id.endsWith(` ${current}`)));
      group.classList.toggle("pending", !done);
      group.classList.toggle("complete", state === "complete");
      group.classList.toggle("part", state === "part");
      group.setAttribute("tabindex", isCurrent ? 0 : -1);
      group.setAttribute("aria-current", isCurrent ? "step" : "false");
      const text = `${node.name}${node.update ? "" : `, ${shapeText(this.values[node.value].shape)}`}: ${describe(node)}`;
      group.setAttribute("aria-label", text);
      group.querySelector("title").textContent = text;
    }
    for (const { edge, forward, backward } of this.edges) {
      const source = edge.source || edge.from;
      const from = this.data.nodes.find((node) => node.id === source);
      const way = `${source} ${edge.to}`;
      forward.classList.toggle("pending", from.update ? !updated(from) : !known(from.value));
      forward.classList.toggle("flowing", !backwards && flowing.has(way));
      backward.classList.toggle("pending", !pulled(edge));
      backward.classList.toggle("flowing", backwards && flowing.has(way));
    }
    const at = this.nodes.find(({ node }) => node.id === current);
    if (at) this.bringIntoView(at);
  }

  /** Scroll the graph's own box, never the page. */
  bringIntoView({ x, y }) {
    const box = this.place;
    const [left, top] = [x * this.scale, y * this.scale];
    if (left < box.scrollLeft + 60 || left > box.scrollLeft + box.clientWidth - 60) box.scrollLeft = left - box.clientWidth / 2;
    if (top < box.scrollTop + 40 || top > box.scrollTop + box.clientHeight - 70) box.scrollTop = top - box.clientHeight / 2;
  }
}
