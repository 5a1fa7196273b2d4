"use strict";
/* ZeCon between a photograph and a result, in plain JavaScript: the package's samplers.py, augment.py and recipe, line by
   line. The networks, and the gradient through them, are three ONNX graphs; everything else is here.

   Pictures are Float32Array(3 * S * S) in [-1, 1], channel by channel; `i` is a position in the schedule. */
const zecon = (() => {
  const MAX_ANGLE = 15, MAX_SHIFT = 0.1, MAX_TILT = 0.35; // degrees; parts of the view's side
  const REACH = 0.55; // how far, in strengths, a push may move the next picture (guidance.py)

  // ------------------------------------------------------------------------------------------------- random numbers

  /** A source of random numbers from a seed. (Not torch's: the same seed gives another picture than in Python.) */
  function randomSource(seed) {
    let state = seed >>> 0;
    const next = () => { // mulberry32
      state = (state + 0x6d2b79f5) >>> 0;
      let t = Math.imul(state ^ (state >>> 15), 1 | state);
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
      return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
    };
    return {
      uniform: (n) => Float64Array.from({ length: n }, next),
      normal: (n) => Float32Array.from({ length: n }, () => Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())),
      permutation: (n) => {
        const order = Int32Array.from({ length: n }, (_, k) => k);
        for (let k = n - 1; k > 0; k--) {
          const other = Math.floor(next() * (k + 1));
          [order[k], order[other]] = [order[other], order[k]];
        }
        return order;
      },
    };
  }

  const between = (random, low, high, n) => random.uniform(n).map((u) => low + (high - low) * u);

  // ---------------------------------------------------------------------------------------------- views (augment.py)

  /** Boxes [x0, y0, x1, y1] that cover the picture evenly: one quadrant after the other, and almost all of it. */
  function quadrantBoxes(n, side, area, random) {
    const quadrant = [[-0.5, -0.5], [0.5, -0.5], [-0.5, 0.5], [0.5, 0.5]];
    const centre = between(random, -0.2, 0.2, 2 * n);
    const extent = between(random, Math.sqrt(area[0]), Math.sqrt(area[1]), n);
    extent[n - 1] = between(random, 0.9, 1, 1)[0];
    return Array.from({ length: n }, (_, k) => {
      const length = extent[k] * side;
      const low = [0, 1].map((d) => {
        const at = k === n - 1 ? 0 : quadrant[k % 4][d] + centre[2 * k + d];
        return Math.min(Math.max(((at + 1) / 2) * side - length / 2, 0), side - length);
      });
      return [...low, ...low.map((edge) => edge + Math.max(length - 1, 0))];
    });
  }

  /** Moves points back from a view turned by `angle` degrees about its centre and then shifted down. */
  function affineMatrix(angle, shift, side) {
    const centre = (side - 1) / 2, down = (shift * side) / (side - 1);
    const cos = Math.cos((angle * Math.PI) / 180), sin = Math.sin((angle * Math.PI) / 180);
    return [
      [cos, sin, centre - cos * centre - sin * (centre + down)],
      [-sin, cos, centre + sin * centre - cos * (centre + down)],
      [0, 0, 1],
    ];
  }

  /** Moves points back from a view whose corners were dragged to `corners`: eight unknowns, eight equations. */
  function perspectiveMatrix(corners, side) {
    const home = [[0, 0], [1, 0], [1, 1], [0, 1]].map((c) => c.map((v) => v * (side - 1)));
    const rows = [
      ...corners.map(([x, y], k) => [x, y, 1, 0, 0, 0, -home[k][0] * x, -home[k][0] * y, home[k][0]]),
      ...corners.map(([x, y], k) => [0, 0, 0, x, y, 1, -home[k][1] * x, -home[k][1] * y, home[k][1]]),
    ];
    const m = [...solve(rows), 1], stretch = side / (side - 1);
    const last = m.slice(6);
    return [0, 3].map((at) => last.map((w, k) => stretch * m[at + k] - 0.5 * w)).concat([last]);
  }

  /** The solution of linear equations, rows with the right side last (Gauss, with the largest pivot). */
  function solve(rows) {
    const n = rows.length;
    for (let c = 0; c < n; c++) {
      let best = c;
      for (let r = c + 1; r < n; r++) if (Math.abs(rows[r][c]) > Math.abs(rows[best][c])) best = r;
      [rows[c], rows[best]] = [rows[best], rows[c]];
      for (let r = 0; r < n; r++) {
        if (r === c) continue;
        const factor = rows[r][c] / rows[c][c];
        for (let k = c; k <= n; k++) rows[r][k] -= factor * rows[c][k];
      }
    }
    return rows.map((row, k) => row[n] / row[k]);
  }

  function move([x, y], m) {
    const [u, v, w] = m.map((row) => row[0] * x + row[1] * y + row[2]);
    return [u / w, v / w];
  }

  const clamp = (v, low, high) => Math.min(Math.max(v, low), high);

  /** Where each pixel of `count` random views comes from: four pixels of the picture, their shares, and what lies inside. */
  function views({ count, area, jitter }, side, random) {
    const boxes = quadrantBoxes(count, side, area, random);
    const angle = between(random, -MAX_ANGLE, MAX_ANGLE, count), shift = between(random, -MAX_SHIFT, MAX_SHIFT, count);
    const inward = between(random, 0, MAX_TILT, 8 * count);
    const signs = [[1, 1], [-1, 1], [-1, -1], [1, -1]], home = [[0, 0], [1, 0], [1, 1], [0, 1]];
    const pixels = side * side, index = new BigInt64Array(4 * count * pixels);
    const share = new Float32Array(4 * count * pixels), inside = new Float32Array(count * pixels);
    for (let v = 0; v < count; v++) {
      const turn = affineMatrix(jitter * angle[v], jitter * shift[v] * side, side);
      const corners = home.map((c, k) => c.map((at, d) => at * (side - 1) + signs[k][d] * jitter * inward[8 * v + 2 * k + d] * side));
      const tilt = perspectiveMatrix(corners, side);
      for (let p = 0; p < pixels; p++) {
        let point = move([p % side, Math.floor(p / side)], tilt);
        inside[v * pixels + p] = point.reduce((all, at) => all * clamp(at + 1, 0, 1) * clamp(side - at, 0, 1), 1);
        point = move(point.map((at) => clamp(at, 0, side - 1)), turn).map((at) => clamp(at, 0, side - 1));
        const [x, y] = point.map((at, d) => clamp(boxes[v][d] + (at * (boxes[v][d + 2] - boxes[v][d])) / (side - 1), 0, side - 1));
        const left = Math.floor(x), top = Math.floor(y), right = Math.min(left + 1, side - 1), under = Math.min(top + 1, side - 1);
        const at = 4 * (v * pixels + p), fx = x - left, fy = y - top;
        [[left, top, (1 - fx) * (1 - fy)], [right, top, fx * (1 - fy)], [left, under, (1 - fx) * fy], [right, under, fx * fy]]
          .forEach(([px, py, part], k) => { index[at + k] = BigInt(py * side + px); share[at + k] = part; });
      }
    }
    return { index, share, inside };
  }

  // ------------------------------------------------------------------------------------------- samplers (samplers.py)

  const mix = (a, x, b, y) => x.map((v, k) => a * v + b * y[k]);

  /** The noisy picture at position `upto` from which deterministic DDIM leads back: each step climbs one position. */
  async function* invert(networks, schedule, x0, upto) {
    let x = x0;
    for (let i = 0; i < upto; i++) {
      const p = await networks.predict(x, schedule.timesteps[i], schedule.alphas_cumprod[i]);
      const next = schedule.alphas_cumprod[i + 1];
      x = mix(Math.sqrt(next), p.x0, Math.sqrt(1 - next), p.eps);
      yield x;
    }
  }

  /** alpha_bar of the position before `i`; before the first there is no noise. */
  const before = (schedule, i) => (i > 0 ? schedule.alphas_cumprod[i - 1] : 1);

  /** One DDIM step without fresh noise; guidance shifts eps by sqrt(1 - a) times the gradient. */
  function ddimStep(schedule, x, i, p, grad) {
    const a = schedule.alphas_cumprod[i], previous = before(schedule, i);
    const eps = mix(1, p.eps, Math.sqrt(1 - a), grad);
    const x0 = mix(1 / Math.sqrt(a), x, -Math.sqrt(1 / a - 1), eps);
    return mix(Math.sqrt(previous), x0, Math.sqrt(1 - previous), eps);
  }

  /** The gradient scaled so that it moves the predicted noise by `strength`, less in long steps (Guidance.gradient). */
  function scaled(grad, strength, a, previous) {
    const carried = Math.sqrt(previous) * Math.sqrt((1 - a) / a) - Math.sqrt(1 - previous);
    strength *= Math.min(1, REACH / carried);
    const rms = Math.max(Math.sqrt(grad.reduce((sum, g) => sum + g * g, 0) / grad.length), 1e-12);
    return grad.map((g) => (g * (strength / Math.sqrt(1 - a))) / rms);
  }

  /** Walks through the positions, yielding each step: {i, x, x0, losses}. The caller owns the loop, and may stop it. */
  async function* sample(networks, schedule, recipe, x, positions, source, texts, random) {
    for (const i of positions) {
      random.normal(x.length); // the step's fresh noise: drawn as the package does, and unused by deterministic DDIM
      const a = schedule.alphas_cumprod[i], previous = before(schedule, i);
      const noise = random.normal(x.length);
      const looks = [0, 1].map(() => views(recipe.views, recipe.size, random));
      const places = recipe.maps.map((n) => random.permutation(n).slice(0, Math.min(n, recipe.patches)));
      const weights = recipe.weights.map((weight, k) => weight * recipe.course[i][k]);
      const p = await networks.guided({ x, source, noise, t: schedule.timesteps[i], a, looks, places, texts, weights });
      x = ddimStep(schedule, x, i, p, scaled(p.grad, recipe.strength, a, previous));
      yield { i, x, x0: p.x0, losses: p.losses };
    }
  }

  // -------------------------------------------------------------------------------------------------------- the words

  const words = (text) => text.toLowerCase().match(/[a-z0-9]+/g) || [];

  /** A text as numbers for the bundled CLIP: 0 pads, then the vocabulary, then unknown, start and end. */
  function tokens(text, vocabulary, length) {
    const unknown = vocabulary.length + 1, ids = new BigInt64Array(length);
    const body = words(text).map((word) => vocabulary.indexOf(word) + 1 || unknown).slice(0, length - 2);
    [unknown + 1, ...body, unknown + 2].forEach((id, k) => { ids[k] = BigInt(id); });
    return ids;
  }

  const unknownWords = (text, vocabulary) => words(text).filter((word) => !vocabulary.includes(word));

  // ----------------------------------------------------------------------------------------------------- the networks

  /** The three graphs behind plain functions. ort: onnxruntime-web; read(name): the bytes of a file, as a Uint8Array;
      engine: "wasm" or "webgpu". */
  async function loadNetworks(ort, manifest, read, engine) {
    const externalData = [{ path: manifest.weights, data: await read(manifest.weights) }];
    const open = async (name) => ort.InferenceSession.create(await read(name), { executionProviders: [engine], externalData });
    const [climb, guided, reader] = [await open("climb.onnx"), await open("guided.onnx"), await open("text.onnx")];
    const { size, views: { count } } = manifest.recipe;
    const float = (data, ...shape) => new ort.Tensor("float32", data, shape);
    const number = (value) => float(Float32Array.of(value));
    const picture = (data) => float(data, 1, 3, size, size);
    const both = (Kind, parts) => { // one array after another
      const all = new Kind(parts.reduce((sum, part) => sum + part.length, 0));
      parts.reduce((at, part) => (all.set(part, at), at + part.length), 0);
      return all;
    };
    return {
      async predict(x, t, a) {
        const out = await climb.run({ in_x: picture(x), in_t: float(Float32Array.of(t), 1), in_a: number(a) });
        return { x0: out.out_x0.data, eps: out.out_eps.data };
      },
      async guided({ x, source, noise, t, a, looks, places, texts, weights }) {
        const index = both(BigInt64Array, looks.map((l) => l.index)), share = both(Float32Array, looks.map((l) => l.share));
        const at = BigInt64Array.from(places.flatMap((p) => Array.from(p, BigInt)));
        const out = await guided.run({
          in_x: picture(x), in_source: picture(source), in_noise: picture(noise), in_t: float(Float32Array.of(t), 1), in_a: number(a),
          in_pixels: new ort.Tensor("int64", index, [2, index.length / 2]), in_share: float(share, 2, share.length / 2),
          in_inside: float(both(Float32Array, looks.map((l) => l.inside)), 2, count, 1, size, size),
          in_places: new ort.Tensor("int64", at, [at.length]), in_text: texts.prompt, in_source_text: texts.source,
          in_weights: float(Float32Array.from(weights), weights.length),
        });
        return { x0: out.out_x0.data, eps: out.out_eps.data, grad: out.out_grad.data, losses: Array.from(out.out_losses.data) };
      },
      async text(prompt) {
        const ids = tokens(prompt, manifest.vocabulary, manifest.context_length);
        return (await reader.run({ in_tokens: new ort.Tensor("int64", ids, [1, ids.length]) })).out_embedding;
      },
    };
  }

  return { randomSource, views, invert, ddimStep, sample, words, tokens, unknownWords, loadNetworks };
})();
if (typeof module !== "undefined") module.exports = zecon;
