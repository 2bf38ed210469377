/** `node key-confirmations-in-node.js MODULES CONFIRMATIONS MONITOR`: the vectors with Node's WebCrypto. */

import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import check from "./key-confirmations.js";

const [modules, ...vectors] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(resolve(modules, path)).href);
const [confirmations, monitor] = await Promise.all(vectors.map(async (path) => JSON.parse(await readFile(path, "utf8"))));
console.log(JSON.stringify(await check(confirmations, monitor, load)));
