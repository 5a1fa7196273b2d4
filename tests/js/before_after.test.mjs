// The divider's arithmetic, without a page. Run by tests/test_widget_before_after.py, or: node --test tests/js
import assert from "node:assert/strict";
import { test } from "node:test";

import { load } from "./charts.mjs";

const { described, fractionAt } = await load("before_after");

test("a place in the box is a fraction of its width, and the box ends at its edges", () => {
  const box = { left: 100, width: 50 };
  assert.deepEqual([90, 100, 125, 150, 999].map((x) => fractionAt(x, box)), [0, 0, 0.5, 1, 1]);
});

test("both pictures are named with their shares, or the one that is seen", () => {
  assert.equal(described(0.3, "source", "ZeCon"), "left 30 % source, right 70 % ZeCon");
  assert.equal(described(0, "source", "ZeCon"), "ZeCon alone");
  assert.equal(described(0.999, "source", "ZeCon"), "source alone");
});
