// The similarity explorer: everything that the figure does, in plain JavaScript, so that it needs no kernel.
//
// Traits (see similarity.py): source_png, result_png[], step_names[], features, layers[], selected, marked, layer,
// beside[], step, tau. Bytes arrive as DataView, which may start inside a larger buffer.
//
// Stable hooks for tests, as data-testid: "similarity-explorer" (data-ready="true" once drawn), "step", "opacity", and
// for each layer shown a "column" that holds "layer", "source" and "result" (canvases), "readout" (data-row, data-col,
// data-same, data-rank, data-best, data-best-row, data-best-col) and "nce" (data-probability, data-loss, data-mean).
//
// A picture's features are rows of unit length, one row per patch in reading order, in one flat Float32Array.

// ---------------------------------------------------------------- arithmetic: no page needed, tested by node

// Matplotlib's viridis at 17 even stops: perceptually uniform, and readable without red-green vision.
const VIRIDIS = [
  "440154", "48186a", "472d7b", "424086", "3b528b", "33638d", "2c728e", "26828e", "21918c",
  "1fa088", "28ae80", "3fbc73", "5ec962", "84d44b", "addc30", "d8e219", "fde725",
].map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)));

// The unit rows of one picture of a layer: pictures 0 .. sources-1 are of the source, then come the results.
export function dequantise(bytes, layer, picture) {
  const { height, width, channels, offset, centre, scale } = layer;
  const size = height * width * channels;
  const stored = new Int8Array(bytes.buffer, bytes.byteOffset + offset + picture * size, size);
  const rows = new Float32Array(size);
  for (let start = 0; start < size; start += channels) {
    let square = 0;
    for (let c = 0; c < channels; c++) {
      const value = centre[c] + scale[c] * stored[start + c];
      rows[start + c] = value;
      square += value * value;
    }
    const length = Math.sqrt(square) || 1;
    for (let c = 0; c < channels; c++) rows[start + c] /= length;
  }
  return rows;
}

// Cosine similarity of row `index` of `queries` to every row of `keys`.
export function similarities(queries, index, keys, channels) {
  const found = new Float32Array(keys.length / channels);
  for (let p = 0; p < found.length; p++) {
    let dot = 0;
    for (let c = 0; c < channels; c++) dot += queries[index * channels + c] * keys[p * channels + c];
    found[p] = dot;
  }
  return found;
}

export function argmax(values) {
  let best = 0;
  for (let p = 1; p < values.length; p++) if (values[p] > values[best]) best = p;
  return best;
}

// 1 for the largest value; equal values share the better rank.
export function rank(values, index) {
  let above = 0;
  for (const value of values) if (value > values[index]) above++;
  return above + 1;
}

// log of softmax(values / tau)[index], shifted by the maximum so that nothing overflows.
export function logSoftmax(values, index, tau) {
  const top = values[argmax(values)];
  let sum = 0;
  for (const value of values) sum += Math.exp((value - top) / tau);
  return (values[index] - top) / tau - Math.log(sum);
}

// PatchNCE (CUT, Park et al. 2020): each query should pick the key at its own place. The mean of -log p.
export function patchNce(queries, keys, channels, tau) {
  const patches = keys.length / channels;
  let sum = 0;
  for (let p = 0; p < patches; p++) sum -= logSoftmax(similarities(queries, p, keys, channels), p, tau);
  return sum / patches;
}

// [red, green, blue] in 0..255 of a number in 0..1; beyond is clamped.
export function colour(u) {
  const at = Math.min(Math.max(u, 0), 1) * (VIRIDIS.length - 1);
  const k = Math.min(Math.floor(at), VIRIDIS.length - 2);
  return VIRIDIS[k].map((low, c) => Math.round(low + (at - k) * (VIRIDIS[k + 1][c] - low)));
}

// Values as opaque RGBA pixels, `low` darkest and `high` brightest.
export function heatmap(values, low, high) {
  const pixels = new Uint8ClampedArray(4 * values.length);
  values.forEach((value, p) => pixels.set([...colour((value - low) / (high - low || 1)), 255], 4 * p));
  return pixels;
}

// The patch that a place lies in. Places are [down, right] as fractions of the picture, so they outlive a layer's grid.
export function patchAt([down, right], { height, width }) {
  const row = Math.min(Math.max(Math.floor(down * height), 0), height - 1);
  const column = Math.min(Math.max(Math.floor(right * width), 0), width - 1);
  return { row, column, index: row * width + column };
}

// The middle of a patch, as a place; indices beyond the grid are moved to its edge.
export function placeOf(row, column, { height, width }) {
  const inside = (k, n) => (Math.min(Math.max(k, 0), n - 1) + 0.5) / n;
  return [inside(row, height), inside(column, width)];
}

// ---------------------------------------------------------------- the page

const CANVAS = 512; // pixels of the longer side; the page scales it

const PAGE = `
  <div class="zls-controls">
    <label>Result <input type="range" min="0" step="1" data-testid="step"><output aria-hidden="true"></output></label>
    <label>Heat map <input type="range" min="0" max="100" value="65" data-testid="opacity"></label>
  </div>
  <div class="zls-columns"></div>
  <div class="zls-legend" aria-hidden="true">
    <span><i class="zls-chosen"></i>chosen patch</span>
    <span><i class="zls-same"></i>same place</span>
    <span><i class="zls-best"></i>best match</span>
  </div>
  <p class="zls-hint">Click or drag on the source, or move the chosen patch with the arrow keys (Shift: four patches at
    once). Patches are named (row, column), counted from 0 at the top left. <span data-part="error"></span></p>`;

const COLUMN = `
  <label class="zls-layer">Layer <select data-testid="layer"></select></label>
  <div class="zls-pictures">
    <div><div class="zls-title">Source</div><canvas data-testid="source" tabindex="0" role="application"
      aria-roledescription="patch chooser"></canvas></div>
    <div><div class="zls-title" data-part="result-title">Result</div><canvas data-testid="result"
      role="img"></canvas></div>
  </div>
  <div class="zls-legend" aria-hidden="true">
    <span>cosine <span data-part="low"></span><span class="zls-bar"></span><span>1</span></span>
  </div>
  <p data-testid="readout"></p>
  <p data-testid="nce"><span class="zls-meter" aria-hidden="true"><span></span></span>
    <span data-part="nce-text"></span></p>`;

const ARROWS = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };

const named = ({ row, column }) => `(${row}, ${column})`;

// A picture under its heat map, with marks: [patch, kind] each.
function paint(canvas, picture, pixels, { height, width }, opacity, marks) {
  const scale = CANVAS / Math.max(picture.width, picture.height);
  canvas.width = Math.round(scale * picture.width);
  canvas.height = Math.round(scale * picture.height);
  const pen = canvas.getContext("2d");
  pen.imageSmoothingEnabled = false; // small pictures stay pixels, patches stay squares
  pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const map = document.createElement("canvas");
  [map.width, map.height] = [width, height];
  map.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
  pen.globalAlpha = opacity;
  pen.globalCompositeOperation = "saturation"; // take the picture's own colours out: hue is for the map alone
  pen.fillStyle = "#808080";
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.globalCompositeOperation = "source-over";
  pen.drawImage(map, 0, 0, canvas.width, canvas.height);
  pen.globalAlpha = 1;
  for (const [patch, kind] of marks) mark(pen, patch, kind, canvas.width / width, canvas.height / height);
}

// Shapes, not colours, tell the marks apart; black under white shows on every picture.
function mark(pen, { row, column }, kind, w, h) {
  const [x, y] = [(column + 0.5) * w, (row + 0.5) * h];
  pen.beginPath();
  if (kind === "best") pen.arc(x, y, Math.max(w, h) * 0.75 + 4, 0, 2 * Math.PI);
  else pen.rect(x - w / 2 - 2, y - h / 2 - 2, w + 4, h + 4);
  for (const [style, thickness, dash] of [["#000", 6, []], ["#fff", 3, kind === "same" ? [6, 4] : []]]) {
    pen.strokeStyle = style;
    pen.lineWidth = thickness;
    pen.setLineDash(dash);
    pen.stroke();
  }
}

function render({ model, el }) {
  const root = made("div", "zlw zls", "similarity-explorer", PAGE);
  const [stepSlider, opacity] = ["step", "opacity"].map((name) => hook(root, name));
  let pictures = null; // decoded: { source, results }
  let unpacked = new Map(); // "layer/step" -> { ofSource, ofResult, loss }
  let columns = []; // one element for each shown layer

  // Lists come one by one: until all have come, an index may point beyond a list that has become shorter.
  const shown = () => {
    const last = model.get("layers").length - 1;
    return [Math.min(model.get("layer"), last), ...model.get("beside").filter((k) => k <= last)];
  };
  const stepNow = () => Math.min(model.get("step"), model.get("step_names").length - 1, (pictures?.results.length ?? 1) - 1);
  const layerOf = (at) => model.get("layers")[shown()[at]];

  const set = (name, value) => change(model, name, value);

  function choose(place, grid) {
    const { row, column, index } = patchAt(place, grid);
    if (index !== patchAt(model.get("selected"), grid).index) set("selected", placeOf(row, column, grid));
  }

  // Another layer in a column: the first is `layer`, the others are `beside` it.
  function show(at, k) {
    if (at === 0) set("layer", k);
    else set("beside", model.get("beside").map((other, b) => (b === at - 1 ? k : other)));
  }

  function features(k) {
    const s = stepNow();
    const key = `${k}/${s}`;
    if (!unpacked.has(key)) {
      const [bytes, layer] = [model.get("features"), model.get("layers")[k]];
      const ofSource = dequantise(bytes, layer, Math.min(s, layer.sources - 1));
      const ofResult = dequantise(bytes, layer, layer.sources + s);
      const loss = patchNce(ofResult, ofSource, layer.channels, model.get("tau"));
      unpacked.set(key, { ofSource, ofResult, loss });
    }
    return unpacked.get(key);
  }

  const load = loading(() => [model.get("source_png"), ...model.get("result_png")], (source, ...results) => {
    pictures = { source, results };
    draw();
  });

  function forget() {
    unpacked = new Map();
    draw();
  }

  function build() {
    stepSlider.max = model.get("step_names").length - 1;
    stepSlider.parentElement.hidden = model.get("step_names").length < 2;
    columns = shown().map((_, at) => newColumn(at));
    root.querySelector(".zls-columns").replaceChildren(...columns);
    forget();
  }

  function newColumn(at) {
    const column = made("section", "zls-column", "column", COLUMN);
    const [select, source] = [hook(column, "layer"), hook(column, "source")];
    const option = ({ name, height, width }, k) => new Option(`${name} (${height} × ${width})`, k);
    select.replaceChildren(...model.get("layers").map(option));
    column.querySelector(".zls-bar").style.background =
      `linear-gradient(to right, ${VIRIDIS.map((rgb) => `rgb(${rgb})`).join(", ")})`;
    const point = (event) => {
      if (!chooses(event)) return;
      const box = source.getBoundingClientRect();
      choose([(event.clientY - box.top) / box.height, (event.clientX - box.left) / box.width], layerOf(at));
    };
    for (const kind of ["pointerdown", "pointermove", "click"]) source.addEventListener(kind, point);
    source.addEventListener("keydown", (event) => {
      if (notOurs(event) || !(event.key in ARROWS)) return;
      event.preventDefault();
      const { row, column: right } = patchAt(model.get("selected"), layerOf(at));
      const [down, across] = ARROWS[event.key].map((d) => (event.shiftKey ? 4 * d : d));
      choose(placeOf(row + down, right + across, layerOf(at)), layerOf(at));
    });
    select.addEventListener("change", () => show(at, Number(select.value)));
    announced(column, hook(column, "readout"));
    return column;
  }

  function draw() {
    if (!pictures) return;
    if (columns.length !== shown().length) return build();
    const stepName = model.get("step_names")[stepNow()];
    stepSlider.value = stepNow();
    stepSlider.setAttribute("aria-valuetext", stepName);
    stepSlider.nextElementSibling.textContent = stepName;
    const places = columns.map((column, at) => drawColumn(column, shown()[at], stepName));
    const worst = Math.max(...columns.map((_, at) => layerOf(at).error)).toFixed(3);
    part(root, "error").textContent = `Cosines are stored to within ${worst}.`;
    if (String(places[0]) !== String(model.get("marked"))) set("marked", places[0]);
    root.dataset.ready = "true";
  }

  // Draws one layer's two maps and what is written under them; returns the place of the best match.
  function drawColumn(column, k, stepName) {
    const [layer, { ofSource, ofResult, loss }] = [model.get("layers")[k], features(k)];
    const chosen = patchAt(model.get("selected"), layer);
    const alike = (keys) => similarities(ofSource, chosen.index, keys, layer.channels);
    const [toSource, toResult] = [alike(ofSource), alike(ofResult)];
    const best = argmax(toResult);
    const bestPatch = { row: Math.floor(best / layer.width), column: best % layer.width };
    // One scale for both maps, so that the same colour is the same number; its low end is rounded to stay put.
    const low = Math.floor(10 * Math.min(...toSource, ...toResult)) / 10;
    const [source, result] = [hook(column, "source"), hook(column, "result")];
    const alpha = opacity.value / 100;
    paint(source, pictures.source, heatmap(toSource, low, 1), layer, alpha, [[chosen, "chosen"]]);
    const answer = pictures.results[stepNow()];
    paint(result, answer, heatmap(toResult, low, 1), layer, alpha, [[chosen, "same"], [bestPatch, "best"]]);
    source.setAttribute("aria-label", `Source picture, patch ${named(chosen)} chosen: arrow keys move it`);
    result.setAttribute("aria-label", `Result with heat map, best match at ${named(bestPatch)}`);
    hook(column, "layer").value = k;
    part(column, "low").textContent = low.toFixed(1);
    part(column, "result-title").textContent = stepName === "result" ? "Result" : `Result, ${stepName}`;
    tell(column, columns.length > 1 ? `${layer.name}: similarity` : "Similarity", chosen, toResult, best, bestPatch);
    // PatchNCE asks the other way round: the result's patch is the query, the source's patches are the keys.
    const asked = similarities(ofResult, chosen.index, ofSource, layer.channels);
    charge(column, -logSoftmax(asked, chosen.index, model.get("tau")), loss, asked.length);
    return placeOf(bestPatch.row, bestPatch.column, layer);
  }

  function tell(column, similarity, chosen, toResult, best, bestPatch) {
    const [same, order, readout] = [toResult[chosen.index], rank(toResult, chosen.index), hook(column, "readout")];
    readout.textContent =
      `${similarity} of patch ${named(chosen)}: same place in result ${same.toFixed(2)} ` +
      `(rank ${order} of ${toResult.length}), best match ${toResult[best].toFixed(2)} at ${named(bestPatch)}`;
    Object.assign(readout.dataset, { row: chosen.row, col: chosen.column, same, rank: order, best: toResult[best] });
    Object.assign(readout.dataset, { bestRow: bestPatch.row, bestCol: bestPatch.column });
  }

  // The loss is what comes in: of a small probability nothing is left to take the logarithm of.
  function charge(column, own, mean, count) {
    const [nce, probability] = [hook(column, "nce"), Math.exp(-own)];
    part(nce, "nce-text").textContent =
      `PatchNCE, τ = ${model.get("tau")}: the result's patch picks its own place among the source's ${count} with ` +
      `probability ${probability.toFixed(3)} (loss ${own.toFixed(2)}; mean of all patches ` +
      `${mean.toFixed(2)}, by chance ${Math.log(count).toFixed(2)})`;
    nce.querySelector(".zls-meter span").style.width = `${100 * probability}%`;
    Object.assign(nce.dataset, { probability, loss: own, mean });
  }

  stepSlider.addEventListener("input", () => set("step", Number(stepSlider.value)));
  opacity.addEventListener("input", draw);

  const silence = listening(model, {
    "change:selected": draw, "change:layer": draw, "change:beside": draw, "change:step": draw, "change:tau": forget,
    "change:features": build, "change:layers": build, "change:step_names": build,
    "change:source_png": load, "change:result_png": load,
  });

  build();
  load();
  el.appendChild(root);
  return silence;
}

export default { render };
