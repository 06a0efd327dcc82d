// "Predict first": the result of a step is hidden until the reader asks for it; a guess is compared with it.
"use strict";

/**
 * The form below a step whose result is hidden.
 *
 * targets: [{key, name, value}], what can be guessed; chosen(key): the element that is asked for; reveal(): show the result.
 */
function guessForm(targets, chosen, key, reveal) {
  const target = targets.find((one) => one.key === key) || targets[0];
  const number = target.value.numbers ? chosen(target.key) || 0 : null;
  const place = number === null || !target.value.shape.length ? "" : ` [${placeOf(number, target.value.shape).join(", ")}]`;
  const what = number === null ? `the mean of ${target.name}` : `${target.name}${place}`;
  const truth = asNumber(number === null ? target.value.mean : target.value.numbers[number]);
  const input = el("input", { type: "text", inputmode: "text", id: "guess", autocomplete: "off", "aria-label": `Your guess for ${what}` });
  const answer = el("p", { class: "answer", role: "status" });
  const check = () => {
    const text = input.value.trim().replace("−", "-").replace(",", ".");
    const guess = Number(text);
    answer.textContent = text === "" || Number.isNaN(guess)
      ? "Type a number, such as 0.5 or -1.2." : comparison(guess, truth);
  };
  return el("form", { class: "guess", on: { submit: (event) => { event.preventDefault(); check(); } } },
    el("h3", {}, "Predict it first"),
    el("p", {}, "What will be ", el("b", {}, what), "?",
      target.value.numbers && target.value.numbers.length > 1 ? " Click another ? to guess that one." : ""),
    el("div", { class: "guessing" }, input,
      el("button", { type: "submit" }, "Check my guess"),
      el("button", { type: "button", id: "reveal", title: "Show the result (v)", on: { click: reveal } }, "Show the result")),
    answer);
}

/** How far off a guess is, in words. */
function comparison(guess, truth) {
  if (!Number.isFinite(truth)) return `It is ${shown(truth)}, which no guess is near to.`;
  const off = Math.abs(guess - truth);
  const share = truth === 0 ? null : off / Math.abs(truth);
  const size = `off by ${shown(off)}${share === null ? "" : `, ${shown(100 * share)} % of the value`}`;
  if (off === 0 || (share !== null && share < 5e-4)) return "Exactly, to the digits that are shown.";
  const sign = truth !== 0 && guess !== 0 && Math.sign(guess) !== Math.sign(truth) ? " The sign is the other one." : guess > truth ? " It is smaller." : " It is larger.";
  return `${share !== null && share < 0.1 ? "Close" : "Not yet"}: ${size}.${sign}`;
}
