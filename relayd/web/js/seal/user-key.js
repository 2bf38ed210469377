/** The X25519 key pair of a user, in a form that the browser can store. */

import { randomBytes } from "../wire/bytes.js";
import { newPair } from "./pairs.js";

/** @typedef {{publicRaw: Bytes} & ({privateKey: CryptoKey} | {wrapped: WrappedKey})} StoredUserKey */

const IV_BYTES = 12;

/** @returns {Promise<UserKey>} */
export async function newUserKey() {
  const { pair, publicRaw } = await newPair("X25519", false);
  if (canBeStored(pair.publicKey)) return { privateKey: pair.privateKey, publicRaw };
  const other = await newPair("X25519", true);
  const wrapped = await wrap(other.pair.privateKey);
  return { privateKey: await unwrap(wrapped), publicRaw: other.publicRaw, wrapped };
}

/** The form for the database.
 * @param {UserKey} user
 * @returns {StoredUserKey}
 */
export const toStored = ({ privateKey, publicRaw, wrapped }) => (wrapped ? { publicRaw, wrapped } : { publicRaw, privateKey });

/**
 * @param {StoredUserKey} stored
 * @returns {Promise<UserKey>}
 */
export async function fromStored(stored) {
  return "wrapped" in stored ? { ...stored, privateKey: await unwrap(stored.wrapped) } : stored;
}

/**
 * WebKit serializes X25519 keys but cannot deserialize them; a record with such a key is lost.
 * @param {CryptoKey} key
 */
function canBeStored(key) {
  try {
    structuredClone(key);
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {CryptoKey} privateKey  extractable
 * @returns {Promise<WrappedKey>}
 */
async function wrap(privateKey) {
  const iv = randomBytes(IV_BYTES);
  const key = await crypto.subtle.generateKey({ name: "AES-GCM", length: 256 }, false, ["wrapKey", "unwrapKey"]);
  return { key, iv, ciphertext: new Uint8Array(await crypto.subtle.wrapKey("pkcs8", privateKey, key, { name: "AES-GCM", iv })) };
}

/**
 * @param {WrappedKey} wrapped
 * @returns {Promise<CryptoKey>} not extractable
 */
const unwrap = ({ key, iv, ciphertext }) =>
  crypto.subtle.unwrapKey("pkcs8", ciphertext, key, { name: "AES-GCM", iv }, "X25519", false, ["deriveBits"]);
