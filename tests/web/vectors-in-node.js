/** `node vectors-in-node.js MODULES VECTORS`: the vectors with Node's WebCrypto; prints what differs as JSON. */

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import check from "./vectors.js";

const [modules, vectors] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(resolve(modules, path)).href);
console.log(JSON.stringify(await check(JSON.parse(await readFile(vectors, "utf8")), load)));
