"use strict";
/* The page around the worker: choose a picture, say what it should become, watch, compare, keep the result. */
(() => {
  const root = document.getElementById("zecon-browser");
  if (!root) return;
  const base = new URL(root.dataset.files, document.baseURI).href;
  const $ = (name) => root.querySelector(`[data-part="${name}"]`);
  const PLACES = { webgpu: "on your graphics card", wasm: "on your processor" };
  let worker, manifest, source = null, result = null, running = false, paused = false;

  const say = (text) => { $("status").textContent = text; };
  const draw = (canvas, pixels) => {
    const side = manifest.recipe.size, image = new ImageData(side, side), plane = side * side;
    for (let p = 0; p < plane; p++) {
      for (let c = 0; c < 3; c++) image.data[4 * p + c] = Math.round((Math.min(Math.max(pixels[c * plane + p], -1), 1) + 1) * 127.5);
      image.data[4 * p + 3] = 255;
    }
    canvas.width = canvas.height = side;
    canvas.getContext("2d").putImageData(image, 0, 0);
  };

  /** The middle square of a picture at the network's size, in [-1, 1]. */
  function fitted(bitmap) {
    const side = manifest.recipe.size, square = Math.min(bitmap.width, bitmap.height);
    const canvas = new OffscreenCanvas(side, side), context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff";
    context.fillRect(0, 0, side, side);
    context.drawImage(bitmap, (bitmap.width - square) / 2, (bitmap.height - square) / 2, square, square, 0, 0, side, side);
    const { data } = context.getImageData(0, 0, side, side), plane = side * side;
    return Float32Array.from({ length: 3 * plane }, (_, k) => data[4 * (k % plane) + Math.floor(k / plane)] / 127.5 - 1);
  }

  async function take(blob, name) {
    try {
      source = fitted(await createImageBitmap(blob));
    } catch {
      return say(`${name} could not be read as a picture: take a PNG, JPEG or WebP file.`);
    }
    result = null;
    draw($("before"), source);
    draw($("after"), source);
    $("download").disabled = true;
    say(`${name}, cut to a square of ${manifest.recipe.size} pixels. Ready.`);
    buttons();
  }

  function buttons() {
    $("run").disabled = !source || running;
    $("stop").disabled = !running;
    $("resume").disabled = !paused || running;
  }

  function loaded(found) {
    manifest = found;
    $("load").hidden = true;
    $("work").hidden = false;
    for (const { name, file } of manifest.pictures) {
      const button = document.createElement("button"), image = document.createElement("img");
      image.src = base + file;
      image.alt = name;
      image.width = image.height = manifest.recipe.size;
      button.type = "button";
      button.append(image);
      button.onclick = async () => take(await (await fetch(base + file)).blob(), name);
      $("pictures").append(button);
    }
    for (const prompt of manifest.prompts) $("prompts").append(new Option(prompt));
    $("prompt").value = manifest.prompts[0];
    $("skip").max = manifest.schedule.timesteps.length - 2;
    $("skip").value = manifest.recipe.skip;
    const weight = manifest.recipe.weights[manifest.recipe.names.indexOf("zecon")];
    $("weight").dataset.unit = weight;
    sliders();
    $("pictures").firstChild.click();
  }

  function sliders() {
    $("skip-value").textContent = `${manifest.schedule.timesteps.length - $("skip").value} of ${manifest.schedule.timesteps.length} steps`;
    $("weight-value").textContent = `${(10 ** $("weight").value).toPrecision(2)} times the recipe's`;
  }

  function start() {
    const prompt = $("prompt").value.trim(), strange = zecon.unknownWords(prompt, manifest.vocabulary);
    if (!prompt) return say("Say what the picture should become, such as: a pencil sketch.");
    if (strange.length) say(`The bundled CLIP does not know: ${strange.join(", ")}. It reads them as one unknown word.`);
    running = true;
    paused = false;
    const weights = { zecon: Number($("weight").dataset.unit) * 10 ** $("weight").value };
    worker.postMessage({ start: { source, prompt, sourcePrompt: "photo", skip: Number($("skip").value), weights, seed: Number($("seed").value) || 0 } });
    buttons();
  }

  function received({ data }) {
    if (data.read) say(`Loading: ${data.read}, ${(data.bytes / 1e6).toFixed(1)} MB`);
    if (data.engine) $("engine").textContent = `Runs ${PLACES[data.engine]}${data.reason ? ", for the graphics card gave up" : ""}.`;
    if (data.reason) console.info(data.reason);
    if (data.loaded) loaded(data.loaded);
    if (data.step) {
      const { phase, done, all, picture, losses, last } = data.step;
      $("progress").max = all;
      $("progress").value = done;
      if (picture) draw($("after"), picture);
      if (losses) $("losses").textContent = manifest.recipe.names.map((name, k) => `${name}\u00a0${losses[k].toPrecision(2)}`).join(", ");
      say(last ? "Done. Move the slider to compare." : `${phase}: step ${done} of ${all}`);
      if (last) { running = false; result = picture; $("download").disabled = false; }
    }
    if (data.stopped) { running = false; paused = true; say("Stopped. Resume goes on from here."); }
    if (data.failed) { running = false; say(`That did not work: ${data.failed}`); }
    buttons();
  }

  $("load").onclick = () => {
    $("load").disabled = true;
    say("Loading the networks ...");
    const failed = () => say("The networks cannot be loaded from a folder: serve the book, for instance with python -m http.server in its folder, and open it there.");
    const script = document.createElement("script"); // the words are checked here, the work is done in the worker
    script.src = `${base}zecon.js`;
    script.onerror = failed;
    script.onload = () => {
      try {
        worker = new Worker(`${base}worker.js`);
      } catch {
        return failed();
      }
      worker.onmessage = received;
      worker.onerror = failed;
      worker.postMessage({ load: new URLSearchParams(location.search).get("engine") });
    };
    document.head.append(script);
  };
  $("file").onchange = ({ target }) => target.files.length && take(target.files[0], target.files[0].name);
  root.ondragover = (event) => event.preventDefault();
  root.ondrop = (event) => {
    event.preventDefault();
    if (manifest && event.dataTransfer.files.length) take(event.dataTransfer.files[0], event.dataTransfer.files[0].name);
  };
  $("skip").oninput = $("weight").oninput = sliders;
  $("run").onclick = start;
  $("stop").onclick = () => worker.postMessage({ stop: true });
  $("resume").onclick = () => { running = true; paused = false; buttons(); worker.postMessage({ resume: true }); };
  $("compare").oninput = () => $("after").style.setProperty("--shown", `${$("compare").value}%`);
  $("download").onclick = () => $("after").toBlob((blob) => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${$("prompt").value.trim().replace(/\W+/g, "-")}.png`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
})();
