"use strict";
/* The page around the worker: choose a picture, say what it should become, watch, compare, keep the result. */
(() => {
  const root = document.getElementById("zecon-browser");
  if (!root) return;
  const base = new URL(root.dataset.files, document.baseURI).href;
  const $ = (name) => root.querySelector(`[data-part="${name}"]`);
  const PLACES = { webgpu: "on your graphics card", wasm: "on your processor" };
  const SOURCE_PROMPT = "photo";
  const FROM_FOLDER = "The networks cannot be loaded from a folder: serve the book, for instance with python -m http.server in its folder, and open it there.";
  let worker, manifest, source = null, begun = null, running = false, paused = false, reading = false;
  let asked = 0; // pictures that were asked for: only the last one counts, however long each takes to read

  const say = (text) => { $("status").textContent = text; }; // read out: how things stand, not each step
  const note = (text) => { $("note").textContent = text; };
  const count = (text) => { $("step").textContent = text; };
  const draw = (canvas, pixels) => {
    const side = manifest.recipe.size, image = new ImageData(side, side), plane = side * side;
    for (let p = 0; p < plane; p++) {
      for (let c = 0; c < 3; c++) image.data[4 * p + c] = Math.round((Math.min(Math.max(pixels[c * plane + p], -1), 1) + 1) * 127.5);
      image.data[4 * p + 3] = 255;
    }
    canvas.width = canvas.height = side;
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  // ------------------------------------------------------------------------------------------------------- a picture

  /** The middle square of a picture at the network's size, in [-1, 1]. */
  function fitted(bitmap) {
    const side = manifest.recipe.size;
    let from = bitmap, square = Math.min(bitmap.width, bitmap.height);
    let [left, top] = [(bitmap.width - square) / 2, (bitmap.height - square) / 2];
    while (square > 2 * side) { // by halves: in one go some browsers read few pixels for each that they draw
      const half = Math.ceil(square / 2), smaller = new OffscreenCanvas(half, half), pen = smaller.getContext("2d");
      pen.imageSmoothingQuality = "high";
      pen.drawImage(from, left, top, square, square, 0, 0, half, half);
      [from, square, left, top] = [smaller, half, 0, 0];
    }
    const canvas = new OffscreenCanvas(side, side), context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    context.drawImage(from, left, top, square, square, 0, 0, side, side);
    const { data } = context.getImageData(0, 0, side, side), plane = side * side;
    return Float32Array.from({ length: 3 * plane }, (_, k) => data[4 * (k % plane) + Math.floor(k / plane)] / 127.5 - 1);
  }

  /** Reads a picture, a file or an image of the page; a run keeps the picture that it began with. */
  async function take(picture, name) {
    if (running) return note("The run keeps the picture that it began with: stop it first, then choose.");
    const turn = ++asked;
    reading = true; // no run may begin with the picture of before
    say(`Reading ${name} ...`);
    buttons();
    let pixels = null;
    try {
      await picture.decode?.(); // an image of the page may still be on its way
      const bitmap = await createImageBitmap(picture);
      pixels = fitted(bitmap);
      bitmap.close();
    } catch { /* told below */ }
    if (turn !== asked) return;
    reading = false;
    if (pixels) return taken(pixels, picture, name);
    say(`${name} could not be read as a picture: take a PNG, JPEG or WebP file.`);
    buttons();
  }

  function taken(pixels, picture, name) {
    source = pixels;
    paused = false; // what was stopped was a run of another picture
    fresh();
    for (const button of $("pictures").children) button.setAttribute("aria-pressed", button.firstChild === picture);
    say(`${name}, cut to a square of ${manifest.recipe.size} pixels. Ready.`);
    buttons();
  }

  /** Nothing has been made of the source yet. */
  function fresh() {
    draw($("before"), source);
    draw($("after"), source);
    $("download").disabled = true;
    $("progress").value = 0;
    $("losses").textContent = "";
    count("");
    note("");
  }

  function offer({ name, file }) {
    const button = document.createElement("button"), image = document.createElement("img");
    image.src = base + file;
    image.alt = name;
    image.width = image.height = manifest.recipe.size;
    button.type = "button";
    button.setAttribute("aria-pressed", "false");
    button.append(image);
    button.onclick = () => take(image, name);
    $("pictures").append(button);
  }

  // ---------------------------------------------------------------------------------------------------- the controls

  function buttons() {
    const held = [$("run"), $("stop"), $("resume")].includes(document.activeElement);
    $("run").disabled = !source || running || reading;
    $("stop").disabled = !running;
    $("resume").disabled = !paused || running || reading;
    for (const control of [$("file"), ...$("pictures").children]) control.disabled = running;
    // A button that can no longer be pressed passes the focus on: else the reader would be at the top of the page.
    if (held && document.activeElement?.disabled !== false) $(running ? "stop" : paused ? "resume" : "run").focus({ preventScroll: true });
  }

  function sliders() {
    const all = manifest.schedule.timesteps.length;
    const at = Number($("start").value);
    tell("start", `t₀ = ${manifest.schedule.timesteps[at]}, ${at + 1} of ${all} steps`);
    tell("weight", `${(10 ** $("weight").value).toPrecision(2)} times the recipe's`);
  }

  function tell(name, text) {
    $(`${name}-value`).textContent = text;
    $(name).setAttribute("aria-valuetext", text);
  }

  // ----------------------------------------------------------------------------------------------------------- a run

  /** Why a prompt leads nowhere; nothing if it leads somewhere. */
  function refused(text, strange) {
    const words = zecon.words(text);
    if (!text) return "Say what the picture should become, such as: a pencil sketch.";
    if (strange.length === words.length) return "The bundled CLIP knows no word of this prompt: try English ones, such as: a pencil sketch.";
    if (words.join(" ") === SOURCE_PROMPT) return `The picture is taken for a ${SOURCE_PROMPT} already: say what else it should become, such as: a pencil sketch.`;
  }

  /** What the bundled CLIP does not read of a prompt, in sentences. */
  function unread(text, strange) {
    const rest = zecon.words(text).slice(manifest.context_length - 2);
    const told = strange.length ? [`The bundled CLIP does not know: ${strange.join(", ")}. It reads them as one unknown word.`] : [];
    if (rest.length) told.push(`It has no room for so many words, and does not read: ${rest.join(" ")}. Make the prompt shorter.`);
    return told.join(" ");
  }

  /** What the controls ask for. */
  const settings = () => ({
    prompt: $("prompt").value.trim(),
    sourcePrompt: SOURCE_PROMPT,
    skip: manifest.schedule.timesteps.length - 1 - Number($("start").value),
    weights: { zecon: Number($("weight").dataset.unit) * 10 ** $("weight").value },
    seed: Number($("seed").value) || 0,
  });

  function start() {
    const wanted = settings(), strange = zecon.unknownWords(wanted.prompt, manifest.vocabulary);
    const why = refused(wanted.prompt, strange);
    if (why) {
      note("");
      return say(why);
    }
    fresh();
    note(unread(wanted.prompt, strange));
    begun = wanted;
    go({ start: { source, ...wanted } });
  }

  function resume() {
    const changed = JSON.stringify(settings()) !== JSON.stringify(begun);
    if (changed) note("This run goes on as it began. Run takes the controls as they are now.");
    go({ resume: true });
  }

  function go(message) {
    running = true;
    paused = false;
    say("Running ...");
    buttons();
    worker.postMessage(message);
  }

  function stepped({ phase, done, all, picture, losses }) {
    $("progress").max = all;
    $("progress").value = done;
    count(`${phase}: step ${done} of ${all}`);
    if (picture) draw($("after"), picture);
    if (losses) $("losses").textContent = manifest.recipe.names.map((name, k) => `${name}\u00a0${losses[k].toPrecision(2)}`).join(", ");
  }

  /** The run goes on no further: it is done, was stopped, or went wrong. */
  function halted(text) {
    running = false;
    say(text);
    buttons();
  }

  // ------------------------------------------------------------------------------------------------------ the worker

  function received({ data }) {
    if (data.reading) count(`Reading ${data.reading} ...`);
    if (data.read) count(`${data.read}, ${(data.bytes / 1e6).toFixed(1)} MB`);
    if (data.engine) $("engine").textContent = `Runs ${PLACES[data.engine]}${data.reason ? ", for the graphics card gave up" : ""}.`;
    if (data.reason) console.info(data.reason);
    if (data.loaded) loaded(data.loaded);
    if (data.step) stepped(data.step);
    if (data.stopped) { paused = true; halted("Stopped. Resume goes on from here."); }
    if (data.ended) { $("download").disabled = false; halted("Done. Move the slider to compare."); }
    if (data.failed) failed(data.failed);
  }

  function failed(reason) {
    paused = false;
    $("load").disabled = false; // for another try; once loaded, it is hidden
    halted(location.protocol === "file:" ? FROM_FOLDER : `That did not work: ${reason}`);
  }

  function loaded(found) {
    manifest = found;
    const waiting = [$("load"), document.body].includes(document.activeElement); // on nothing else since the click
    $("load").hidden = true;
    $("work").hidden = false;
    manifest.pictures.forEach(offer);
    for (const words of manifest.prompts) $("prompts").append(new Option(words));
    $("prompt").value = manifest.prompts[0];
    $("start").max = manifest.schedule.timesteps.length - 1;
    $("start").value = manifest.schedule.timesteps.length - 1 - manifest.recipe.skip;
    $("weight").dataset.unit = manifest.recipe.weights[manifest.recipe.names.indexOf("zecon")];
    sliders();
    const first = $("pictures").firstChild;
    if (waiting) first.focus({ preventScroll: true });
    $("compare").value = 100; // coming back to a page, a browser sets sliders as they were
    $("compare").oninput();
    first.click();
  }

  /** A script of the book; another try after a failed one asks for it again. */
  const script = (name) => new Promise((resolve, reject) => {
    const element = Object.assign(document.createElement("script"), { src: base + name, onload: resolve });
    element.onerror = () => reject(new Error(`${name} could not be read`));
    document.head.append(element);
  });

  async function load() {
    $("load").disabled = true;
    say("Loading the networks ...");
    try {
      if (typeof zecon === "undefined") await script("zecon.js"); // the words are checked here, the work is done there
      worker?.terminate();
      worker = new Worker(`${base}worker.js`);
    } catch (error) {
      return failed(error.message);
    }
    worker.onmessage = received;
    worker.onerror = ({ message }) => failed(message || "worker.js could not be read");
    worker.postMessage({ load: new URLSearchParams(location.search).get("engine") });
  }

  $("load").onclick = load;
  $("file").onchange = ({ target }) => {
    const [file] = target.files;
    if (file) take(file, file.name);
    target.value = ""; // so that the same file may come again
  };
  const bringsFiles = (event) => event.dataTransfer.types.includes("Files"); // text goes where it is dropped
  root.ondragover = (event) => { if (bringsFiles(event)) event.preventDefault(); };
  root.ondrop = (event) => {
    if (!bringsFiles(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (manifest && file) take(file, file.name);
  };
  $("start").oninput = $("weight").oninput = sliders;
  $("run").onclick = start;
  $("stop").onclick = () => worker.postMessage({ stop: true });
  $("resume").onclick = resume;
  $("compare").oninput = () => $("after").style.setProperty("--shown", `${$("compare").value}%`);
  $("download").onclick = () => $("after").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${begun.prompt.replace(/\W+/g, "-")}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
