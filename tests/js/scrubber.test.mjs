// The step scrubber's arithmetic, without a page. Run by tests/test_widget_scrubber.py, or: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./charts.mjs";

const scrubber = await load("scrubber");
const box = { width: 120, height: 70, margin: 10 };

test("a span leaves gaps out and moves equal ends apart", () => {
  assert.deepEqual(scrubber.span([3, null, -1, 2]), [-1, 3]);
  assert.deepEqual(scrubber.span([0.5, 0.5]), [-0.5, 1.5]);
  assert.deepEqual(scrubber.span([null]), [0, 1]);
});

test("a curve fills its box, the greatest value on top", () => {
  const values = [4, 2, 0];
  assert.deepEqual([0, 1, 2].map((k) => scrubber.pointAt(values, k, box)), [[10, 10], [60, 35], [110, 60]]);
  assert.deepEqual(scrubber.pointAt([7], 0, box), [10, 35]);
});

test("a path is lifted at gaps, and a lone number is a dot", () => {
  assert.equal(scrubber.path([4, 2, 0], box), "M10.0 10.0h0L60.0 35.0L110.0 60.0");
  assert.equal(scrubber.path([0, null, 4], box), "M10.0 60.0h0M110.0 10.0h0");
  assert.equal(scrubber.path([null, null], box), "");
});

test("a place along the curves leads to the nearest step that is shown", () => {
  const steps = [{ at: 0 }, { at: 5 }, { at: 10 }];
  assert.deepEqual([-1, 0.2, 0.3, 0.74, 0.76, 2].map((f) => scrubber.stepAt(f, steps, 11)), [0, 0, 1, 1, 2, 2]);
});

test("numbers are told with three digits and a true minus", () => {
  assert.deepEqual([1234.5, 0.04567, -2, 0, null].map(scrubber.told), ["1230", "0.0457", "−2", "0", "none"]);
});

test("a curve is told by its ends, or by what it is throughout", () => {
  assert.equal(scrubber.ends([0.62, null, -0.2]), "−0.2 to 0.62");
  assert.equal(scrubber.ends([0.0030001, 0.003]), "0.003 throughout");
  assert.equal(scrubber.ends([null]), "none throughout");
});

test("a step is told with its name and the values that it had", () => {
  const steps = [{ name: "t = 9", at: 0 }, { name: "t = 3", at: 2 }];
  const values = [{ name: "zecon", values: [1, 2, 0.5] }, { name: "early", values: [1, null, null] }];
  assert.equal(scrubber.sentence(steps, 1, values), "Step 2 of 2, t = 3: zecon 0.5, early none");
  assert.equal(scrubber.sentence(steps, 0, []), "Step 1 of 2, t = 9");
});
