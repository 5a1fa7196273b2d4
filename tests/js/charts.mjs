// The module of a figure with a chart as a browser gets it: the shared file, then its own, as charts.py joins them.
import { readFileSync } from "node:fs";

const read = (name) => readFileSync(new URL(`../../zecon_lite/widgets/${name}.js`, import.meta.url), "utf-8");

export const load = (name) => {
  const code = Buffer.from(`${read("charts")}\n${read(name)}`).toString("base64");
  return import(`data:text/javascript;base64,${code}`);
};
