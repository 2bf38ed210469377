/** Bytes: joining, numbers (big-endian), strict UTF-8, base64url, randomness. */

const encoder = new TextEncoder();
// ignoreBOM keeps a byte order mark in the text, where JSON refuses it.
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** @param {...Uint8Array} parts */
export function join(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/** @param {number} number */
export function u32(number) {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, number);
  return bytes;
}

/** @param {number} number below 2^53 */
export function u64(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

/**
 * @param {string} text
 * @returns {Bytes}
 */
export function utf8(text) {
  return /** @type {Bytes} */ (encoder.encode(text));
}

/**
 * The text of strict UTF-8; null for anything else.
 * @param {Uint8Array} bytes
 */
export function fromUtf8(bytes) {
  try {
    return decoder.decode(bytes);
  } catch {
    return null;
  }
}

/** `"relay/1 " || label || 0 || context`: keeps one use of a key apart from every other.
 * @param {string} label
 * @param {...Uint8Array} context
 */
export function labelled(label, ...context) {
  return join(utf8(`relay/1 ${label}\0`), ...context);
}

/** How many characters so many bytes have as base64url without padding.
 * @param {number} bytes
 */
export const base64urlLength = (bytes) => Math.floor((bytes * 4 + 2) / 3);

/** @param {Uint8Array} bytes */
export function encodeBase64url(bytes) {
  let text = "";
  // In pieces: a call takes only so many arguments.
  for (let at = 0; at < bytes.length; at += 0x2000) {
    text += String.fromCharCode(...bytes.subarray(at, at + 0x2000));
  }
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/**
 * The bytes that a canonical text stands for (decoding and encoding gives the same text); null for any other value.
 * @param {unknown} text
 * @param {number} [length] how many bytes it must be
 * @returns {Bytes | null}
 */
export function decodeBase64url(text, length) {
  if (typeof text !== "string" || !/^[A-Za-z0-9_-]*$/.test(text) || text.length % 4 === 1) return null;
  if (length !== undefined && text.length !== base64urlLength(length)) return null;
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = new Uint8Array(binary.length);
  for (let at = 0; at < bytes.length; at += 1) bytes[at] = binary.charCodeAt(at);
  return encodeBase64url(bytes.subarray(bytes.length - (bytes.length % 3))) === text.slice(text.length - text.length % 4)
    ? bytes
    : null;
}

/** @param {Uint8Array} bytes */
export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

/**
 * Whether both are the same. What is compared here came from a server, or goes to nobody: timing tells nothing.
 * @param {Uint8Array} one
 * @param {Uint8Array} other
 */
export const same = (one, other) => one.length === other.length && one.every((byte, at) => byte === other[at]);

/** @param {number} length */
export const randomBytes = (length) => crypto.getRandomValues(new Uint8Array(length));

/** 16 random bytes as text: no two of any client are the same. */
export const newId = () => encodeBase64url(randomBytes(16));
