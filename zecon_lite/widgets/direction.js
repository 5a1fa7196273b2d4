// The direction explorer: everything that the figure does, in plain JavaScript, so that it needs no kernel.
//
// Traits (see direction.py): sheet, across, cell [height, width], rows (float32 unit vectors: the source prompt, the
// prompts, the source, the results), lengths[], width, names[], prompts[], source_prompt, path[], prompt, result, unit.
//
// Stable hooks for tests, as data-testid: "direction-explorer" (data-ready="true" once drawn), "prompt" and "result-name"
// (lists), "unit" (a check box), "source" and "result" (canvases), "chart" (a drawing), "readout" (data-cosine,
// data-direction, data-global, data-rank, data-share) and "plane" (data-right, data-up, data-all).

// ---------------------------------------------------------------- arithmetic: no page needed, tested by node

export const dot = (a, b) => a.reduce((sum, value, k) => sum + value * b[k], 0);
export const minus = (a, b) => a.map((value, k) => value - b[k]);
export const scaled = (a, factor) => a.map((value) => value * factor);
const length = (a) => Math.sqrt(dot(a, a));
const unitOf = (a) => scaled(a, 1 / (length(a) || 1));

// Bytes (a DataView, which may start anywhere in its buffer) as vectors of `width` numbers.
export function vectors(bytes, width) {
  const count = bytes.byteLength / 4 / width;
  const value = (k) => bytes.getFloat32(4 * k, true);
  return Array.from({ length: count }, (_, n) => Array.from({ length: width }, (_, k) => value(n * width + k)));
}

// 0 where one of the two has no direction, so that the loss there is 1.
export const cosine = (a, b) => dot(unitOf(a), unitOf(b));

// Half the squared angle between two vectors, the global CLIP loss (losses.clip_distance).
export const clipDistance = (a, b) => 2 * Math.asin(clamped(length(minus(unitOf(a), unitOf(b))) / 2, 0, 1)) ** 2;

// The directional CLIP loss (losses.clip_direction) of two changes.
export const clipDirection = (change, wanted) => 1 - cosine(change, wanted);

// What is left of each vector at right angles to a unit vector.
export const beside = (all, axis) => all.map((v) => minus(v, scaled(axis, dot(v, axis))));

// The unit vector along which the vectors are longest together (their first principal component about the origin),
// found by multiplying with their table of inner products again and again; zeros where all are zero.
// Its sign is the one in which they point together.
export function mainComponent(all) {
  const table = all.map((a) => all.map((b) => dot(a, b)));
  let shares = table.map((row, k) => length(row) * (1 + k / 1000)); // no start is at right angles to every answer
  const mix = () => all[0].map((_, k) => all.reduce((sum, v, n) => sum + shares[n] * v[k], 0));
  for (let round = 0; round < 500; round++) shares = unitOf(table.map((row) => dot(row, shares)));
  const found = unitOf(mix());
  const together = all.reduce((sum, v) => sum + dot(v, found), 0);
  return together < 0 ? scaled(found, -1) : found;
}

// The plane of a text direction: the axis along it, and the main component of the changes at right angles to it.
export function planeOf(wanted, changes) {
  const right = unitOf(wanted);
  return { right, up: mainComponent(beside(changes, right)) };
}

export const project = (v, { right, up }) => [dot(v, right), dot(v, up)];

// The share of the vectors' squared lengths that lies in the plane.
export function shareIn(all, plane) {
  const whole = all.reduce((sum, v) => sum + dot(v, v), 0);
  const inside = all.reduce((sum, v) => sum + dot(project(v, plane), project(v, plane)), 0);
  return whole ? inside / whole : 0;
}

// 1 for the largest value; equal values share the better rank.
export const rank = (values, index) => 1 + values.filter((value) => value > values[index]).length;

// What every number of the figure comes from: embeddings by what they are of, and their changes.
export function changesOf({ rows, lengths, width, unit, prompts }) {
  const all = vectors(rows, width).map((v, k) => (unit ? v : scaled(v, lengths[k])));
  const [sourceText, texts] = [all[0], all.slice(1, 1 + prompts.length)];
  const [source, images] = [all[1 + prompts.length], all.slice(2 + prompts.length)];
  return {
    texts, images, wanted: texts.map((text) => minus(text, sourceText)),
    moved: images.map((image) => minus(image, source)),
  };
}

// ---------------------------------------------------------------- the page

const [WIDE, HIGH, MARGIN] = [420, 320, 26]; // the chart, in its own units

const PAGE = `
  <div class="zlw-controls">
    <label>Prompt <select data-testid="prompt"></select></label>
    <label>Result <select data-testid="result-name"></select></label>
    <label><input type="checkbox" data-testid="unit"> embeddings of length 1</label>
  </div>
  <div class="zlw-figures">
    <div><div class="zlw-title">Source</div><canvas data-testid="source" role="img"></canvas></div>
    <div><div class="zlw-title" data-part="result-title"></div><canvas data-testid="result" role="img"></canvas></div>
    <div class="zlw-wide"><div class="zlw-title">CLIP's space, seen from the source</div>
      <svg data-testid="chart" viewBox="0 0 ${WIDE} ${HIGH}" tabindex="0" role="application"
        aria-roledescription="chart to walk in"></svg></div>
  </div>
  <p class="zlw-told" data-testid="readout"></p>
  <p data-testid="plane"></p>
  <p class="zlw-hint">Arrow to the right, with a square: the way from the source prompt to the prompt; dashed: the ways to
    the other prompts. Arrows with a dot: the ways from the source to the results; dotted: a run,
    step by step. How far an arrow reaches to the right is
    exact; how far up, only its part in this plane. Click a result, or walk in the chart: ← → another result,
    ↓ ↑ another prompt.</p>`;

// Key -> [trait, direction].
const KEYS = { ArrowLeft: ["result", -1], ArrowRight: ["result", 1], ArrowUp: ["prompt", -1], ArrowDown: ["prompt", 1] };

function render({ model, el }) {
  const root = made("div", "zlw zlw-direction", "direction-explorer", PAGE);
  const parts = ["prompt", "result-name", "unit", "source", "result", "chart", "readout", "plane"];
  const [prompt, name, unit, source, result, chart, readout, told] = parts.map((testid) => hook(root, testid));
  let sheet = null;
  let known = null; // what changesOf found
  let points = []; // the results' places in the chart's units

  const set = (trait, value) => change(model, trait, value);

  const load = loading(() => [model.get("sheet")], (found) => {
    sheet = found;
    draw();
  });

  function build() {
    const options = (names) => names.map((text, k) => new Option(text, k));
    prompt.replaceChildren(...options(model.get("prompts")));
    name.replaceChildren(...options(model.get("names")));
    forget();
  }

  function forget() {
    const traits = ["rows", "lengths", "width", "unit", "prompts"].map((trait) => [trait, model.get(trait)]);
    known = changesOf(Object.fromEntries(traits));
    draw();
  }

  function draw() {
    if (!sheet) return;
    const [names, prompts] = ["names", "prompts"].map((trait) => model.get(trait));
    // A shorter list comes before the choice that fits it.
    const [p, r] = [Math.min(model.get("prompt"), prompts.length - 1), Math.min(model.get("result"), names.length - 1)];
    prompt.value = p;
    name.value = r;
    unit.checked = model.get("unit");
    show(source, sheet, 0, model.get("across"), model.get("cell"));
    show(result, sheet, 1 + r, model.get("across"), model.get("cell"));
    source.setAttribute("aria-label", "Source picture");
    result.setAttribute("aria-label", `Result: ${names[r]}`);
    part(root, "result-title").textContent = names[r];
    const plane = planeOf(known.wanted[p], known.moved);
    drawChart(p, r, plane);
    tell(p, r, plane, names, prompts);
    root.dataset.ready = "true";
  }

  function tell(p, r, plane, names, prompts) {
    const cosines = known.wanted.map((wanted) => cosine(known.moved[r], wanted));
    const distance = clipDistance(known.images[r], known.texts[p]);
    const share = shareIn([known.moved[r]], plane);
    const place = rank(cosines, p);
    const percent = (value) => `${Math.round(100 * value)} %`;
    readout.textContent =
      `${names[r]}, from "${model.get("source_prompt")}" to "${prompts[p]}": cosine of the two changes ` +
      `${cosines[p].toFixed(2)}, directional loss ${(1 - cosines[p]).toFixed(2)}, global loss ${distance.toFixed(2)}. ` +
      `Of ${prompts.length} prompts this one has rank ${place}.`;
    Object.assign(readout.dataset, { cosine: cosines[p], direction: 1 - cosines[p], global: distance });
    Object.assign(readout.dataset, { rank: place, share });
    const [right, up] = project(known.moved[r], plane);
    const all = shareIn(known.moved, plane);
    told.textContent =
      `In this plane lie ${percent(share)} of this change (of its squared length), ` +
      `${percent(all)} of all results' changes.`;
    Object.assign(told.dataset, { right, up, all });
  }

  function drawChart(p, r, plane) {
    const [moved, wanted] = [known.moved, known.wanted].map((all) => all.map((v) => project(v, plane)));
    // One scale both ways, so that angles are angles.
    const [xs, ys] = [0, 1].map((axis) => [0, ...moved.map((v) => v[axis]), ...wanted.map((v) => v[axis])]);
    const [left, right, low, high] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const scale = Math.min((WIDE - 2 * MARGIN) / (right - left), (HIGH - 2 * MARGIN) / (high - low || 1e-9));
    const at = ([x, y]) => [
      WIDE / 2 + scale * (x - (left + right) / 2), HIGH / 2 - scale * (y - (low + high) / 2),
    ];
    const origin = at([0, 0]);
    points = moved.map(at);
    chart.replaceChildren();
    const add = (...what) => chart.appendChild(drawn(...what));
    const line = ([x, y], kind) => add("line", { x1: origin[0], y1: origin[1], x2: x, y2: y, class: kind });
    const [names, prompts] = [model.get("names"), model.get("prompts")];
    add("line", { x1: 0, x2: WIDE, y1: origin[1], y2: origin[1], class: "zlw-axis" });
    add("line", { x1: origin[0], x2: origin[0], y1: 0, y2: HIGH, class: "zlw-axis" });
    wanted.map(at).forEach((tip, k) => {
      if (k !== p) line(tip, "zlw-other");
      if (k !== p) square(tip, 2.5, "zlw-other-tip", prompts[k]);
    });
    const path = model.get("path").map((k) => points[k].map((v) => v.toFixed(1)).join(" "));
    if (path.length > 1) add("polyline", { points: path.join(" "), class: "zlw-path" });
    points.forEach((tip, k) => {
      if (k !== r) line(tip, "zlw-change");
      add("circle", { cx: tip[0], cy: tip[1], r: k === r ? 6 : 4, class: "zlw-point" }, names[k]);
    });
    const goal = at(wanted[p]);
    line(goal, "zlw-text");
    square(goal, 6, "zlw-goal", prompts[p]);
    line(points[r], "zlw-chosen");
    label(goal, prompts[p], "zlw-goal-name", 12);
    label(points[r], names[r], "zlw-result-name", -5);
    chart.setAttribute("aria-label",
      `Changes in CLIP's space; prompt ${prompts[p]}, result ${names[r]}. Arrow keys choose others.`);
  }

  function square([x, y], half, kind, title) {
    const place = { x: x - half, y: y - half, width: 2 * half, height: 2 * half };
    chart.appendChild(drawn("rect", { ...place, class: kind }, title));
  }

  // Words beside a tip, on the side where there is room; those of a text stand above its arrow.
  function label([x, y], text, kind, above) {
    const beyond = x > (2 * WIDE) / 3;
    const place = { x: beyond ? x - 10 : x + 10, y: clamped(y - above, 14, HIGH - 6), class: kind };
    chart.appendChild(drawn("text", { ...place, "text-anchor": beyond ? "end" : "start" }, text));
  }

  prompt.addEventListener("change", () => set("prompt", Number(prompt.value)));
  name.addEventListener("change", () => set("result", Number(name.value)));
  unit.addEventListener("change", () => set("unit", unit.checked));
  chart.addEventListener("click", (event) => set("result", nearest(points, placeIn(chart, event))));
  chart.addEventListener("keydown", (event) => {
    if (notOurs(event) || !(event.key in KEYS)) return;
    event.preventDefault();
    const [trait, step] = KEYS[event.key];
    const count = model.get(trait === "prompt" ? "prompts" : "names").length;
    set(trait, clamped(model.get(trait) + step, 0, count - 1));
  });

  const silence = listening(model, {
    "change:prompt": draw, "change:result": draw, "change:path": draw, "change:unit": forget, "change:rows": forget,
    "change:names": build, "change:prompts": build, "change:sheet": load,
  });

  announced(root, readout);
  build();
  load();
  el.appendChild(root);
  return silence;
}

export default { render };
