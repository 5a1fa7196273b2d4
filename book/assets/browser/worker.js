"use strict";
/* Runs ZeCon beside the page, so that the page stays awake. Messages in: {load}, {start: settings}, {stop}, {resume}. */
importScripts("../vendor/ort/ort.wasm.min.js", "zecon.js");

let networks, manifest, steps = null, stopped = false;

async function read(name) {
  const response = await fetch(name);
  if (!response.ok) throw new Error(`${name} could not be read (${response.status})`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  postMessage({ read: name, bytes: bytes.length });
  return bytes;
}

async function load() {
  ort.env.wasm.wasmPaths = new URL("../vendor/ort/", self.location.href).href;
  ort.env.wasm.numThreads = 1; // more need headers that a plain web server does not send
  manifest = JSON.parse(new TextDecoder().decode(await read("manifest.json")));
  networks = await zecon.loadNetworks(ort, manifest, read);
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
    const last = step.i === 0;
    yield { phase: "guiding", done: ++done, all, picture: last ? step.x : step.x0, losses: step.losses, last };
  }
}

/** Takes steps until there are none or the reader stops; a stopped run goes on where it was. */
async function go() {
  stopped = false;
  while (steps && !stopped) {
    const { value, done } = await steps.next();
    if (done) { steps = null; break; }
    postMessage({ step: value });
    await new Promise((resolve) => setTimeout(resolve)); // let a message in
  }
  if (steps) postMessage({ stopped: true });
}

onmessage = async ({ data }) => {
  try {
    if (data.load) await load();
    if (data.start) { steps = run(data.start); await go(); }
    if (data.stop) stopped = true;
    if (data.resume) await go();
  } catch (error) {
    steps = null;
    postMessage({ failed: String(error.message || error) });
  }
};
