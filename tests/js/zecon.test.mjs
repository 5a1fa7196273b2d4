import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { test } from "node:test";

const zecon = createRequire(import.meta.url)("../../book/assets/browser/zecon.js");

test("the page's own random numbers are distributed as torch's are, and come from the seed alone", () => {
  const { uniform, normal, permutation } = zecon.randomSource(7);
  const moment = (values, power) => values.reduce((sum, v) => sum + v ** power, 0) / values.length;
  const z = Array.from(normal(40000)), u = Array.from(uniform(40000));
  for (const [values, power, wanted, slack] of [[z, 1, 0, 0.03], [z, 2, 1, 0.03], [z, 4, 3, 0.2], [u, 1, 1 / 2, 0.03], [u, 2, 1 / 3, 0.03]])
    assert.ok(Math.abs(moment(values, power) - wanted) < slack, `${power}: ${moment(values, power)}`);
  const table = [0, 1, 2, 3].map(() => [0, 0, 0, 0]);
  for (let k = 0; k < 8000; k++) permutation(4).forEach((value, at) => { table[at][value] += 1; });
  for (const count of table.flat()) assert.ok(Math.abs(count - 2000) < 200, table.join(" | "));
  assert.deepEqual([...zecon.randomSource(3).normal(5)], [...zecon.randomSource(3).normal(5)]);
  assert.notDeepEqual([...zecon.randomSource(3).normal(5)], [...zecon.randomSource(4).normal(5)]);
});
