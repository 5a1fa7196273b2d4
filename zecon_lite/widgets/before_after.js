// Before and after: everything that the figure does, in plain JavaScript, so that it needs no kernel.
//
// Traits (see before_after.py): sheet, across, cell [height, width], source_name, names[], result, divider. In the sheet
// the source comes first, then the results.
//
// Stable hooks for tests, as data-testid: "before-after" (data-ready="true" once drawn), "pictures" (where to drag),
// "source" and "result" (canvases, one over the other), "divider" (a slider), "choice" (a list), "readout"
// (data-divider, data-result).

// ---------------------------------------------------------------- arithmetic: no page needed, tested by node

// How far from the left of a box a place is, 0 to 1.
export const fractionAt = (x, { left, width }) => clamped((x - left) / width, 0, 1);

// "left 30 % source, right 70 % ZeCon"; at the ends only one of them is seen.
export function described(divider, source, result) {
  const share = Math.round(100 * divider);
  if (share === 0) return `${result} alone`;
  if (share === 100) return `${source} alone`;
  return `left ${share} % ${source}, right ${100 - share} % ${result}`;
}

// ---------------------------------------------------------------- the page

const BEFORE_AFTER = `
  <div class="zlw-controls">
    <label data-part="which">Result <select data-testid="choice"></select></label>
  </div>
  <div class="zlw-titles" aria-hidden="true"><span data-part="left"></span><span data-part="right"></span></div>
  <div class="zlw-stack" data-testid="pictures">
    <canvas data-testid="result" role="img"></canvas>
    <canvas data-testid="source" role="img"></canvas>
    <div class="zlw-line" aria-hidden="true"><span>◂▸</span></div>
  </div>
  <label class="zlw-divider">Divider <input type="range" min="0" max="100" step="1" data-testid="divider"></label>
  <p class="zlw-told" data-testid="readout"></p>
  <p class="zlw-hint">Drag across the pictures, or move the divider with the arrow keys.</p>`;

function render({ model, el }) {
  const root = made("div", "zlw zlw-before-after", "before-after", BEFORE_AFTER);
  const [pictures, source, result, slider, choice, readout] =
    ["pictures", "source", "result", "divider", "choice", "readout"].map((name) => hook(root, name));
  let sheet = null;

  // A shorter list of results comes before the choice that fits it.
  const resultNow = () => Math.max(0, Math.min(model.get("result"), model.get("names").length - 1));

  const set = (name, value) => change(model, name, value);

  const load = loading(() => [model.get("sheet")], (found) => {
    sheet = found;
    draw();
  });

  function build() {
    const names = model.get("names");
    choice.replaceChildren(...names.map((name, k) => new Option(name, k)));
    part(root, "which").hidden = names.length < 2;
    draw();
  }

  function draw() {
    if (!sheet) return;
    const [cell, across, k] = [model.get("cell"), model.get("across"), resultNow()];
    show(source, sheet, 0, across, cell);
    show(result, sheet, 1 + k, across, cell);
    source.setAttribute("aria-label", model.get("source_name"));
    result.setAttribute("aria-label", model.get("names")[k]);
    choice.value = k;
    divide();
    root.dataset.ready = "true";
  }

  function divide() {
    const [divider, before, after] = [model.get("divider"), model.get("source_name"), model.get("names")[resultNow()]];
    const text = described(divider, before, after);
    pictures.style.setProperty("--zlw-at", `${100 * divider}%`);
    slider.value = 100 * divider;
    slider.setAttribute("aria-valuetext", text);
    part(root, "left").textContent = before;
    part(root, "right").textContent = after;
    readout.textContent = text[0].toUpperCase() + text.slice(1);
    Object.assign(readout.dataset, { divider, result: resultNow() });
  }

  const point = (event) => {
    if (event.buttons !== 1) return;
    set("divider", fractionAt(event.clientX, pictures.getBoundingClientRect()));
  };
  pictures.addEventListener("pointerdown", (event) => {
    event.preventDefault(); // else the pictures would be dragged, or text chosen
    pictures.setPointerCapture(event.pointerId); // the divider follows beyond the edge
    slider.focus({ preventScroll: true }); // so that the arrow keys go on from here
    point(event);
  });
  pictures.addEventListener("pointermove", point);
  slider.addEventListener("input", () => set("divider", slider.value / 100));
  choice.addEventListener("change", () => set("result", Number(choice.value)));

  const silence = listening(model, {
    "change:divider": divide, "change:result": draw, "change:cell": draw, "change:source_name": draw,
    "change:names": build, "change:sheet": load,
  });

  build();
  load();
  el.appendChild(root);
  return silence;
}

export default { render };
