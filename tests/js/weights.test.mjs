// The weight explorer's arithmetic, without a page. Run by tests/test_widget_weights.py, or: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./charts.mjs";

const weights = await load("weights");

const axes = [
  { name: "start", values: ["9", "21"], ordered: true },
  { name: "weight", values: ["0", "0.1", "1"], ordered: true },
  { name: "style", values: ["oil", "neon"], ordered: false },
];

test("places are stored in reading order, the last axis fastest", () => {
  assert.equal(weights.indexOf([0, 0, 0], axes), 0);
  assert.equal(weights.indexOf([0, 0, 1], axes), 1);
  assert.equal(weights.indexOf([0, 1, 0], axes), 2);
  assert.equal(weights.indexOf([1, 2, 1], axes), 11);
});

test("keys walk along their own axis and stop at its ends", () => {
  const walk = (at, ...keys) => keys.reduce((place, key) => weights.walked(place, axes, key), at);
  assert.deepEqual(walk([0, 0, 0], "ArrowRight"), [1, 0, 0]);
  assert.deepEqual(walk([0, 0, 0], "ArrowRight", "ArrowRight", "ArrowLeft"), [0, 0, 0]);
  assert.deepEqual(walk([1, 1, 0], "ArrowUp", "ArrowUp", "PageUp"), [1, 2, 1]);
  assert.deepEqual(walk([1, 1, 0], "ArrowDown", "ArrowDown", "PageDown"), [1, 0, 0]);
});

test("a key with Alt, Ctrl or Meta is left to the browser, and one with Shift is not", () => {
  for (const key of ["altKey", "ctrlKey", "metaKey"]) assert.ok(weights.notOurs({ [key]: true }));
  assert.ok(!weights.notOurs({ shiftKey: true, altKey: false, ctrlKey: false, metaKey: false }));
});

test("the chart draws all of the first two axes and of the others what is chosen", () => {
  const places = weights.drawnPlaces([1, 0, 1], axes);
  assert.deepEqual(places, [[0, 0, 1], [0, 1, 1], [0, 2, 1], [1, 0, 1], [1, 1, 1], [1, 2, 1]]);
  assert.deepEqual(weights.drawnPlaces([1], axes.slice(0, 1)), [[0], [1]]);
});

test("lines join what differs in one setting that has an order, and know the chosen place", () => {
  const found = weights.lines([1, 0, 1], axes);
  assert.deepEqual(found.map(({ axis, chosen }) => [axis, chosen]),
    [[0, true], [0, false], [0, false], [1, false], [1, true]]);
  assert.deepEqual(found[0].at, [[0, 0, 1], [1, 0, 1]]);
  assert.deepEqual(found[4].at, [[1, 0, 1], [1, 1, 1], [1, 2, 1]]);
  assert.deepEqual(weights.lines([0, 1], [axes[2], axes[0]]).map(({ axis }) => axis), [1, 1]); // styles are not joined
  assert.deepEqual(weights.lines([1], axes.slice(0, 1)), [{ axis: 0, chosen: true, at: [[0], [1]] }]);
});

test("a place and its scores are told in words", () => {
  assert.equal(weights.named([1, 2, 0], axes), "start 21, weight 1, style oil");
  const scores = [{ name: "SSIM", values: [0.125, 0.5] }, { name: "mask", values: [null, 1] }];
  assert.equal(weights.scored(0, scores), "SSIM 0.13; mask unknown");
  assert.equal(weights.scored(1, scores), "SSIM 0.50; mask 1.00");
});

test("an axis has few round numbers around all values", () => {
  assert.deepEqual(weights.ticks([0.13, 0.78]), [0, 0.2, 0.4, 0.6, 0.8]);
  assert.deepEqual(weights.ticks([0.2, 1]), [0.2, 0.4, 0.6, 0.8, 1]);
  assert.deepEqual(weights.ticks([-3, 40]), [-20, 0, 20, 40]);
  for (const values of [[0.5], [0, 0], [1e-3, 1.1e-3], [7, 9.99]]) {
    const found = weights.ticks(values);
    assert.ok(found.length >= 2 && found.length <= 7, String(found));
    assert.ok(found[0] <= Math.min(...values) && found.at(-1) >= Math.max(...values), String(found));
  }
});

test("the nearest point is found and points that are missing never are", () => {
  assert.equal(weights.nearest([[0, 0], null, [10, 0]], [6, 1]), 2);
  assert.equal(weights.nearest([null, [3, 3]], [0, 0]), 1);
});

test("pictures lie in the sheet in rows", () => {
  assert.deepEqual([0, 2, 3, 7].map((k) => weights.cellAt(k, 3, [32, 64])), [[0, 0], [128, 0], [0, 32], [64, 64]]);
});
