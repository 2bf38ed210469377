/** Sealed bodies: padding, sender keys, nonces, additional data, JSON. No state is kept here but derived keys. */

import { decodeBase64url, fromUtf8, join, u32, u64, utf8 } from "../wire/bytes.js";
import { deriveKey } from "./derive.js";
import { NotOpened } from "./errors.js";

/** @typedef {{e: number, s: string, n: number, c: string}} SealedBody */

/** The one byte that keeps a body sealed as one thing from being opened as another. */
export const MESSAGE = 1;
export const CARD = 2;
export const CHUNK = 4;
export const DIRECT = 5;
export const SIGNAL = 6;

export const TAG_BYTES = 16;
const BLOCK_BYTES = 64;
const U32_END = 2 ** 32;
const MOST_SENDER_KEYS = 2048; // kept derived for each epoch; more are derived again

/** `u32(length) || data || zeros`, to a multiple of 64 bytes.
 * @param {Uint8Array} data
 */
export function pad(data) {
  const length = 4 + data.length;
  return join(u32(data.length), data, new Uint8Array((BLOCK_BYTES - (length % BLOCK_BYTES)) % BLOCK_BYTES));
}

/**
 * What `pad` was given; more zeros than it adds are accepted, nothing else.
 * @param {Bytes} padded
 * @throws {NotOpened}
 */
export function unpad(padded) {
  if (!padded.length || padded.length % BLOCK_BYTES) throw new NotOpened("its padding is wrong");
  const end = 4 + new DataView(padded.buffer, padded.byteOffset).getUint32(0);
  if (end > padded.length || padded.subarray(end).some(Boolean)) throw new NotOpened("its padding is wrong");
  return padded.slice(4, end);
}

/** @param {number} n */
export const nonce = (n) => join(new Uint8Array(4), u64(n));

/**
 * @param {EpochKeys} keys
 * @param {Slot} slot
 */
function additionalData(keys, slot) {
  return join(utf8("relay/1\0"), Uint8Array.of(slot.type), keys.salt, u32(keys.epoch), slot.sid, u64(slot.n));
}

/**
 * SK_t, the key of one sid for one type.
 * @param {EpochKeys} keys
 * @param {Slot} slot
 * @returns {Promise<CryptoKey>}
 */
function senderKey(keys, slot) {
  const name = `${slot.type} ${slot.sid}`;
  let key = keys.senderKeys.get(name);
  if (!key) {
    if (keys.senderKeys.size >= MOST_SENDER_KEYS) keys.senderKeys.clear();
    key = deriveKey(keys.roomKey, "sender", join(Uint8Array.of(slot.type), slot.sid), keys.salt).then(importAes);
    keys.senderKeys.set(name, key);
  }
  return key;
}

/** @param {Bytes} bytes */
export const importAes = (bytes) =>
  crypto.subtle.importKey("raw", bytes, "AES-GCM", false, ["encrypt", "decrypt"]);

/**
 * Seals `plaintext`, padded. Only a `Sealer` calls it: a slot used twice breaks AES-GCM.
 * @param {EpochKeys} keys
 * @param {Slot} slot
 * @param {Uint8Array} plaintext
 */
export async function sealAt(keys, slot, plaintext) {
  const how = { name: "AES-GCM", iv: nonce(slot.n), additionalData: additionalData(keys, slot) };
  return new Uint8Array(await crypto.subtle.encrypt(how, await senderKey(keys, slot), pad(plaintext)));
}

/**
 * What was sealed at `slot`, without its padding.
 * @param {EpochKeys} keys
 * @param {Slot} slot
 * @param {Bytes} ciphertext
 * @throws {NotOpened}
 */
export async function openAt(keys, slot, ciphertext) {
  const how = { name: "AES-GCM", iv: nonce(slot.n), additionalData: additionalData(keys, slot) };
  const padded = await crypto.subtle.decrypt(how, await senderKey(keys, slot), ciphertext).catch(() => {
    throw new NotOpened("it could not be opened with this room's key");
  });
  return unpad(new Uint8Array(padded));
}

/** @param {unknown} value */
export const encodeJson = (value) => utf8(JSON.stringify(value));

/**
 * The JSON object that strict UTF-8 says.
 * @param {Bytes} data
 * @returns {Record<string, unknown>}
 * @throws {NotOpened}
 */
export function decodeJson(data) {
  const text = fromUtf8(data);
  /** @type {unknown} */
  let value;
  try {
    value = JSON.parse(text ?? "");
  } catch {
    value = null;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new NotOpened("what is inside has another form");
  }
  return /** @type {Record<string, unknown>} */ (value);
}

/** @param {unknown} number */
const isU32 = (number) => Number.isInteger(number) && Number(number) >= 0 && Number(number) < U32_END;

/**
 * The shape that everything sealed has on its way.
 * @param {unknown} body
 * @returns {{epoch: number, sid: Bytes, n: number, ciphertext: Bytes, c: string}}
 * @throws {NotOpened}
 */
export function readSealed(body) {
  const { e, s, n, c, ...rest } = /** @type {Record<string, unknown>} */ (Object(body));
  const sid = decodeBase64url(s, 16);
  const ciphertext = decodeBase64url(c);
  const whole = ciphertext && ciphertext.length > TAG_BYTES && (ciphertext.length - TAG_BYTES) % BLOCK_BYTES === 0;
  if (!isU32(e) || !isU32(n) || !sid || !whole || Object.keys(rest).length) throw new NotOpened("it is not sealed");
  return { epoch: Number(e), sid, n: Number(n), ciphertext, c: String(c) };
}
