// What is shown of one step: a sentence, the formula, the same with the numbers in it, what goes in, what comes out.
//
// Every function here makes elements from the data and knows nothing of which step is the present one. "view" says how to show
// them: {values, hidden, chosen, choose}; hidden is true while the reader is to predict the result; choose(key, number) is called
// when an element is chosen, chosen(key) gives the one that is. On paper there is no view.choose.
"use strict";

const PHASES = { forward: "forward", backward: "backward", update: "update" };

/** The whole panel of a step. */
function drawStep(step, count, view) {
  const made = [
    el("h2", { class: "heading" },
      el("span", { class: "number" }, `Step ${step.number} of ${count}`), " ",
      el("span", { class: `phase ${step.phase}` }, PHASES[step.phase]), " ",
      el("span", { class: "title" }, step.title),
      step.layer ? el("span", { class: "layer" }, " in ", el("code", {}, step.layer)) : null),
    el("p", { class: "sentence" }, step.sentence),
  ];
  if (step.about) made.push(el("p", { class: "about" }, step.about));
  if (step.phase !== "update" && step.ran !== "definition") {
    made.push(el("p", { class: "small" }, "Computed by ", el("code", {}, step.ran), ", a faster form of the same operation."));
  }
  return made.concat({ forward: drawForward, backward: drawBackward, update: drawUpdate }[step.phase](step, view));
}

/** A part of the panel with a heading. */
function part(heading, ...children) {
  return el("section", {}, el("h3", {}, heading), ...children);
}

// ---------------------------------------------------------------- forward

function drawForward(step, view) {
  const output = view.values[step.output.value];
  const made = [part("The formula", step.formula ? formula(step.formula) : el("p", {}, "This operation comes without a formula."), step.told ? el("p", { class: "small" }, `with ${step.told}`) : null)];
  if (step.filled) made.push(part(step.filled[1] ? "The same with its numbers" : "The same with its settings", withNumbers(step.filled, output, view.hidden)));
  made.push(part("What goes in", el("div", { class: "cards" },
    step.inputs.map(({ symbol, value }) => card(symbol, view.values[value])))));
  made.push(part("What comes out", el("div", { class: "cards" }, result(step.output.symbol, output, step.elements, "output", view)),
    oneElement(output, step.elements, "output", view)));
  return made;
}

/** A formula with numbers, and what it comes to, "?" while that is hidden. One with indices has only its settings put in. */
function withNumbers([latex, isComplete], result, hidden) {
  const matrix = !isComplete ? null : hidden ? "\\;?" : texMatrix(result);
  return el("div", { class: "filled" }, formula(latex), matrix === null ? null : formula(`= ${matrix}`, hidden ? { "data-hidden": "" } : {}));
}

/** A small array in LaTeX; null if it is too large for that. */
function texMatrix(value) {
  const { shape, numbers } = value;
  if (!numbers || shape.length > 2 || shape.some((n) => n > 6)) return null;
  const tex = (x) => shown(x).replace("−", "-").replace("∞", "\\infty").replace("NaN", "\\text{NaN}").replace(/e(-?\d+)$/, " \\cdot 10^{$1}");
  if (!shape.length) return tex(numbers[0]);
  const width = shape[shape.length - 1];
  const rows = [];
  for (let i = 0; i < numbers.length; i += width) rows.push(numbers.slice(i, i + width).map(tex).join(" & "));
  return `\\begin{bmatrix} ${rows.join(" \\\\ ")} \\end{bmatrix}`;
}

/** A computed value, whose elements can be chosen where they have formulas, or can be guessed. */
function result(symbol, value, elements, key, view, options = {}) {
  const choosable = view.choose && value.numbers && (elements || view.hidden);
  return card(symbol, value, {
    class: "result", hidden: view.hidden, chosen: choosable ? view.chosen(key) : null,
    choose: choosable ? (number) => view.choose(key, number) : null, ...options,
  });
}

/** The formula of the chosen element. */
function oneElement(value, elements, key, view) {
  if (!elements || view.hidden) return null;
  const chosen = view.choose ? view.chosen(key) : 0;
  if (!elements[chosen]) return null;
  const place = value.shape.length ? `Element [${placeOf(chosen, value.shape).join(", ")}] alone` : "In full";
  const hint = view.choose && value.numbers.length > 1 ? " (choose another above)" : "";
  return el("div", { class: "one" }, el("p", { class: "small" }, `${place}${hint}`), formula(elements[chosen]));
}

// ---------------------------------------------------------------- backward

function drawBackward(step, view) {
  const made = [];
  if (step.gradient !== null) {
    const meaning = step.first
      ? [inlineFormula(`${step.bar} = \\partial ${step.output.symbol} / \\partial ${step.output.symbol}`), ": here the backward pass begins."]
      : [inlineFormula(step.bar), " says how much the loss changes with each number of ", inlineFormula(step.output.symbol), ": ",
        inlineFormula(`${step.bar} = \\partial \\text{loss} / \\partial ${step.output.symbol}`), "."];
    made.push(part("The gradient that has arrived", el("p", { class: "small" }, meaning), el("div", { class: "cards" },
      card(step.bar, view.values[step.gradient], { label: false }),
      step.output.value === null ? null : card(step.output.symbol, view.values[step.output.value]))));
  }
  step.pulls.forEach((pull, i) => made.push(drawPull(pull, `pull${i}`, view)));
  return made;
}

/** What one input gets: the rule, the share, and the sum that it joins. */
function drawPull(pull, key, view) {
  const share = view.values[pull.share];
  const target = el("code", {}, pull.target);
  const made = el("section", { class: "pull" }, el("h3", {}, "What ", target, " receives"));
  if (pull.rule) made.append(formula(pull.rule));
  if (pull.remark) made.append(el("p", { class: "small" }, pull.remark));
  if (pull.filled) made.append(withNumbers(pull.filled, share, view.hidden));
  if (pull.before === null) {
    made.append(el("div", { class: "cards" }, result(pull.bar, share, pull.elements, key, view, { label: false })));
    made.append(oneElement(share, pull.elements, key, view) || "");
    made.append(el("p", { class: "small" }, "Nothing had arrived here before: the sum so far is this share."));
    return made;
  }
  made.append(
    el("p", {}, "Another use of ", target.cloneNode(true), " has already sent its share here. The shares are added:"),
    el("div", { class: "cards sum" },
      card(null, view.values[pull.before], { heading: "before", label: false }), el("span", { class: "sign", "aria-label": "plus" }, "+"),
      result(null, share, pull.elements, key, view, { heading: "this share", label: false }),
      el("span", { class: "sign", "aria-label": "equals" }, "="),
      card(null, view.values[pull.after], { heading: "sum so far", label: false, hidden: view.hidden, class: "result" })),
    oneElement(share, pull.elements, key, view) || "");
  return made;
}

// ---------------------------------------------------------------- update

function drawUpdate(step, view) {
  const made = [];
  if (step.lines.length) {
    made.push(part("The algorithm, line by line", el("div", { class: "lines" }, step.lines.map((line) => formula(line)))));
  }
  if (step.settings.length) {
    made.push(el("p", { class: "settings" }, step.settings.map(([letter, name, value]) => [
      el("span", {}, letter ? inlineFormula(`${letter} = ${value.replace(/e([-+]?)0*(\d+)$/, " \\cdot 10^{$1$2}")}`) : `${name} = ${value}`), letter ? el("span", { class: "small" }, ` (${name}) `) : " ",
    ])));
  }
  step.updates.forEach((update, i) => made.push(drawParameter(update, `update${i}`, view, step.updates.length <= 6 || i === 0)));
  return made;
}

/** One parameter: before, gradient, state, after; and the lines of the algorithm for one of its elements. */
function drawParameter(update, key, view, open) {
  const at = (i) => view.values[i];
  const hidden = view.hidden;
  const after = at(update.after);
  const before = [["\\theta", update.before], ...update.state.map(([letter, old]) => [letter, old])];
  const used = before.filter(([, value]) => value !== null).map(([letter, value]) => card(letter, at(value), { heading: "before: ", label: false }));
  used.push(card("g", at(update.gradient), { heading: "gradient ", label: false }));
  const made = update.state.map(([letter, , now]) => card(letter, at(now), { heading: "after: ", label: false, hidden, class: "result" }));
  const choose = view.choose && after.numbers ? (number) => view.choose(key, number) : null;
  const chosen = choose ? view.chosen(key) : 0;
  made.push(card("\\theta", after, { heading: "after: ", label: false, hidden, choose, chosen, class: "result" }));
  const lines = update.lines && !hidden ? update.lines[chosen] : null;
  return el("details", { class: "pull", open: open || !view.choose }, el("summary", {}, el("code", {}, update.label)),
    el("div", { class: "cards" }, used),
    el("div", { class: "cards" }, made),
    lines ? el("div", { class: "one" },
      el("p", { class: "small" }, `Element [${placeOf(chosen, after.shape).join(", ")}], line by line${choose && after.numbers.length > 1 ? " (choose another in θ after)" : ""}`),
      lines.map((line) => formula(line))) : null);
}
