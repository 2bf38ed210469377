/** The offer of a file: the body of a message, and what is shown of it. */

import { decodeBase64url } from "../wire/bytes.js";
import { cleanFileName } from "./clean.js";

const MAX_CHUNK_BYTES = 1024 * 1024; // a receiver holds a few in memory
const LARGEST_IMAGE = 8 * 1024 * 1024;
const LONGEST_TYPE = 100;
const IMAGES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp", "image/avif"]);

/**
 * @param {Record<string, any>} body
 * @param {boolean} sealed  whether it came in a sealed room
 * @returns {Offer | null} null if it has another form
 */
export function readOffer(body, sealed) {
  const { fid, sha256, size, chunk } = body;
  const key = sealed ? decodeBase64url(body.key, 32) : null;
  const fits = decodeBase64url(fid, 16) && decodeBase64url(sha256, 32) && (key || !sealed);
  if (!fits || !Number.isSafeInteger(size) || size < 0) return null;
  if (!Number.isSafeInteger(chunk) || chunk < 1 || chunk > MAX_CHUNK_BYTES) return null;
  const type = typeof body.type === "string" ? body.type.slice(0, LONGEST_TYPE) : "";
  return { fid, key, sha256, size, chunk, state: newFile(fid, cleanFileName(body.name), size, type) };
}

/**
 * @param {string} fid
 * @param {string} name
 * @param {number} size
 * @param {string} type
 * @returns {FileState}
 */
export const newFile = (fid, name, size, type) => ({
  fid, name, size, type, image: IMAGES.has(type) && size <= LARGEST_IMAGE, phase: "offered", bytes: 0, rate: 0, url: "",
  problem: null, receivers: [],
});

/** How many chunks a file has; an empty one has one, which is empty.
 * @param {{size: number, chunk: number}} offer
 */
export const chunksOf = ({ size, chunk }) => Math.max(1, Math.ceil(size / chunk));

/** The type a blob: address has, so that nothing but an image ever opens as a page of this site.
 * @param {FileState} state
 */
export const blobType = (state) => (IMAGES.has(state.type) ? state.type : "application/octet-stream");
