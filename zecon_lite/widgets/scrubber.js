// The step scrubber: everything that the figure does, in plain JavaScript, so that it needs no kernel.
//
// Traits (see scrubber.py): sheet, across, cell [height, width], tracks[], steps[] {name, at}, values[] {name, values[]},
// note, step. The sheet holds all steps of the first track, then all of the second, and so on.
//
// Stable hooks for tests, as data-testid: "step-scrubber" (data-ready="true" once drawn), "step" (a slider), "play", for
// each track a "picture" (a canvas), for each curve a "curve" (a drawing; data-value), "readout" (data-step, data-at).

// ---------------------------------------------------------------- arithmetic: no page needed, tested by node

// The least and the greatest of the numbers; null is none. Equal ends are moved apart, so that a flat curve has a middle.
export function span(values) {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)];
  if (!known.length) return [0, 1];
  return low < high ? [low, high] : [low - 1, high + 1];
}

// Where the value number k stands in a box: [x, y], y downwards, the span from its lower to its upper edge.
export function pointAt(values, k, { width, height, margin }) {
  const [low, high] = span(values);
  const x = margin + (k / Math.max(values.length - 1, 1)) * (width - 2 * margin);
  return [x, height - margin - ((values[k] - low) / (high - low)) * (height - 2 * margin)];
}

// The curve as an SVG path, lifted where there is no number. A lone point is a stroke of no length: a dot.
export function path(values, box) {
  let lifted = true;
  return values.map((value, k) => {
    if (value === null) return (lifted = true) && "";
    const point = pointAt(values, k, box).map((v) => v.toFixed(1)).join(" ");
    const stroke = lifted ? `M${point}h0` : `L${point}`;
    lifted = false;
    return stroke;
  }).join("");
}

// The shown step nearest to a place along the curves, 0 at their first value and 1 at their last.
export function stepAt(fraction, steps, count) {
  const away = steps.map(({ at }) => Math.abs(at - fraction * (count - 1)));
  return away.indexOf(Math.min(...away));
}

// "0.2 to 0.62": between what a curve runs.
export function ends(values) {
  const known = values.filter((value) => value !== null);
  const [low, high] = [Math.min(...known), Math.max(...known)].map((value) => (known.length ? told(value) : "none"));
  return low === high ? `${low} throughout` : `${low} to ${high}`;
}

// "Step 3 of 25, t = 480: zecon 0.52, mse 0.031": what is said of a step.
export function sentence(steps, k, values) {
  const numbers = values.map(({ name, values }) => `${name} ${told(values[steps[k].at])}`).join(", ");
  return `Step ${k + 1} of ${steps.length}, ${steps[k].name}${numbers && ": "}${numbers}`;
}

// ---------------------------------------------------------------- the page

const BOX = { width: 200, height: 72, margin: 8 };
const PACE = 500; // milliseconds that a step stays while the run plays

const SCRUBBER = `
  <div class="zlw-controls">
    <button type="button" data-testid="play">Play</button>
    <label class="zlw-run">Step <input type="range" min="0" step="1" data-testid="step"><output aria-hidden="true"></output></label>
  </div>
  <div class="zlw-tracks"></div>
  <p class="zlw-told" data-testid="readout"></p>
  <div class="zlw-curves"></div>
  <p class="zlw-hint">Drag the slider, or move it with the arrow keys<span data-part="click">, or click a curve</span>.
    <span data-part="note"></span></p>`;

const TRACK = `<div class="zlw-title"></div><canvas data-testid="picture" role="img"></canvas>`;
const CURVE = `<div class="zlw-title"><span></span> <span data-part="value"></span></div>
  <svg data-testid="curve" role="img" viewBox="0 0 ${BOX.width} ${BOX.height}"></svg>
  <div class="zlw-hint" data-part="span"></div>`;

function render({ model, el }) {
  const root = made("div", "zlw zlw-scrubber", "step-scrubber", SCRUBBER);
  const [play, slider, readout] = ["play", "step", "readout"].map((name) => hook(root, name));
  let sheet = null;
  let pictures = []; // one element for each track
  let curves = []; // one for each list of values: { element, marker: [line, dot] }
  let clock = null; // while the run plays

  const choose = (step) => change(model, "step", step);

  function pause() {
    clearInterval(clock);
    clock = null;
    play.textContent = "Play";
    readout.setAttribute("aria-live", "polite");
  }

  function toggle() {
    if (clock) return pause();
    const last = () => model.get("steps").length - 1;    // steps may become fewer while the run plays
    if (model.get("step") >= last()) choose(0);
    play.textContent = "Pause";
    readout.setAttribute("aria-live", "off"); // else a screen reader would never come to an end
    clock = setInterval(() => {
      choose(Math.min(model.get("step") + 1, last()));
      if (model.get("step") >= last()) pause();
    }, PACE);
  }

  const load = loading(() => [model.get("sheet")], (found) => {
    sheet = found;
    draw();
  });

  function build() {
    const [tracks, steps] = [model.get("tracks"), model.get("steps")];
    slider.max = steps.length - 1;
    pictures = tracks.map((title) => {
      const element = made("div", "", "track", TRACK);
      element.firstElementChild.textContent = title;
      return element;
    });
    curves = model.get("values").map(newCurve);
    root.querySelector(".zlw-tracks").replaceChildren(...pictures);
    root.querySelector(".zlw-curves").replaceChildren(...curves.map(({ element }) => element));
    part(root, "click").hidden = curves.length === 0;
    draw();
  }

  function newCurve({ name, values }) {
    const element = made("div", "", "", CURVE);
    const drawing = hook(element, "curve");
    element.querySelector(".zlw-title span").replaceChildren(...breakable(name));
    part(element, "span").textContent = ends(values);
    const marker = [drawn("line", { y1: 0, y2: BOX.height, class: "zlw-here" }), drawn("circle", { r: 4, class: "zlw-at" })];
    drawing.append(drawn("path", { d: path(values, BOX), class: "zlw-curve" }), ...marker);
    const point = (event) => {
      if (!chooses(event)) return;
      const along = (placeIn(drawing, event)[0] - BOX.margin) / (BOX.width - 2 * BOX.margin);
      pause();
      choose(stepAt(along, model.get("steps"), values.length));
    };
    for (const kind of ["pointerdown", "pointermove", "click"]) drawing.addEventListener(kind, point);
    return { element, marker };
  }

  function draw() {
    if (!sheet) return;
    const [steps, values, chosen] = ["steps", "values", "step"].map((name) => model.get(name));
    const k = Math.min(chosen, steps.length - 1);    // a shorter list comes before the step that fits it
    slider.value = k;
    slider.setAttribute("aria-valuetext", `${k + 1} of ${steps.length}, ${steps[k].name}`);
    slider.nextElementSibling.textContent = steps[k].name;
    pictures.forEach((element, track) => {
      const canvas = hook(element, "picture");
      show(canvas, sheet, track * steps.length + k, model.get("across"), model.get("cell"));
      canvas.setAttribute("aria-label", `${model.get("tracks")[track]}, ${steps[k].name}`);
    });
    curves.forEach((curve, n) => mark(curve, values[n], steps[k].at));
    readout.textContent = sentence(steps, k, values);
    Object.assign(readout.dataset, { step: k, at: steps[k].at });
    part(root, "note").textContent = model.get("note");
    root.dataset.ready = "true";
  }

  function mark({ element, marker: [line, dot] }, { name, values }, at) {
    const [x, y] = pointAt(values, at, BOX);
    const drawing = hook(element, "curve");
    for (const end of ["x1", "x2"]) line.setAttribute(end, x);
    dot.setAttribute("cx", x);
    dot.setAttribute("cy", y);
    dot.style.visibility = values[at] === null ? "hidden" : "visible";
    part(element, "value").textContent = told(values[at]);
    drawing.setAttribute("aria-label", `${name} along the run, now ${told(values[at])}`);
    drawing.dataset.value = values[at];
  }

  slider.addEventListener("input", () => {
    pause();
    choose(Number(slider.value));
  });
  play.addEventListener("click", toggle);

  const silence = listening(model, {
    "change:step": draw, "change:note": draw, "change:tracks": build, "change:steps": build, "change:values": build,
    "change:sheet": load,
  });

  announced(root, readout);
  build();
  load();
  el.appendChild(root);
  return () => {
    pause();
    silence();
  };
}

export default { render };
