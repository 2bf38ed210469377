/** The owner's confirmation of the present keys: a signature that a server can neither make nor use again. */

import { decodeBase64url, encodeBase64url, labelled, u32, u64 } from "../wire/bytes.js";
import { NotOpened } from "./errors.js";
import { isSigned } from "./pairs.js";

export const KEY_CONFIRMATION = "key_confirmation"; // the kind of the sealed signal

/**
 * What the owner signs. With sid and counter of the signal that carries it, nobody can seal it again in another signal.
 * @param {EpochKeys} keys
 * @param {Slot} slot
 * @param {number} t  ms on a clock of the signer that only goes up
 */
export const confirmationText = (keys, slot, t) =>
  labelled("confirm", keys.salt, u32(keys.epoch), slot.sid, u64(slot.n), u64(t));

/**
 * The data of the signal.
 * @param {OwnerKey} owner
 * @param {EpochKeys} keys
 * @param {Slot} slot  of the signal
 * @param {number} t  ms on a clock that only goes up
 */
export async function makeConfirmation(owner, keys, slot, t) {
  const signature = await crypto.subtle.sign("Ed25519", owner.privateKey, confirmationText(keys, slot, t));
  return { t, sig: encodeBase64url(new Uint8Array(signature)) };
}

/**
 * Checks a confirmation.
 * @param {Bytes} owner  public key of the room's owner
 * @param {EpochKeys} keys  those that opened the signal
 * @param {Slot} slot  of the signal
 * @param {unknown} data  of the signal
 * @returns {Promise<number>} its `t`
 * @throws {NotOpened} it has another form, or the owner did not sign it
 */
export async function readConfirmation(owner, keys, slot, data) {
  const { t, sig } = /** @type {Record<string, unknown>} */ (Object(data));
  const signature = decodeBase64url(sig, 64);
  const time = Number.isSafeInteger(t) ? Number(t) : -1;
  const signed = signature && time >= 0 && (await isSigned(owner, signature, confirmationText(keys, slot, time)));
  if (!signed) throw new NotOpened("the confirmation of the keys is not signed by the room's owner");
  return time;
}
