// What the figures with a chart share. Python puts this file before theirs (charts.py): anywidget wants one module each.

// ---------------------------------------------------------------- arithmetic: no page needed, tested by node

// Where the picture number `index` lies in a sheet: its left and upper edge, in pixels.
export function cellAt(index, across, [height, width]) {
  return [(index % across) * width, Math.floor(index / across) * height];
}

// Numbers for an axis: few, round, evenly spaced, reaching from below the least value to above the greatest.
export function ticks(values, about = 4) {
  const [least, greatest] = [Math.min(...values), Math.max(...values)];
  const rough = (greatest - least || Math.abs(greatest) || 1) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= 0.999 * rough);
  const first = Math.floor(least / step + 1e-9);
  const count = Math.max(Math.ceil(greatest / step - 1e-9) - first, 1);
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return Array.from({ length: count + 1 }, (_, k) => Number(((first + k) * step).toFixed(digits)));
}

// The position of the point nearest to a place; null in the list is no point.
export function nearest(points, [x, y]) {
  const away = points.map((point) => (point ? Math.hypot(point[0] - x, point[1] - y) : Infinity));
  return away.indexOf(Math.min(...away));
}

// Three digits, without an exponent where there is no need for one.
export const told = (value) => (value === null ? "none" : String(Number(value.toPrecision(3))).replace("-", "−"));

export const clamped = (value, low, high) => Math.min(Math.max(value, low), high);

// Whether a key is meant for the browser or the system: Alt with an arrow goes back a page. Shift stays ours.
export const notOurs = ({ altKey, ctrlKey, metaKey }) => altKey || ctrlKey || metaKey;

// ---------------------------------------------------------------- the page

const hook = (element, name) => element.querySelector(`[data-testid="${name}"]`);
const part = (element, name) => element.querySelector(`[data-part="${name}"]`);

// An element of the page, its controls kept from JupyterLab, which else takes the arrow keys to walk through cells.
function made(tag, className, testid, innerHTML) {
  const element = Object.assign(document.createElement(tag), { className, innerHTML });
  element.dataset.testid = testid;
  element.querySelectorAll("button, select, input, [tabindex]").forEach((c) => (c.dataset.lmSuppressShortcuts = "true"));
  return element;
}

// An element of a drawing; `text` becomes its words, or with "title" what a pointer resting on it is told.
function drawn(tag, attributes, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (tag === "text") element.textContent = text;
  else if (text) element.appendChild(drawn("title", {})).textContent = text;
  return element;
}

// One picture of the sheet on a canvas of its own size; the page enlarges it pixel by pixel.
function show(canvas, sheet, index, across, cell) {
  [canvas.height, canvas.width] = cell;
  const [left, top] = cellAt(index, across, cell);
  canvas.getContext("2d").drawImage(sheet, left, top, cell[1], cell[0], 0, 0, cell[1], cell[0]);
}

// Decodes PNGs and hands them on together, in place of those before. Of several calls on their way only the last one
// counts, whichever ends first.
function loading(pngs, take) {
  let [turn, shown] = [0, []];
  return async () => {
    const mine = ++turn;
    const found = await Promise.all(pngs().map((png) => createImageBitmap(new Blob([png], { type: "image/png" }))));
    for (const picture of mine === turn ? shown : found) picture.close();
    if (mine === turn) take(...(shown = found));
  };
}

// Sets a trait, where that changes it, and tells Python.
function change(model, trait, value) {
  if (model.get(trait) === value) return;
  model.set(trait, value);
  model.save_changes();
}

// Lets a line be read out when it changes, from the reader's first move in the figure on: not when the page fills it.
function announced(root, line) {
  root.addEventListener("focusin", () => line.setAttribute("aria-live", "polite"), { once: true });
}

// Whether a pointer chooses what it is on: a mouse while it is pressed, a finger by a tap, since it scrolls the page else.
const chooses = (event) => event.type === "click" || (event.buttons === 1 && event.pointerType !== "touch");

// A name that may break after each of its underscores.
const breakable = (name) => name.split("_").flatMap((word, k, all) =>
  k < all.length - 1 ? [`${word}_`, document.createElement("wbr")] : [word]);

// Where in a drawing's own units the pointer is.
function placeIn(drawing, event) {
  const { left, top, width, height } = drawing.getBoundingClientRect();
  const { width: w, height: h } = drawing.viewBox.baseVal;
  return [((event.clientX - left) / width) * w, ((event.clientY - top) / height) * h];
}

// Calls each listener when the model says its event; what comes back stops that, when the figure is taken away.
function listening(model, listeners) {
  for (const [event, listener] of Object.entries(listeners)) model.on(event, listener);
  return () => {
    for (const [event, listener] of Object.entries(listeners)) model.off(event, listener);
  };
}
