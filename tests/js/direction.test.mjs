// The direction explorer's arithmetic, without a page. Run by tests/test_widget_direction.py, or: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./charts.mjs";

const direction = await load("direction");

const near = (found, wanted, tolerance = 1e-9) =>
  assert.ok(Math.abs(found - wanted) <= tolerance, `${found} is not ${wanted}`);
const allNear = (found, wanted, tolerance) => wanted.forEach((value, k) => near(found[k], value, tolerance));

test("vectors are read behind any byte offset", () => {
  const stored = new Uint8Array(3 + 16);
  [1, -2, 0.5, 8].forEach((value, k) => new DataView(stored.buffer).setFloat32(3 + 4 * k, value, true));
  assert.deepEqual(direction.vectors(new DataView(stored.buffer, 3), 2), [[1, -2], [0.5, 8]]);
});

test("the losses are those of the formulas", () => {
  near(direction.cosine([2, 0], [3, 3]), Math.SQRT1_2);
  near(direction.clipDistance([5, 0], [0, 0.1]), (Math.PI / 2) ** 2 / 2);
  near(direction.clipDistance([1, 0], [-1, 0]), Math.PI ** 2 / 2);
  near(direction.clipDirection([0, 4], [0, 1]), 0);
  near(direction.clipDirection([0, -4], [0, 1]), 2);
  near(direction.clipDirection([0, 0], [0, 1]), 1); // no change, no direction
});

test("the main component is the direction in which the vectors are longest together", () => {
  const all = [[0, 3, 0.1], [0, -1, 0], [0, 2, -0.1], [0, 0, 0.5]];
  const found = direction.mainComponent(all);
  near(Math.hypot(...found), 1);
  assert.ok(found[1] > 0.99, String(found)); // with the sign in which they point together
  const along = (axis) => all.reduce((sum, v) => sum + direction.dot(v, axis) ** 2, 0);
  for (let k = 0; k < 60; k++) {
    const turn = (k * Math.PI) / 60;
    assert.ok(along(found) >= along([0, Math.cos(turn), Math.sin(turn)]) - 1e-9);
  }
});

test("there is no main component of nothing, and one of a single vector or of opposite ones", () => {
  assert.deepEqual(direction.mainComponent([[0, 0], [0, 0]]), [0, 0]);
  allNear(direction.mainComponent([[3, 4]]), [0.6, 0.8]);
  const [x, y] = direction.mainComponent([[1, 1], [-1, -1]]);
  near(Math.abs(x), Math.SQRT1_2);
  near(x, y);
});

test("the plane holds the text's direction and everything is projected onto it", () => {
  const changes = [[1, 2, 0, 0], [0, 4, 0.2, 0], [1, 0, 0, 0.1]];
  const plane = direction.planeOf([2, 0, 0, 0], changes);
  allNear(plane.right, [1, 0, 0, 0]);
  near(direction.dot(plane.right, plane.up), 0);
  near(direction.dot(plane.up, plane.up), 1);
  near(direction.project([3, 0, 0, 0], plane)[0], 3);
  const [x, y] = direction.project(changes[0], plane);
  near(x, 1);
  near(y, 2, 0.01);
});

test("the share in the plane is that of squared lengths", () => {
  const plane = { right: [1, 0, 0], up: [0, 1, 0] };
  near(direction.shareIn([[1, 1, Math.SQRT2]], plane), 0.5);
  near(direction.shareIn([[3, 0, 0], [0, 0, 1]], plane), 0.9);
  near(direction.shareIn([[0, 0, 0]], plane), 0);
});

test("changes are taken between unit vectors or between the embeddings themselves", () => {
  const stored = new DataView(new Float32Array([1, 0, 0, 1, 1, 0, 0, 1]).buffer); // "photo", a prompt, source, result
  const traits = { rows: stored, lengths: [2, 3, 4, 5], width: 2, prompts: ["a"] };
  const [unit, whole] = [true, false].map((unit) => direction.changesOf({ ...traits, unit }));
  assert.deepEqual([unit.wanted, unit.moved], [[[-1, 1]], [[-1, 1]]]);
  assert.deepEqual([whole.wanted, whole.moved], [[[-2, 3]], [[-4, 5]]]);
  assert.deepEqual([whole.texts, whole.images], [[[0, 3]], [[0, 5]]]);
});

test("ranks start at one and ties share the better", () => {
  assert.deepEqual([0, 1, 2].map((k) => direction.rank([0.5, 0.9, 0.5], k)), [2, 1, 2]);
});
