/** Sealing: one `Sealer` for every socket, so that no nonce is ever used twice. */

import { encodeBase64url, labelled, randomBytes, u32, u64, utf8 } from "../wire/bytes.js";
import { CARD, DIRECT, encodeJson, MESSAGE, pad, sealAt, SIGNAL } from "./bodies.js";
import { sha256 } from "./derive.js";
import { sealBox } from "./hpke.js";

/** @typedef {import("./bodies.js").SealedBody} SealedBody */

// What a sender may hear of itself: a ring holds 4,096 messages, so nothing older comes back.
const REMEMBERED = 4096;
const LAST_N = 2 ** 32 - 1;

/** Seals what one socket sends. Its sid is drawn here, never given by a server, and counters only go up. */
export class Sealer {
  sid = randomBytes(16);
  #keys;
  #user;
  /** @type {Map<number, number>} */ #next = new Map();
  /** @type {Map<string, string>} */ #sent = new Map(); // "type n" -> SHA-256 of `c`

  /**
   * @param {import("./keys.js").RoomKeys} keys
   * @param {UserKey} user
   */
  constructor(keys, user) {
    this.#keys = keys;
    this.#user = user;
  }

  /**
   * @param {string} id
   * @param {unknown} body
   * @param {number} at
   */
  message(id, body, at) {
    return this.#seal(MESSAGE, this.#said(id, body, at));
  }

  /** @param {string} nick */
  card(nick) {
    return this.#seal(CARD, encodeJson({ nick, hpke: encodeBase64url(this.#user.publicRaw) }));
  }

  /**
   * @param {string} kind
   * @param {unknown} data
   */
  signal(kind, data) {
    return this.#seal(SIGNAL, encodeJson({ kind, data }));
  }

  /**
   * A signal whose data depend on where it is sealed.
   * @param {string} kind
   * @param {(keys: EpochKeys, slot: Slot) => Promise<unknown>} make
   */
  async signalAt(kind, make) {
    const { keys, slot } = this.#reserve(SIGNAL);
    return this.#sealAt(keys, slot, encodeJson({ kind, data: await make(keys, slot) }));
  }

  /**
   * To one user, and to this user's own other tabs.
   * @param {Bytes} to  the receiver's card key
   * @param {string} id
   * @param {unknown} body
   * @param {number} at
   */
  async direct(to, id, body, at) {
    const padded = pad(this.#said(id, body, at));
    const { keys, slot } = this.#reserve(DIRECT);
    const mine = this.#user.publicRaw;
    const [box, own] = await Promise.all(
      [to, mine].map(async (key) => encodeBase64url(await sealBox(padded, key, directInfo(keys, slot, mine, key)))),
    );
    return this.#sealAt(keys, slot, encodeJson({ to: encodeBase64url(to), box, own }));
  }

  /**
   * Whether `c` is exactly what this sealer made there.
   * @param {number} type
   * @param {number} n
   * @param {string} c
   */
  async hasSent(type, n, c) {
    return this.#sent.get(`${type} ${n}`) === (await digestOf(c));
  }

  /**
   * @param {string} id
   * @param {unknown} body
   * @param {number} at
   */
  #said(id, body, at) {
    return encodeJson({ id, by: encodeBase64url(this.#user.publicRaw), t: at, body });
  }

  /**
   * @param {number} type
   * @param {Bytes} plaintext
   */
  async #seal(type, plaintext) {
    const { keys, slot } = this.#reserve(type);
    return this.#sealAt(keys, slot, plaintext);
  }

  /** Takes the next slot; it counts as used from here on, whatever fails afterwards.
   * @param {number} type
   */
  #reserve(type) {
    const keys = this.#keys.current;
    const n = this.#next.get(type) ?? 0;
    if (n > LAST_N) throw new RangeError("this connection has sealed all it can");
    this.#next.set(type, n + 1);
    return { keys, slot: { type, sid: this.sid, n } };
  }

  /**
   * @param {EpochKeys} keys
   * @param {Slot} slot
   * @param {Bytes} plaintext
   * @returns {Promise<SealedBody>}
   */
  async #sealAt(keys, slot, plaintext) {
    const c = encodeBase64url(await sealAt(keys, slot, plaintext));
    if (slot.type !== SIGNAL) {
      this.#sent.set(`${slot.type} ${slot.n}`, await digestOf(c));
      if (this.#sent.size > REMEMBERED) this.#sent.delete(this.#sent.keys().next().value ?? "");
    }
    return { e: keys.epoch, s: encodeBase64url(slot.sid), n: slot.n, c };
  }
}

/** @param {string} c */
const digestOf = async (c) => encodeBase64url(await sha256(utf8(c)));

/**
 * What a direct message's boxes are bound to.
 * @param {EpochKeys} keys
 * @param {Slot} slot
 * @param {Bytes} sender
 * @param {Bytes} to
 */
export const directInfo = (keys, slot, sender, to) =>
  labelled("direct", keys.salt, u32(keys.epoch), slot.sid, u64(slot.n), sender, to);
