/** Suite 1: from password and link secret to the keys of an epoch. docs/security.md is the construction. */

import { Problem } from "../problem.js";
import { encodeBase64url, join, labelled, toHex, u32, utf8 } from "../wire/bytes.js";

export const SUITE = 1;
const ROUNDS = 600_000;
const MAX_PASSWORD_BYTES = 1024;

/** @param {Bytes} bytes */
export const sha256 = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));

/**
 * H(ikm, label, context, n): HKDF-SHA256 (RFC 5869).
 * @param {Bytes} ikm
 * @param {string} label
 * @param {Bytes} context
 * @param {Bytes} salt
 * @param {number} [length]
 */
export async function deriveKey(ikm, label, context, salt, length = 32) {
  const key = await crypto.subtle.importKey("raw", ikm, "HKDF", false, ["deriveBits"]);
  const info = labelled(label, context);
  return new Uint8Array(await crypto.subtle.deriveBits({ name: "HKDF", hash: "SHA-256", salt, info }, key, length * 8));
}

/**
 * PBKDF2-HMAC-SHA256 with 600,000 rounds: takes a moment, on a thread of the browser's.
 * @param {Bytes} secret
 * @param {Bytes} salt
 * @param {number} length
 */
export async function stretch(secret, salt, length) {
  const key = await crypto.subtle.importKey("raw", secret, "PBKDF2", false, ["deriveBits"]);
  const how = { name: "PBKDF2", hash: "SHA-256", salt, iterations: ROUNDS };
  return new Uint8Array(await crypto.subtle.deriveBits(how, key, length * 8));
}

/**
 * P: normalised (NFC), never trimmed.
 * @param {string} password
 * @param {Bytes} salt
 * @throws {Problem} `password_unfit`: empty, too long, or no text
 */
export async function derivePasswordKey(password, salt) {
  // Bounded before NFC, which is quadratic in a run of combining marks.
  const normal = password.length > 4 * MAX_PASSWORD_BYTES ? "" : password.normalize("NFC");
  const bytes = utf8(normal);
  const unfit = !bytes.length || bytes.length > MAX_PASSWORD_BYTES || /\p{Surrogate}|^\ufeff/u.test(normal);
  if (unfit) throw new Problem("password_unfit", "the password is empty, too long, or no text");
  return stretch(bytes, await sha256(labelled("pw", salt)), 32);
}

/**
 * @param {Bytes} salt
 * @param {number} epoch
 * @param {Bytes | null} passwordKey
 * @param {Bytes | null} secret
 * @returns {Promise<EpochKeys>}
 */
export async function deriveEpoch(salt, epoch, passwordKey, secret) {
  // Can't happen: unlock and newRoom see to it that there is one.
  if (!passwordKey && !secret?.some(Boolean)) throw new Problem("link_incomplete", "neither secret nor password");
  const ikm = join(passwordKey ?? new Uint8Array(32), secret ?? new Uint8Array(16));
  const place = u32(epoch);
  const [roomKey, proof, check] = await Promise.all([
    deriveKey(ikm, "epoch", place, salt),
    deriveKey(ikm, "access", place, salt),
    deriveKey(ikm, "check", place, salt, 16),
  ]);
  return { salt, epoch, roomKey, proof, check, senderKeys: new Map() };
}

/** The salt of the room of that owner: it binds the two.
 * @param {Bytes} owner
 */
export const ownerSalt = async (owner) => (await sha256(labelled("owner", owner))).slice(0, 16);

/** What the server keeps of the proof.
 * @param {EpochKeys} keys
 */
export const verifierOf = async (keys) => toHex(await sha256(keys.proof));

/**
 * What `POST /room` carries.
 * @param {EpochKeys} keys
 * @param {Bytes} owner
 * @param {boolean} password
 */
export async function accessOf(keys, owner, password) {
  return {
    suite: SUITE,
    salt: encodeBase64url(keys.salt),
    owner: encodeBase64url(owner),
    verifier: await verifierOf(keys),
    check: encodeBase64url(keys.check),
    password,
  };
}
