/** Binary frames: a chunk of a file behind a head of 46 bytes, the same in both directions. docs/protocol.md, "Files". */

import { decodeBase64url, encodeBase64url } from "./bytes.js";

const CHUNK = 1;
const HEAD_BYTES = 46;

/**
 * @param {Chunk} chunk
 * @returns {Bytes}
 */
export function encodeChunk({ last, stream, fid, pass, index, data }) {
  const frame = new Uint8Array(HEAD_BYTES + data.length);
  const view = new DataView(frame.buffer);
  frame[0] = CHUNK;
  frame[1] = Number(last);
  view.setUint32(2, stream);
  frame.set(decodeBase64url(fid, 16) ?? [], 6);
  frame.set(pass, 22);
  view.setBigUint64(38, BigInt(index));
  frame.set(data, HEAD_BYTES);
  return frame;
}

/**
 * @param {ArrayBuffer} buffer
 * @returns {Chunk | null} null for what is no chunk
 */
export function decodeChunk(buffer) {
  const frame = new Uint8Array(buffer);
  if (frame.length < HEAD_BYTES || frame[0] !== CHUNK || frame[1] > 1) return null;
  const view = new DataView(buffer);
  return {
    last: frame[1] === 1,
    stream: view.getUint32(2),
    fid: encodeBase64url(frame.subarray(6, 22)),
    pass: frame.slice(22, 38),
    index: Number(view.getBigUint64(38)),
    data: frame.subarray(HEAD_BYTES),
  };
}
