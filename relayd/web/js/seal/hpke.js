/** HPKE (RFC 9180), base mode, empty aad: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM. */

import { join, utf8 } from "../wire/bytes.js";
import { importAes } from "./bodies.js";
import { NotOpened } from "./errors.js";
import { newPair } from "./pairs.js";

const EMPTY = new Uint8Array(0);
const KEM_SUITE = join(utf8("KEM"), Uint8Array.of(0, 0x20));
const SUITE = join(utf8("HPKE"), Uint8Array.of(0, 0x20, 0, 1, 0, 2));
const ENC_BYTES = 32;

/** A card's key that nothing can be sealed to. */
export class BadKey extends Error {}

/**
 * @param {Bytes} key
 * @param {Bytes} data
 */
async function hmac(key, data) {
  // HMAC fills its key up with zeros, so zeros are the empty one, which WebCrypto refuses.
  const raw = key.length ? key : new Uint8Array(32);
  const imported = await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return new Uint8Array(await crypto.subtle.sign("HMAC", imported, data));
}

/**
 * @param {Bytes} suite
 * @param {Bytes} salt
 * @param {string} label
 * @param {Bytes} ikm
 */
const extract = (suite, salt, label, ikm) => hmac(salt, join(utf8("HPKE-v1"), suite, utf8(label), ikm));

/**
 * At most 32 bytes, which is one block of HKDF-Expand.
 * @param {Bytes} suite
 * @param {Bytes} prk
 * @param {string} label
 * @param {Bytes} info
 * @param {number} length
 */
async function expand(suite, prk, label, info, length) {
  const labelledInfo = join(Uint8Array.of(0, length), utf8("HPKE-v1"), suite, utf8(label), info, Uint8Array.of(1));
  return (await hmac(prk, labelledInfo)).slice(0, length);
}

/**
 * X25519; a key of small order, which would make everyone able to open it, is refused.
 * @param {CryptoKey} privateKey
 * @param {Bytes} publicRaw
 */
async function agree(privateKey, publicRaw) {
  try {
    const publicKey = await crypto.subtle.importKey("raw", publicRaw, "X25519", false, []);
    const how = { name: "X25519", public: publicKey };
    const shared = new Uint8Array(await crypto.subtle.deriveBits(how, privateKey, 256));
    if (shared.some(Boolean)) return shared;
  } catch {
    // Said below.
  }
  throw new BadKey("a card's key is none that anything can be sealed to");
}

/**
 * The key and nonce of the one box of a context.
 * @param {Bytes} shared
 * @param {Bytes} enc
 * @param {Bytes} receiver
 * @param {Bytes} info
 */
async function schedule(shared, enc, receiver, info) {
  const prk = await extract(KEM_SUITE, EMPTY, "eae_prk", shared);
  const secret = await expand(KEM_SUITE, prk, "shared_secret", join(enc, receiver), 32);
  const [pskHash, infoHash] = await Promise.all([
    extract(SUITE, EMPTY, "psk_id_hash", EMPTY),
    extract(SUITE, EMPTY, "info_hash", info),
  ]);
  const context = join(Uint8Array.of(0), pskHash, infoHash);
  const base = await extract(SUITE, secret, "secret", EMPTY);
  const [key, iv] = await Promise.all([
    expand(SUITE, base, "key", context, 32),
    expand(SUITE, base, "base_nonce", context, 12),
  ]);
  return { key: await importAes(key), iv };
}

/**
 * `enc || ciphertext` for the X25519 key `to`; 48 bytes longer than the plaintext.
 * @param {Bytes} plaintext
 * @param {Bytes} to
 * @param {Bytes} info
 * @throws {BadKey}
 */
export async function sealBox(plaintext, to, info) {
  const ephemeral = await newPair("X25519", false);
  const shared = await agree(ephemeral.pair.privateKey, to);
  const { key, iv } = await schedule(shared, ephemeral.publicRaw, to, info);
  const sealed = await crypto.subtle.encrypt({ name: "AES-GCM", iv }, key, plaintext);
  return join(ephemeral.publicRaw, new Uint8Array(sealed));
}

/**
 * @param {Bytes} box
 * @param {UserKey} user
 * @param {Bytes} info
 * @throws {NotOpened}
 */
export async function openBox(box, user, info) {
  try {
    const enc = box.slice(0, ENC_BYTES);
    const shared = await agree(user.privateKey, enc);
    const { key, iv } = await schedule(shared, enc, user.publicRaw, info);
    return new Uint8Array(await crypto.subtle.decrypt({ name: "AES-GCM", iv }, key, box.slice(ENC_BYTES)));
  } catch {
    throw new NotOpened("it is not sealed to this user");
  }
}
