// The worker's loop without networks: a run ends, stops and goes on. Run by tests/test_browser_page.py, or:
// node --test tests/js
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import vm from "node:vm";

const code = readFileSync(new URL("../../book/assets/browser/worker.js", import.meta.url), "utf-8");
const manifest = { recipe: { names: [], weights: [] }, schedule: { timesteps: [0, 1, 2] } };
const settings = { source: [0], prompt: "", sourcePrompt: "", skip: 0, weights: {}, seed: 0 }; // two passes, three steps

// A worker whose networks say nothing; `before(i)` is called as each guided step begins, `opening(engine)` as one loads.
function worker({ before = () => {}, opening = () => {}, card = false }) {
  const told = [];
  const zecon = {
    randomSource: () => null,
    async loadNetworks(ort, manifest, read, engine) {
      await opening(engine);
      return { text: async () => null };
    },
    async *invert(networks, schedule, x, upto) { for (let i = 0; i < upto; i++) yield x; },
    async *sample(networks, schedule, recipe, x, positions) {
      for (const i of positions) {
        await before(i);
        yield { i, x, x0: x, losses: [] };
      }
    },
  };
  const gpu = { requestAdapter: async () => ({ info: { isFallbackAdapter: false } }) };
  const scope = {
    zecon, setTimeout, TextDecoder, URL, Uint8Array, ort: { env: { wasm: {} } }, self: { location: { href: "http://a/b/c" } },
    importScripts() {}, WebAssembly: { Suspending: true }, navigator: card ? { gpu } : {}, postMessage: (message) => told.push(message),
    fetch: async () => ({ ok: true, arrayBuffer: async () => new TextEncoder().encode(JSON.stringify(manifest)).buffer }),
  };
  vm.runInNewContext(code, scope);
  return { told, send: (data) => scope.onmessage({ data }), steps: () => told.filter(({ step }) => step).length };
}

test("a run tells every step and then its end", async () => {
  const { told, send, steps } = worker({});
  await send({ load: null });
  await send({ start: settings });
  assert.equal(steps(), 5);
  assert.deepEqual([told.at(-2).step.last, { ...told.at(-1) }], [true, { ended: true }]);
});

test("a stop during the last step comes too late, and a resume after it still tells an end", async () => {
  const { told, send, steps } = worker({ before: (i) => i === 0 && send({ stop: true }) });
  await send({ load: null });
  await send({ start: settings });
  assert.deepEqual([told.at(-2).step.last, { ...told.at(-1) }], [true, { ended: true }]);
  told.length = 0;
  await send({ resume: true });
  assert.deepEqual([steps(), { ...told.at(-1) }], [0, { ended: true }]);
});

test("a stopped run goes on where it was", async () => {
  const { told, send, steps } = worker({ before: (i) => i === 2 && send({ stop: true }) });
  await send({ load: null });
  await send({ start: settings });
  assert.deepEqual([steps(), { ...told.at(-1) }], [3, { stopped: true }]);
  await send({ resume: true });
  assert.deepEqual([steps(), { ...told.at(-1) }], [5, { ended: true }]);
});

test("a stop while the processor takes over from the graphics card is not forgotten", async () => {
  let lost = true;
  const { told, send, steps } = worker({
    card: true,
    before() { if (lost) throw new Error("the device was lost"); },
    async opening(engine) { if (engine === "wasm") { lost = false; await send({ stop: true }); } },
  });
  await send({ load: null });
  await send({ start: settings });
  assert.deepEqual([steps(), { ...told.at(-1) }], [2, { stopped: true }]); // the way up, on the card
  await send({ resume: true });
  assert.deepEqual([steps(), { ...told.at(-1) }], [7, { ended: true }]);
});

test("the processor may take over later, where its files could not be read at first", async () => {
  let away = true;
  const { told, send } = worker({
    card: true,
    before() { if (away !== null) throw new Error("the device was lost"); },
    async opening(engine) {
      if (engine === "wasm" && away) { away = false; throw new Error("offline"); }
      if (engine === "wasm") away = null;
    },
  });
  await send({ load: null });
  await send({ start: settings });
  assert.match(told.at(-1).failed, /offline/);
  told.length = 0;
  await send({ start: settings });
  assert.deepEqual({ ...told.at(-1) }, { ended: true });
});
