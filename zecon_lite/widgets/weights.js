// The weight explorer: everything that the figure does, in plain JavaScript, so that it needs no kernel.
//
// Traits (see weights.py): sheet, across, cell [height, width], sources, axes[] {name, values[], ordered},
// scores[] {name, values[]}, selected[], plane [right, up], caption.
//
// Stable hooks for tests, as data-testid: "weight-explorer" (data-ready="true" once drawn), for each axis a "setting"
// (a slider or a list), "source" and "result" (canvases), "chart" (a drawing) and "readout" (data-at, data-index).
//
// A place in the grid is a list `at` with a position for each axis. Grids are stored in reading order.

// ---------------------------------------------------------------- arithmetic: no page needed, tested by node

// Where the picture and the scores of a place are stored.
export function indexOf(at, axes) {
  return axes.reduce((index, axis, k) => index * axis.values.length + at[k], 0);
}

// Key -> [axis, direction]: the first two axes are walked by the arrows, a third one by page up and page down.
export const KEYS = {
  ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowDown: [1, -1], ArrowUp: [1, 1], PageDown: [2, -1], PageUp: [2, 1],
};

// The place that a key leads to; the grid ends at its edges.
export function walked(at, axes, key) {
  const [axis, step] = KEYS[key];
  return at.map((k, other) => (other === axis ? clamped(k + step, 0, axes[axis].values.length - 1) : k));
}

// The places that the chart draws: every value of the first two axes, the others as chosen.
export function drawnPlaces(at, axes) {
  const counts = [0, 1].map((k) => axes[k]?.values.length ?? 1);
  return Array.from({ length: counts[0] * counts[1] }, (_, n) => {
    const first = [Math.floor(n / counts[1]), n % counts[1]].slice(0, axes.length);
    return [...first, ...at.slice(first.length)];
  });
}

// What the chart joins: for each of the first two axes that has an order, the places that differ in it alone, as
// { axis, chosen, at: [...] }; `chosen` says whether the chosen place is among them.
export function lines(at, axes) {
  const places = drawnPlaces(at, axes);
  return [0, 1].filter((axis) => axes[axis]?.ordered && axes[axis].values.length > 1).flatMap((axis) => {
    const other = 1 - axis;
    const rows = Array.from({ length: axes[other]?.values.length ?? 1 }, (_, k) => k);
    return rows.map((k) => {
      const row = places.filter((place) => (place[other] ?? 0) === k);
      return { axis, chosen: k === (at[other] ?? 0), at: row };
    });
  });
}

// "start 14, ZeCon weight 0.02, style pencil": where a place is.
export const named = (at, axes) => axes.map((axis, k) => `${axis.name} ${axis.values[at[k]]}`).join(", ");

// "0.41", "0.0023": a score in two digits behind the point, a small one in three that count.
const score = (value) => (Math.abs(value) < 0.1 ? told(value) : value.toFixed(2));

// "SSIM 0.41; mask IoU unknown": what a place has.
export const scored = (index, scores) =>
  scores.map(({ name, values }) => `${name} ${values[index] === null ? "unknown" : score(values[index])}`).join("; ");

// ---------------------------------------------------------------- the page

const [WIDE, HIGH] = [340, 300]; // the chart, in its own units
const [LEFT, RIGHT, TOP, BOTTOM] = [46, 12, 12, 44]; // its margins

const PAGE = `
  <div class="zlw-controls" data-part="settings"></div>
  <div class="zlw-figures">
    <div><div class="zlw-title">Source</div><canvas data-testid="source" role="img"></canvas></div>
    <div><div class="zlw-title">Result</div><canvas data-testid="result" role="img"></canvas></div>
    <div class="zlw-wide"><div class="zlw-title" data-part="chart-title"></div>
      <svg data-testid="chart" viewBox="0 0 ${WIDE} ${HIGH}" tabindex="0" role="application"
        aria-roledescription="chart to walk in"></svg></div>
  </div>
  <p class="zlw-told" data-testid="readout"></p>
  <p class="zlw-hint" data-part="hint"></p>
  <p class="zlw-hint" data-part="caption"></p>`;

const SLIDER = `<span></span> <input type="range" min="0" step="1" data-testid="setting"> <output aria-hidden="true"></output>`;
const LIST = `<span></span> <select data-testid="setting"></select>`;

function render({ model, el }) {
  const root = made("div", "zlw zlw-weights", "weight-explorer", PAGE);
  const [source, result, chart, readout] = ["source", "result", "chart", "readout"].map((name) => hook(root, name));
  let settings = []; // the axes' sliders and lists
  let sheet = null;
  let points = []; // of drawnPlaces, in the chart's units

  function choose(at) {
    if (String(at) !== String(model.get("selected"))) change(model, "selected", at);
  }

  const load = loading(() => [model.get("sheet")], (found) => {
    sheet = found;
    draw();
  });

  function build() {
    settings = model.get("axes").map(newSetting);
    part(root, "settings").replaceChildren(...settings.map((control) => control.parentElement));
    draw();
  }

  function newSetting({ name, values, ordered }, k) {
    const label = made("label", "", "", ordered ? SLIDER : LIST);
    const control = hook(label, "setting");
    label.firstElementChild.textContent = name;
    if (ordered) control.max = values.length - 1;
    else control.replaceChildren(...values.map((value, at) => new Option(value, at)));
    control.addEventListener(ordered ? "input" : "change", () =>
      choose(model.get("selected").map((at, axis) => (axis === k ? Number(control.value) : at))));
    return control;
  }

  function draw() {
    if (!sheet) return;
    const [axes, scores, chosen, sources] = ["axes", "scores", "selected", "sources"].map((name) => model.get(name));
    const at = axes.map(({ values }, k) => Math.min(chosen[k] ?? 0, values.length - 1));    // axes come before their place
    const [index, cell, across] = [indexOf(at, axes), model.get("cell"), model.get("across")];
    settings.forEach((control, k) => {
      control.value = at[k];
      if (!axes[k].ordered) return;    // a list says by itself what is chosen
      control.setAttribute("aria-valuetext", axes[k].values[at[k]]);
      control.nextElementSibling.textContent = axes[k].values[at[k]];
    });
    show(source, sheet, sources > 1 ? at[at.length - 1] : 0, across, cell);
    show(result, sheet, sources + index, across, cell);
    source.setAttribute("aria-label", "Source picture");
    result.setAttribute("aria-label", `Result at ${named(at, axes)}`);
    const [right, up] = model.get("plane").map((k) => scores[k]);
    part(root, "chart-title").textContent = `${up.name} against ${right.name}`;
    drawChart(axes, right, up, at);
    readout.textContent = `${named(at, axes)}: ${scored(index, scores)}`;
    Object.assign(readout.dataset, { at: String(at), index });
    const keys = axes.slice(0, 3).map((axis, k) => `${["← →", "↓ ↑", "page down, page up"][k]} ${axis.name}`);
    const dashes = axes.slice(0, 2).map(({ name, ordered }, k) =>
      ordered ? `${["Solid", "Dashed"][k]} lines join results that differ in ${name} alone. ` : "");
    part(root, "hint").textContent = `${dashes.join("")}Click a point, or walk in the chart with ${keys.join("; ")}.`;
    part(root, "caption").textContent = model.get("caption");
    root.dataset.ready = "true";
  }

  function drawChart(axes, right, up, at) {
    // The scale is that of the whole grid, so that points move and axes stay when another setting is chosen.
    const [x, y] = [right, up].map(({ values }) => ticks(values.filter((value) => value !== null)));
    const along = (value, of, from, to) => from + ((value - of[0]) / (of[of.length - 1] - of[0])) * (to - from);
    const toX = (value) => along(value, x, LEFT, WIDE - RIGHT);
    const toY = (value) => along(value, y, HIGH - BOTTOM, TOP);
    const pointOf = (place) => {
      const [a, b] = [right, up].map(({ values }) => values[indexOf(place, axes)]);
      return a === null || b === null ? null : [toX(a), toY(b)];
    };
    const places = drawnPlaces(at, axes);
    points = places.map(pointOf);
    chart.replaceChildren();
    const add = (...what) => chart.appendChild(drawn(...what));
    for (const value of x) {
      add("line", { x1: toX(value), x2: toX(value), y1: TOP, y2: HIGH - BOTTOM, class: "zlw-grid" });
      add("text", { x: toX(value), y: HIGH - BOTTOM + 16, "text-anchor": "middle" }, String(value));
    }
    for (const value of y) {
      add("line", { x1: LEFT, x2: WIDE - RIGHT, y1: toY(value), y2: toY(value), class: "zlw-grid" });
      add("text", { x: LEFT - 6, y: toY(value) + 4, "text-anchor": "end" }, String(value));
    }
    add("text", { x: (LEFT + WIDE - RIGHT) / 2, y: HIGH - 8, "text-anchor": "middle" }, right.name);
    const middle = (TOP + HIGH - BOTTOM) / 2;
    add("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, up.name);
    const last = (a, b) => a.chosen - b.chosen; // what goes through the chosen point lies on top
    for (const { axis, chosen, at: row } of lines(at, axes).sort(last)) {
      const joined = row.map(pointOf).filter(Boolean).map((point) => point.map((v) => v.toFixed(1)).join(" "));
      add("polyline", { points: joined.join(" "), class: `zlw-line zlw-axis${axis}${chosen ? " zlw-through" : ""}` });
    }
    places.forEach((place, k) => {
      if (points[k]) add("circle", { cx: points[k][0], cy: points[k][1], r: 4, class: "zlw-point" }, named(place, axes));
    });
    const here = pointOf(at);
    if (here) add("circle", { cx: here[0], cy: here[1], r: 9, class: "zlw-chosen" });
    chart.setAttribute("aria-label", `${up.name} against ${right.name}; chosen: ${named(at, axes)}. Arrow keys walk.`);
  }

  chart.addEventListener("click", (event) => {
    const [axes, at] = [model.get("axes"), model.get("selected")];
    if (points.some(Boolean)) choose(drawnPlaces(at, axes)[nearest(points, placeIn(chart, event))]);
  });
  chart.addEventListener("keydown", (event) => {
    const axes = model.get("axes");
    if (notOurs(event) || !(event.key in KEYS) || KEYS[event.key][0] >= axes.length) return;
    event.preventDefault();
    choose(walked(model.get("selected"), axes, event.key));
  });

  const silence = listening(model, {
    "change:selected": draw, "change:plane": draw, "change:scores": draw, "change:caption": draw,
    "change:axes": build, "change:sheet": load,
  });

  announced(root, readout);
  build();
  load();
  el.appendChild(root);
  return silence;
}

export default { render };
