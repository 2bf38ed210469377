/** `node sha256-in-node.js MODULES`: the page's SHA-256 against Node's; prints the lengths that differ. */

import { createHash, randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

const { Sha256 } = await import(pathToFileURL(resolve(process.argv[2], "wire/sha256.js")).href);
const wrong = [...Array(200).keys(), 1_000_003].filter((length) => {
  const data = randomBytes(length);
  const cut = Math.floor(length / 3);
  const ours = new Sha256().update(data.subarray(0, cut)).update(data.subarray(cut)).digest();
  return Buffer.from(ours).toString("hex") !== createHash("sha256").update(data).digest("hex");
});
console.log(JSON.stringify({ wrong }));
