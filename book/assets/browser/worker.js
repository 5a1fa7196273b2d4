"use strict";
/* Runs ZeCon beside the page, so that the page stays awake. Messages in: {load: engine}, {start: settings}, {stop},
   {resume}. The engine is "webgpu", "wasm" or nothing: then the graphics card is taken where the browser offers one. */
importScripts("zecon.js");

const SCRIPTS = { webgpu: "ort.jspi.min.js", wasm: "ort.wasm.min.js" };

let networks, manifest, engine, settings, steps = null, stopped = false;

async function read(name) {
  postMessage({ reading: name });
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} could not be read (${response.status})`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  postMessage({ read: name, bytes: bytes.length });
  return bytes;
}

/** The graphics card, if the browser offers a real one and can wait for it inside WebAssembly, else the processor. */
async function chosen(wanted) {
  if (wanted === "wasm" || !("Suspending" in WebAssembly)) return "wasm";
  const card = await navigator.gpu?.requestAdapter().catch(() => null);
  return card && (wanted === "webgpu" || !card.info.isFallbackAdapter) ? "webgpu" : "wasm";
}

async function load(on) {
  engine = on;
  importScripts(`../vendor/ort/${SCRIPTS[engine]}`);
  ort.env.wasm.wasmPaths = new URL("../vendor/ort/", self.location.href).href;
  ort.env.wasm.numThreads = 1; // more need headers that a plain web server does not send
  ort.env.logLevel = "error";
  manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
  postMessage({ reading: "the program that runs the networks" });
  networks = await zecon.loadNetworks(ort, manifest, read, engine);
}

/** Does something; what fails on the graphics card is done again on the processor, from the start. */
async function carried(action, again) {
  try {
    await action();
  } catch (error) {
    if (engine !== "webgpu") throw error;
    steps = null;
    try {
      await load("wasm");
    } catch (failure) {
      engine = "webgpu"; // so that the next failure tries the processor again
      throw failure;
    }
    postMessage({ engine, reason: String(error.message || error) });
    if (again) await again();
  }
}

async function begin(wanted) {
  const on = await chosen(wanted);
  postMessage({ engine: on });
  await carried(() => load(on));
  postMessage({ loaded: manifest });
}

/** Every picture of a run: first the way up, then the guided steps. */
async function* run({ source, prompt, sourcePrompt, skip, weights, seed }) {
  const { recipe, schedule } = manifest, random = zecon.randomSource(seed);
  const first = schedule.timesteps.length - skip - 1;
  const texts = { prompt: await networks.text(prompt), source: await networks.text(sourcePrompt) };
  let x = source, done = 0;
  const all = 2 * first + 1;
  for await (x of zecon.invert(networks, schedule, source, first)) yield { phase: "inverting", done: ++done, all };
  const positions = Array.from({ length: first + 1 }, (_, k) => first - k);
  const changed = { ...recipe, weights: recipe.names.map((name, k) => weights[name] ?? recipe.weights[k]) };
  for await (const step of zecon.sample(networks, schedule, changed, x, positions, source, texts, random)) {
    if (!step.x.every(Number.isFinite)) throw new Error("a step returned something that is no number");
    const last = step.i === 0;
    yield { phase: "guiding", done: ++done, all, picture: last ? step.x : step.x0, losses: step.losses, last };
  }
}

/** Takes steps until there are none or the reader stops; a stopped run goes on where it was. Always tells the end. */
async function go() {
  while (steps && !stopped) {
    const { value, done } = await steps.next();
    if (done || value.last) steps = null; // a Stop that comes now finds nothing left to stop
    if (value) postMessage({ step: value });
    await new Promise((resolve) => setTimeout(resolve)); // let a message in
  }
  postMessage(steps ? { stopped: true } : { ended: true });
}

const start = () => { steps = run(settings); return go(); };

onmessage = async ({ data }) => {
  // Forgotten here and not in `go`: a Stop that comes while another engine is loaded holds for the run that follows.
  if (data.start || data.resume) stopped = false;
  try {
    if ("load" in data) await begin(data.load);
    if (data.start) { settings = data.start; await carried(start, start); }
    if (data.stop) stopped = true;
    if (data.resume) await carried(go, start);
  } catch (error) {
    steps = null;
    postMessage({ failed: String(error.message || error) });
  }
};
