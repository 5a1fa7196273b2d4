// The explorer's arithmetic, without a page. Run by tests/test_widgets.py, or: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./charts.mjs";

const similarity = await load("similarity");

const near = (found, wanted, tolerance = 1e-6) =>
  assert.ok(Math.abs(found - wanted) <= tolerance, `${found} is not ${wanted}`);

const layer = { height: 1, width: 2, channels: 2, offset: 3, sources: 1, centre: [0, 1], scale: [1, 0.5] };

// Two pictures of two patches behind `junk` bytes of another buffer and the layer's offset.
function bytes(junk) {
  const stored = Int8Array.from([...Array(junk + layer.offset).fill(99), 3, 6, -5, -2, 0, 2, 1, -2]);
  return new DataView(stored.buffer, junk);
}

test("rows are restored, made unit and found behind any byte offset", () => {
  for (const junk of [0, 5]) {
    const [first, second] = [0, 1].map((picture) => similarity.dequantise(bytes(junk), layer, picture));
    [3 / 5, 4 / 5, -1, 0].forEach((wanted, k) => near(first[k], wanted)); // (3, 1 + 6/2) / 5, (-5, 1 - 2/2) / 5
    [0, 1, 1, 0].forEach((wanted, k) => near(second[k], wanted));
  }
});

test("a feature of length zero stays zero", () => {
  const flat = { ...layer, centre: [0, 0], scale: [0, 0] };
  assert.deepEqual([...similarity.dequantise(bytes(0), flat, 0)], [0, 0, 0, 0]);
});

test("similarities are cosines of one row with every row", () => {
  const found = similarity.similarities([9, 9, 0.6, 0.8], 1, [1, 0, 0, 1, -0.6, -0.8], 2);
  [0.6, 0.8, -1].forEach((wanted, k) => near(found[k], wanted));
});

test("ranks start at one and ties share the better", () => {
  const values = [0.1, 0.9, 0.5, 0.9];
  assert.deepEqual([0, 1, 2, 3].map((k) => similarity.rank(values, k)), [4, 1, 3, 1]);
  assert.equal(similarity.argmax(values), 1);
});

test("the softmax sums to one and survives a small temperature", () => {
  const values = [0.2, 0.9, -0.4];
  for (const tau of [0.07, 1e-4]) {
    near([0, 1, 2].reduce((sum, k) => sum + Math.exp(similarity.logSoftmax(values, k, tau)), 0), 1);
  }
  near(similarity.logSoftmax([1, 1], 0, 0.07), -Math.LN2);
  near(similarity.logSoftmax([0, 1], 0, 1e-4), -1e4); // its exponential is zero
});

test("PatchNCE is chance for equal features and small for distinct ones in place", () => {
  near(similarity.patchNce([1, 0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0], 2, 0.07), Math.log(3));
  near(similarity.patchNce([1, 0, 0, 1], [1, 0, 0, 1], 2, 0.07), Math.log(1 + Math.exp(-1 / 0.07)));
  near(similarity.patchNce([0, 1, 1, 0], [1, 0, 0, 1], 2, 0.07), 1 / 0.07, 1e-5); // each picks the other's place
});

test("colours run from viridis's dark end to its bright one, ever lighter", () => {
  assert.deepEqual(similarity.colour(-1), [0x44, 0x01, 0x54]);
  assert.deepEqual(similarity.colour(2), [0xfd, 0xe7, 0x25]);
  const lightness = Array.from({ length: 65 }, (_, k) => similarity.colour(k / 64))
    .map(([r, g, b]) => 0.2126 * r ** 2.2 + 0.7152 * g ** 2.2 + 0.0722 * b ** 2.2);
  for (let k = 1; k < lightness.length; k++) assert.ok(lightness[k] > lightness[k - 1]);
});

test("a heat map is opaque pixels between its two ends, also when they meet", () => {
  const pixels = similarity.heatmap([0.5, 1], 0.5, 1);
  assert.deepEqual([...pixels], [0x44, 0x01, 0x54, 255, 0xfd, 0xe7, 0x25, 255]);
  assert.equal(similarity.heatmap([1], 1, 1)[3], 255);
});

test("places and patches lead to each other and stay inside", () => {
  const grid = { height: 3, width: 5 };
  for (let row = 0; row < 3; row++) {
    for (let column = 0; column < 5; column++) {
      const place = similarity.placeOf(row, column, grid);
      assert.deepEqual(similarity.patchAt(place, grid), { row, column, index: 5 * row + column });
    }
  }
  assert.deepEqual(similarity.patchAt([1, -0.1], grid), { row: 2, column: 0, index: 10 });
  assert.deepEqual(similarity.placeOf(-4, 9, grid), similarity.placeOf(0, 4, grid));
});
