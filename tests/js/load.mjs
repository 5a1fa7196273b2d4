// The widget's module as a browser gets it. Node would read a file named .js as CommonJS: hence the data URL.
import { readFileSync } from "node:fs";

const code = readFileSync(new URL("../../zecon_lite/widgets/similarity.js", import.meta.url));
export const similarity = await import(`data:text/javascript;base64,${code.toString("base64")}`);
