// Numbers, grids of numbers, and heat maps.
//
// A value comes from the page's data: {label, kind, shape, dtype, low, high, mean, nans, infinities} and either "numbers" (all of
// them, in order), or "map" (a thumbnail: rows, columns, numbers), or neither. JSON has no word for NaN and infinity, so these
// come as strings.
"use strict";

// ---------------------------------------------------------------- small helpers for the whole page

/** An element with attributes and children: el("td", {class: "cell"}, "text", otherElement). Children that are null are left out. */
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "on") for (const [event, action] of Object.entries(value)) made.addEventListener(event, action);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A formula in LaTeX, set by KaTeX. It may be broken at + and =, so that it fits on a telephone. */
function formula(latex, attributes) {
  const made = el("div", { class: "formula", ...attributes });
  katex.render(`\\displaystyle ${latex}`, made, { throwOnError: false, strict: "ignore", trust: false });
  return made;
}

/** A formula within a sentence. */
function inlineFormula(latex) {
  const made = el("span", { class: "symbol" });
  katex.render(latex, made, { throwOnError: false, strict: "ignore", trust: false });
  return made;
}

// ---------------------------------------------------------------- one number

/** A number of the data as a number: "NaN" and "Infinity" are strings there. */
function asNumber(x) {
  return typeof x === "string" ? Number(x) : x;
}

/** A number as it is shown: 4 significant digits. */
function shown(x) {
  x = asNumber(x);
  if (Number.isNaN(x)) return "NaN";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  if (x === 0) return "0";
  const size = Math.abs(x);
  let text;
  if (size >= 1e5 || size < 1e-3) text = x.toExponential(3).replace(/\.?0+e/, "e").replace("e+", "e");
  else if (Number.isInteger(x)) text = String(x);
  else text = x.toPrecision(4).replace(/\.?0+$/, "");
  return text.replaceAll("-", "−");
}

/** All digits of a number, as its title says them. */
function exact(x) {
  x = asNumber(x);
  return Object.is(x, -0) ? "-0" : String(x);
}

/** 2 × 3, or "one number". */
function shapeText(shape) {
  return shape.length ? shape.join(" × ") : "one number";
}

/** The place of an element, from its number in order: 5 in a shape (2, 3) is [1, 2]. */
function placeOf(number, shape) {
  const place = [];
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    place.unshift(number % shape[axis]);
    number = Math.floor(number / shape[axis]);
  }
  return place;
}

// ---------------------------------------------------------------- grids

/**
 * A small array as a grid of numbers. Of more than two axes, one grid for each place along the others; of images
 * (examples, rows, columns, channels) one for each example and channel.
 *
 * options.hidden: show "?" in place of each number. options.choose: called with an element's number when it is chosen.
 * options.chosen: the number of the one that is chosen.
 */
function grid(value, options = {}) {
  const shape = value.shape;
  const images = shape.length === 4;
  const rows = images ? 1 : shape.length - 2;
  const columns = images ? 2 : shape.length - 1;
  const height = shape.length < 2 ? 1 : shape[rows];
  const width = shape.length < 1 ? 1 : shape[columns];
  const pages = value.numbers.length / (height * width);
  const made = el("div", { class: "grids" });
  for (let page = 0; page < pages; page++) {
    const table = el("table", { class: `grid${shape.length < 2 ? " row" : ""}` });
    for (let i = 0; i < height; i++) {
      const row = el("tr");
      for (let j = 0; j < width; j++) {
        let number = (page * height + i) * width + j;
        if (images) {
          const [example, channel] = [Math.floor(page / shape[3]), page % shape[3]];
          number = ((example * height + i) * width + j) * shape[3] + channel;
        }
        row.append(cell(value, number, options));
      }
      table.append(row);
    }
    const caption = pages > 1 ? pageName(page, shape, images) : null;
    made.append(caption ? el("figure", {}, table, el("figcaption", {}, caption)) : table);
  }
  return made;
}

function pageName(page, shape, images) {
  if (images) return `[${Math.floor(page / shape[3])}, :, :, ${page % shape[3]}]`;
  return `[${placeOf(page, shape.slice(0, -2)).join(", ")}, :, :]`;
}

function cell(value, number, options) {
  const x = value.numbers[number];
  const place = `[${placeOf(number, value.shape).join(", ")}]`;
  const own = options.hidden
    ? { "data-hidden": "", title: "Hidden: predict it first" }
    : { "data-value": exact(x), title: `${value.shape.length ? `${place} ` : ""}${exact(x)}` };
  const text = options.hidden ? "?" : shown(x);
  const bad = !options.hidden && !Number.isFinite(asNumber(x));
  const made = el("td", { ...own, class: bad ? "bad" : asNumber(x) === 0 && !options.hidden ? "zero" : null });
  if (options.choose) {
    const isChosen = options.chosen === number;
    made.append(
      el("button", {
        type: "button", class: "element", "aria-pressed": String(isChosen), "aria-label": `element ${place}: ${text}`,
        "data-element": number, on: { click: () => options.choose(number) },
      }, text),
    );
  } else made.append(text);
  return made;
}

// ---------------------------------------------------------------- heat maps

/** The colour of x. Where there are both signs, 0 is neutral, and -x and x are equally strong. */
function colour(x, low, high, dark) {
  if (!Number.isFinite(x)) return [214, 39, 210];
  const blend = (a, b, t) => a.map((from, i) => Math.round(from + (b[i] - from) * t));
  const nothing = dark ? [38, 40, 46] : [247, 247, 245];
  const [plus, minus] = dark ? [[255, 159, 87], [96, 175, 255]] : [[178, 60, 8], [16, 84, 158]];
  const within = (share) => Math.min(1, Math.max(0, share));
  if (low < 0 && high > 0) return blend(nothing, x < 0 ? minus : plus, within(Math.abs(x) / Math.max(-low, high)));
  const far = within((x - low) / (high - low || 1)); // all of one sign: the whole range of colours for the range of numbers
  return low < 0 ? blend(nothing, minus, 1 - far) : blend(nothing, plus, far);
}

/** A larger array as a picture of its thumbnail, with its range. Means of blocks are paler than numbers: they get all colours. */
function heatMap(value) {
  const { rows, columns, numbers } = value.map;
  const scale = Math.max(3, Math.min(14, Math.floor(260 / columns), Math.floor(220 / rows)));
  const finite = numbers.map(asNumber).filter(Number.isFinite);
  const [low, high] = isInBlocks(value) ? [Math.min(...finite), Math.max(...finite)] : [asNumber(value.low), asNumber(value.high)];
  const canvas = el("canvas", {
    width: columns, height: rows, class: "map", role: "img",
    style: `width:${columns * scale}px;height:${rows * scale}px`,
    "aria-label": `${value.label}: picture of ${shapeText(value.shape)} numbers, ${rangeText(value)}`,
  });
  canvas.paint = () => {
    const dark = isDark();
    const context = canvas.getContext("2d");
    const image = context.createImageData(columns, rows);
    numbers.forEach((x, i) => image.data.set([...colour(asNumber(x), low, high, dark), 255], 4 * i));
    context.putImageData(image, 0, 0);
  };
  canvas.paint();
  canvas.addEventListener("mousemove", (event) => {
    const box = canvas.getBoundingClientRect();
    const i = Math.min(rows - 1, Math.max(0, Math.floor(((event.clientY - box.top) / box.height) * rows)));
    const j = Math.min(columns - 1, Math.max(0, Math.floor(((event.clientX - box.left) / box.width) * columns)));
    canvas.title = `about ${shown(numbers[i * columns + j])}`;
  });
  const said = pictureText(value);
  const number = (x) => el("span", { "data-value": exact(x), title: exact(x) }, shown(x));
  return el("div", { class: "mapped" }, canvas, scaleBar(low, high),
    el("p", { class: "small range" }, `${count(value).toLocaleString("en")} numbers from `, number(value.low), " to ", number(value.high),
      `, mean ${shown(value.mean)}${badText(value)}`),
    said ? el("p", { class: "small" }, said) : null);
}

/** The colours from the smallest to the largest number. */
function scaleBar(low, high) {
  const canvas = el("canvas", { width: 64, height: 1, class: "scale", "aria-hidden": "true" });
  canvas.paint = () => {
    const context = canvas.getContext("2d");
    for (let i = 0; i < 64; i++) {
      context.fillStyle = `rgb(${colour(low + ((high - low) * i) / 63, low, high, isDark()).join(",")})`;
      context.fillRect(i, 0, 1, 1);
    }
  };
  canvas.paint();
  return el("div", { class: "scaled" }, el("span", {}, shown(low)), canvas, el("span", {}, shown(high)));
}

/** In the dark other colours are used; canvases must be painted again. */
function repaint() {
  for (const canvas of document.querySelectorAll("canvas")) if (canvas.paint) canvas.paint();
}

/** Is the page dark? On paper nothing is. */
function isDark() {
  if (document.body.classList.contains("printing")) return false;
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

// ---------------------------------------------------------------- any value

function count(value) {
  return value.shape.reduce((a, b) => a * b, 1);
}

function rangeText(value) {
  return Number.isFinite(asNumber(value.low)) ? `from ${shown(value.low)} to ${shown(value.high)}` : "no finite number";
}

/** How many of the numbers are none; "" if all are numbers. */
function badText(value) {
  return [[value.nans, "NaN"], [value.infinities, "infinite"]].map(([n, what]) => (n ? `, ${n} ${what}` : "")).join("");
}

/** What can be said of an array in a line: how many numbers, from where to where, their mean. */
function summaryText(value) {
  const all = `${count(value).toLocaleString("en")} numbers`;
  if (value.low === value.high && !badText(value)) return `${all}, all of them ${shown(value.low)}`;
  return `${all} ${rangeText(value)}, mean ${shown(value.mean)}${badText(value)}`;
}

/** Has the picture fewer squares than the array, or the part of it that is shown, has numbers? */
function isInBlocks({ shape, map }) {
  const size = shape.reduce((a, b) => a * b, 1);
  const [rows, columns] = shape.length === 4
    ? [shape[1], shape[2] * Math.min(8, shape[3])] : shape.length < 2 ? [1, size] : [shape[0], size / shape[0]];
  return rows > map.rows || columns > map.columns;
}

/** What of an array its picture shows; null for all of it. */
function pictureText(value) {
  const { shape } = value;
  const texts = [];
  if (shape.length === 4 && shape[0] > 1) texts.push("[0, :, :, :]");
  if (shape.length === 4 && shape[3] > 1) texts.push(`${shape[3] > 8 ? "its first 8" : "the"} channels side by side`);
  if (isInBlocks(value)) texts.push("each square the mean of a block");
  if (badText(value)) texts.push("pink: not finite");
  return texts.length ? `Picture: ${texts.join(", ")}.` : null;
}

/** A value in its best form: numbers, a picture, or its range. */
function drawValue(value, options = {}) {
  if (options.hidden && !value.numbers) return el("p", { class: "notyet", "data-hidden": "" }, "hidden: predict it first");
  if (value.numbers) return grid(value, options);
  if (value.map && (value.low !== value.high || badText(value))) return heatMap(value);
  const range = el("p", { class: "small" }, summaryText(value));
  if (value.leftOut) range.append(" (left out, to keep the page small)");
  return range;
}

/** A value with its heading: symbol = label, shape and type. options as in grid; options.heading stands in place of the symbol. */
function card(symbol, value, options = {}) {
  const heading = el("h4", {});
  if (options.heading) heading.append(options.heading);
  if (symbol) heading.append(inlineFormula(symbol));
  if (options.label !== false && value && value.label) heading.append(symbol ? " = " : "", el("code", {}, value.label));
  if (!value) return el("div", { class: "card" }, heading, el("p", { class: "notyet" }, "not computed yet"));
  heading.append(el("span", { class: "shape" }, ` ${shapeText(value.shape)}`));
  return el("div", { class: `card ${options.class || ""}`, "data-label": value.label }, heading, drawValue(value, options));
}
