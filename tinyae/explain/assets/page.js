// The page: which step is shown, how to get to another, and what is known there.
"use strict";

const DATA = JSON.parse(document.getElementById("data").textContent);
const { steps, values } = DATA;
const at = (id) => document.getElementById(id);

const state = {
  index: 0, // of the step that is shown
  predict: false,
  revealed: new Set(), // numbers of steps whose result was shown in this mode
  chosen: new Map(), // "step key" -> number of the element that is looked at
  asked: null, // key of the result whose element is to be guessed
  timer: null, // while it plays
};

// ---------------------------------------------------------------- what is known after which step

const madeIn = new Map(); // value -> index of the step that makes it
const gradients = new Map(); // value -> [{index, sum}]: its gradient grows by one share each
const updates = new Map(); // value of a parameter -> {index, after}
const nodeOf = new Map(); // value -> id of its node

steps.forEach((step, index) => {
  if (step.phase === "forward" && !madeIn.has(step.output.value)) madeIn.set(step.output.value, index);
  if (step.phase === "backward") {
    const made = step.output.value;
    if (made !== null && step.gradient !== null && !gradients.has(made)) gradients.set(made, [{ index, sum: step.gradient }]);
    for (const pull of step.pulls) {
      if (pull.of === null) continue;
      if (!gradients.has(pull.of)) gradients.set(pull.of, []);
      gradients.get(pull.of).push({ index, sum: pull.after });
    }
  }
  if (step.phase === "update") {
    for (const one of step.updates) {
      updates.set(one.before, { index, after: one.after });
      madeIn.set(one.after, index);
    }
  }
});
for (const node of DATA.graph.nodes) if (node.value !== undefined && !nodeOf.has(node.value)) nodeOf.set(node.value, node.id);
const indexOf = new Map(steps.map((step, index) => [step.number, index]));

/** Is this value computed by the present step, or before? */
function isKnown(value) {
  return !madeIn.has(value) || madeIn.get(value) <= state.index;
}

/** "complete", "part" or "none", at the present step. */
function gradientState(value) {
  const all = gradients.get(value) || [];
  const sofar = all.filter((one) => one.index <= state.index).length;
  return sofar === 0 ? "none" : sofar === all.length ? "complete" : "part";
}

/** Is the result of this step still to be predicted? */
function isHidden(step) {
  return state.predict && !state.revealed.has(step.number);
}

// ---------------------------------------------------------------- the present step

const graph = new Graph(at("graph"), DATA.graph, values, goToNode);

function show(index, options = {}) {
  if (!steps.length) return showNothing();
  const before = state.index;
  state.index = Math.max(0, Math.min(steps.length - 1, index));
  if (before !== state.index) state.asked = null;
  const step = steps[state.index];
  const number = state.index + 1;
  at("slider").value = number;
  at("slider").setAttribute("aria-valuetext", `step ${number} of ${steps.length}: ${step.phase} ${step.title}`);
  at("place").textContent = `${number} / ${steps.length}`;
  at("first").disabled = at("back").disabled = state.index === 0;
  at("last").disabled = at("next").disabled = state.index === steps.length - 1;
  const view = {
    values, hidden: isHidden(step),
    chosen: (key) => state.chosen.get(`${step.number} ${key}`) || 0,
    choose: (key, element) => {
      state.chosen.set(`${step.number} ${key}`, element);
      state.asked = key;
      show(state.index, { keep: true });
      const again = document.querySelector(`#step .element[data-element="${element}"][aria-pressed="true"]`);
      if (view.hidden) at("guess").focus();
      else if (again) again.focus();
    },
  };
  const panel = drawStep(step, steps.length, view);
  if (view.hidden) panel.push(guessForm(targets(step), view.chosen, state.asked, reveal));
  at("step").replaceChildren(...panel);
  fitFormulas(at("step"));
  if (!options.keep) at("step").parentElement.scrollTop = 0;
  showGraph(step);
  showProgram(step);
  showKnown(step);
  at("said").textContent = `Step ${number} of ${steps.length}, ${step.phase}, ${step.title}. ${step.sentence}`;
  remember(number);
}

/** Formulas that are too wide are made smaller, down to a size that can still be read; past that they scroll. */
function fitFormulas(panel) {
  for (const one of panel.querySelectorAll(".formula")) {
    const share = one.clientWidth / one.scrollWidth;
    if (share < 1) one.style.fontSize = `${Math.max(0.7, share * 0.99) * parseFloat(getComputedStyle(one).fontSize)}px`;
  }
}

/** What can be guessed of a step. */
function targets(step) {
  if (step.phase === "forward") return [{ key: "output", name: values[step.output.value].label, value: values[step.output.value] }];
  if (step.phase === "backward") {
    return step.pulls.map((pull, i) => ({ key: `pull${i}`, name: `what ${pull.target} receives`, value: values[pull.share] }));
  }
  return step.updates.map((one, i) => ({ key: `update${i}`, name: `${one.label} after the step`, value: values[one.after] }));
}

function reveal() {
  state.revealed.add(steps[state.index].number);
  show(state.index, { keep: true });
}

function showNothing() {
  at("step").replaceChildren(el("p", { class: "sentence" },
    "The tape is empty: no operation ran inside the block. Compute something inside ", el("code", {}, "with ta.trace() as tape:"), "."));
  document.body.classList.add("empty");
  for (const id of ["first", "back", "play", "next", "last", "slider", "predict"]) at(id).disabled = true;
}

// ---------------------------------------------------------------- the graph

function showGraph(step) {
  const backwards = step.phase === "backward";
  const source = backwards ? indexOf.get(step.source) : state.index;
  const forward = source === undefined ? null : steps[source];
  const flowing = new Set();
  let current = step.phase === "update" || step.phase === "forward" ? `s${step.number}` : forward ? `s${forward.number}` : null;
  const reached = backwards ? step.pulls.map((pull) => nodeOf.get(pull.of)) : [];
  if (step.phase === "update") {
    for (const one of step.updates) {
      flowing.add(nodeOf.get(one.before));
      if (nodeOf.has(one.after)) flowing.add(`${current} ${nodeOf.get(one.after)}`);
    }
  }
  for (const edge of DATA.graph.edges) {
    if (edge.to !== current || (backwards && !reached.includes(edge.from))) continue;
    flowing.add(`${edge.from} ${edge.to}`);
    if (backwards) flowing.add(edge.from);
  }
  graph.show({
    index: graph.operations.findIndex((node) => forward && node.step === forward.number) >= 0
      ? graph.operations.findIndex((node) => node.step === forward.number) : graph.operations.filter((n) => n.step <= step.number).length - 1,
    known: isKnown, gradient: gradientState, current, flowing, backwards,
    updated: (node) => indexOf.get(node.step) <= state.index,
    pulled: (edge) => {
      if (!edge.symbol) return false; // from an update to the new value of a parameter
      const value = DATA.graph.nodes.find((node) => node.id === (edge.source || edge.from)).value;
      const to = DATA.graph.nodes.find((node) => node.id === edge.to).step;
      return steps.some((one, i) => i <= state.index && one.phase === "backward" && one.source === to && one.pulls.some((pull) => pull.of === value));
    },
    describe: (node) => {
      if (node.update) return indexOf.get(node.step) <= state.index ? "done" : "not done yet";
      const gradient = { none: "gradient not computed yet", part: "gradient not complete yet", complete: "gradient computed" };
      const value = isKnown(node.value) ? "computed" : "not computed yet";
      return gradients.has(node.value) ? `${value}, ${gradient[gradientState(node.value)]}` : value;
    },
  });
}

/** A click on an operation goes to its forward step, from there to its backward step; on a leaf, to where its gradient arrives. */
function goToNode(node) {
  const forward = node.step !== undefined ? indexOf.get(node.step) : null;
  if (forward !== null && forward !== state.index) return show(forward);
  const backward = node.step !== undefined
    ? steps.findIndex((step) => step.phase === "backward" && step.source === node.step)
    : (gradients.get(node.value) || []).map((one) => one.index).find((i) => i > state.index) ?? (gradients.get(node.value) || [{ index: -1 }])[0].index;
  if (backward >= 0) show(backward);
}

// ---------------------------------------------------------------- the program

function showProgram(step) {
  const place = at("program");
  const [file, line] = step.place || [null, null];
  const kind = step.phase === "backward" ? "current undone" : "current"; // going back, it is the line whose operation is gone back over
  const listing = DATA.program.map((entry, i) =>
    entry.parts.length === 0 ? null : el("div", { class: "file" },
      el("p", { class: "file-name" }, entry.name),
      entry.parts.map((lines, j) => [
        j ? el("p", { class: "gap" }, "⋮") : null,
        el("ol", { class: "code", start: lines[0][0] }, lines.map(([number, text]) => {
          const isCurrent = i === file && number === line;
          return el("li", { value: number, class: isCurrent ? kind : null, "aria-current": isCurrent ? "true" : null }, el("code", {}, text || " "));
        })),
      ])));
  const shownOnes = listing.filter(Boolean);
  place.replaceChildren(...(shownOnes.length ? shownOnes : [el("p", { class: "small" }, "The lines of the program are not known.")]));
  const current = place.querySelector("li.current");
  if (current) {
    const top = current.offsetTop; // from the top of the box that scrolls
    if (top < place.scrollTop + 20 || top > place.scrollTop + place.clientHeight - 40) place.scrollTop = top - place.clientHeight / 2;
  }
}

// ---------------------------------------------------------------- what is known

const hasBackward = steps.some((step) => step.phase === "backward");
const FEW = 12; // numbers of an array that the table shows; of a larger one it says the range

function showKnown(step) {
  const notYet = () => el("span", { class: "notyet" }, "not computed yet");
  const hidden = () => el("span", { class: "notyet", "data-hidden": "" }, "hidden: predict it first");
  const brief = (value) => (value.numbers && value.numbers.length <= FEW ? grid(value) : el("span", { class: "small" }, summaryText(value)));
  const veiled = isHidden(step);
  const seen = new Set();
  const once = ({ node }) => !node.update && !seen.has(node.is || node.id) && seen.add(node.is || node.id);
  const rows = graph.nodes.filter(once).map(({ node }) => {
    let value = node.value;
    let note = null;
    for (let next = updates.get(value); next && next.index <= state.index && !nodeOf.has(next.after); next = updates.get(value)) {
      if (veiled && next.index === state.index) break;
      value = next.after;
      note = el("span", { class: "small" }, " after the update");
    }
    const made = madeIn.get(node.value);
    const shownValue = !isKnown(node.value) ? notYet() : veiled && made === state.index ? hidden() : brief(values[value]);
    const sums = (gradients.get(node.value) || []).filter((one) => one.index <= state.index);
    const total = (gradients.get(node.value) || []).length;
    let gradient;
    if (!gradients.has(node.value)) gradient = el("span", { class: "small" }, values[node.value].kind === "constant" ? "none: a constant" : hasBackward ? "none: not asked for" : "no backward pass on this tape");
    else if (!sums.length) gradient = notYet();
    else if (veiled && sums[sums.length - 1].index === state.index && step.phase === "backward" && node.id !== `s${step.source}`) gradient = hidden();
    else {
      gradient = [brief(values[sums[sums.length - 1].sum])];
      if (sums.length < total) gradient.push(el("span", { class: "small" }, `the sum of ${sums.length} of ${total} shares so far`));
    }
    return el("tr", { "data-node": node.is || node.id, class: isKnown(node.value) ? null : "pending" },
      el("th", { scope: "row" }, el("code", {}, values[node.value].label), el("span", { class: "small" }, node.step ? ` ${node.name}` : ` ${node.kind}`), note),
      el("td", {}, shownValue), el("td", {}, gradient));
  });
  const named = (pattern) => rows.some((row) => pattern.test(row.querySelector("code").textContent));
  const notes = [
    named(/^t\d+$/) ? "t1, t2, ...: results to which the program gives no name, by the number of their step." : null,
    named(/^c\d+$/) ? "c1, ...: constants without a name." : null,
  ].filter(Boolean);
  at("known").replaceChildren(
    el("p", { class: "small" }, notes.join(" ")),
    el("table", { class: "known" },
    el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "name"), el("th", { scope: "col" }, "value"), el("th", { scope: "col" }, "gradient"))),
    el("tbody", {}, rows)));
}

// ---------------------------------------------------------------- getting about

/** Keep the place in the address, where that may be written to. */
function remember(number) {
  try {
    history.replaceState(null, "", `#step=${number}`);
  } catch {
    // inside a notebook's frame it may not
  }
}

function placeInAddress() {
  const found = /^#step=(\d+)$/.exec(location.hash);
  return found ? Number(found[1]) - 1 : 0;
}

function play(start) {
  clearInterval(state.timer);
  state.timer = start ? setInterval(() => {
    show(state.index + 1);
    if (state.index === steps.length - 1) play(false);
  }, 1800) : null;
  at("play").setAttribute("aria-pressed", String(start));
  at("play").setAttribute("aria-label", start ? "Pause" : "Play");
  at("play").classList.toggle("playing", start);
}

function togglePlay() {
  if (state.timer) return play(false);
  if (state.index === steps.length - 1) show(0);
  play(true);
}

function togglePredict() {
  state.predict = !state.predict;
  state.revealed.clear();
  at("predict").setAttribute("aria-pressed", String(state.predict));
  show(state.index, { keep: true });
}

function toggleTheme() {
  document.documentElement.dataset.theme = isDark() ? "light" : "dark";
  repaint();
}

const ACTIONS = {
  first: () => show(0), back: () => show(state.index - 1), next: () => show(state.index + 1), last: () => show(steps.length - 1),
  play: togglePlay, predict: togglePredict, theme: toggleTheme,
};
const KEYS = {
  ArrowLeft: "back", ArrowRight: "next", Home: "first", End: "last", p: "predict", " ": "play",
};
for (const [id, action] of Object.entries(ACTIONS)) {
  at(id).addEventListener("click", () => {
    if (id !== "play" && id !== "predict" && id !== "theme") play(false);
    action();
  });
}
at("slider").max = Math.max(1, steps.length);
at("slider").addEventListener("input", (event) => show(Number(event.target.value) - 1));
addEventListener("hashchange", () => show(placeInAddress()));
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || !steps.length) return;
  const within = event.target.closest ? event.target.closest("input, button, textarea, [role=button]") : null;
  if (within && within.id === "guess") return; // the reader is typing
  if (within && within.id === "slider" && event.key !== "p" && event.key !== "v") return; // it has these keys itself
  if (within && event.key === " ") return; // it presses the button
  if (event.key === "v" && isHidden(steps[state.index])) return reveal();
  if (!(event.key in KEYS)) return;
  event.preventDefault();
  if (event.key !== " " && event.key !== "p") play(false);
  ACTIONS[KEYS[event.key]]();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);

// ---------------------------------------------------------------- on paper

/** All steps, one after the other, just before the page is printed. */
const ON_PAPER = 300;

function fillPaper() {
  document.body.classList.add("printing");
  const view = { values, hidden: false, chosen: () => 0, choose: null };
  at("printed").replaceChildren(...steps.slice(0, ON_PAPER).map((step) => {
    const entry = step.place && DATA.program[step.place[0]];
    const line = entry && entry.parts.flat().find(([number]) => number === step.place[1]);
    const [heading, ...rest] = drawStep(step, steps.length, view);
    return el("article", {}, heading, line ? el("p", { class: "line" }, `${entry.name}:${line[0]}  `, el("code", {}, line[1].trim())) : null, rest);
  }));
  if (steps.length > ON_PAPER) at("printed").append(el("p", {}, `${steps.length - ON_PAPER} more steps are not printed.`));
  if (steps.length && graph.operations.length) {
    const present = state.index;
    state.index = steps.length - 1; // the graph with all that was computed
    showGraph(steps[state.index]);
    at("printed").prepend(graph.picture.cloneNode(true));
    state.index = present;
    showGraph(steps[present]);
  }
  repaint();
}
addEventListener("beforeprint", fillPaper);
addEventListener("afterprint", () => {
  document.body.classList.remove("printing");
  at("printed").replaceChildren();
  repaint();
});

// ---------------------------------------------------------------- begin

if (DATA.note || DATA.leftOut) {
  at("note").hidden = false;
  at("note").textContent = [DATA.note, DATA.leftOut ? `The numbers of ${DATA.leftOut} large arrays were left out, to keep the page small.` : ""].filter(Boolean).join(" ");
}
show(placeInAddress());
