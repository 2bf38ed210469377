/** Rekeying: a new link secret for everyone but the person thrown out, signed by the owner. */

import { Problem } from "../problem.js";
import { decodeBase64url, encodeBase64url, join, labelled, u32 } from "../wire/bytes.js";
import { verifierOf } from "./derive.js";
import { openBox, sealBox } from "./hpke.js";
import { drawSecret } from "./keys.js";
import { isSigned } from "./pairs.js";

/** @typedef {import("./keys.js").RoomKeys} RoomKeys */

const SECRET_BYTES = 16;
const BOX_BYTES = 32 + SECRET_BYTES + 64 + 16;

/**
 * @param {Bytes} salt
 * @param {number} epoch
 * @param {Bytes} last  the secret that is signed, or the key a box is sealed to
 */
const rekeyText = (salt, epoch, last) => labelled("rekey", salt, u32(epoch), last);

/**
 * The fields of a `rekey` frame. The room stays in its epoch until the event is heard.
 * @param {RoomKeys} room
 * @param {OwnerKey} owner
 * @param {Map<string, string>} cards  user id -> card key of everyone to be kept, oneself too
 * @returns {Promise<{epoch: number, verifier: string, check: string, boxes: Record<string, string>}>}
 */
export async function makeRekey(room, owner, cards) {
  const epoch = room.current.epoch + 1;
  const secret = drawSecret();
  const keys = await room.derive(epoch, secret);
  const text = rekeyText(room.salt, epoch, secret);
  const signature = new Uint8Array(await crypto.subtle.sign("Ed25519", owner.privateKey, text));
  /** @type {Map<string, string>} */
  const boxes = new Map();
  for (const [user, keyText] of cards) {
    const key = decodeBase64url(keyText, 32);
    if (!key) continue;
    // One broken card must not keep the owner from throwing someone out.
    const box = await sealBox(join(secret, signature), key, rekeyText(room.salt, epoch, key)).catch(() => null);
    if (box) boxes.set(user, encodeBase64url(box));
  }
  return { epoch, verifier: await verifierOf(keys), check: encodeBase64url(keys.check), boxes: Object.fromEntries(boxes) };
}

/**
 * Goes on to the epoch of a `rekeyed` event, if the owner made it.
 * @param {RoomKeys} room
 * @param {UserKey} user
 * @param {unknown} told  the event, or `joined.rekey`
 * @param {number} now  ms on a clock that only goes up; 2 minutes later `dropEnded` drops the older keys
 * @returns {Promise<Bytes | null>} the new link secret; null if that epoch is in use already
 * @throws {Problem} `rekey_refused`: the room stays in its epoch
 */
export async function takeRekey(room, user, told, now) {
  const event = /** @type {Record<string, unknown>} */ (Object(told));
  const epoch = Number.isInteger(event.epoch) ? Number(event.epoch) : -1;
  const [box, check] = [decodeBase64url(event.box, BOX_BYTES), decodeBase64url(event.check, 16)];
  const fits = epoch >= 0 && epoch < 2 ** 32 && Number.isSafeInteger(event.seq);
  if (fits && epoch <= room.epoch) return null;
  if (!fits || !box || !check || !room.owner) {
    throw new Problem("rekey_refused", "the new epoch's key is not sealed to this user");
  }
  const opened = await openBox(box, user, rekeyText(room.salt, epoch, user.publicRaw)).catch(() => null);
  const secret = opened?.slice(0, SECRET_BYTES);
  const signed = secret?.some(Boolean) && opened
    ? await isSigned(room.owner, opened.slice(SECRET_BYTES), rekeyText(room.salt, epoch, secret))
    : false;
  if (!secret || !signed) throw new Problem("rekey_refused", "the new epoch was not made by the room's owner");
  await room.advance(epoch, secret, check, Number(event.seq), now);
  return secret;
}
