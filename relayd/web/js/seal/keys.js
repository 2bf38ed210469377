/** The keys of a room, epoch by epoch; making a sealed room, and getting into one. */

import { Problem } from "../problem.js";
import { decodeBase64url, encodeBase64url, randomBytes, same } from "../wire/bytes.js";
import { isSealed } from "../wire/link.js";
import { accessOf, deriveEpoch, derivePasswordKey, ownerSalt, SUITE } from "./derive.js";
import { NotOpened } from "./errors.js";
import { newPair } from "./pairs.js";

const SECRET_BYTES = 16;
// Twice the longest time for which a server keeps messages: what was sealed before a rekey comes within it.
const ENDED_KEYS_KEPT_MS = 120_000;

/** A link secret: 16 random bytes, never all zero. */
export function drawSecret() {
  for (;;) {
    const secret = randomBytes(SECRET_BYTES);
    if (secret.some(Boolean)) return secret;
  }
}

/**
 * The access part of a room's details; null if the server shows an open room.
 * @param {{access?: unknown, sealed?: unknown, protected?: unknown}} details
 * @returns {Access | null}
 * @throws {Problem} `unknown_suite`, `server_wrong`
 */
export function readAccess(details) {
  if (details.access === null || details.access === undefined) {
    if (details.sealed || details.protected) throw new Problem("server_wrong", "a sealed room without its access part");
    return null;
  }
  const access = /** @type {Record<string, unknown>} */ (Object(details.access));
  if (access.suite !== SUITE) throw new Problem("unknown_suite", "a kind of sealed room that this page does not know");
  const salt = decodeBase64url(access.salt, 16);
  const owner = access.owner === undefined ? null : decodeBase64url(access.owner, 32);
  const epoch = Number.isInteger(access.epoch) ? Number(access.epoch) : -1;
  const fits = salt && (owner || access.owner === undefined) && epoch >= 0;
  if (!fits || epoch >= 2 ** 32 || typeof access.password !== "boolean") {
    throw new Problem("server_wrong", "the access part of the room has another form");
  }
  const secret = access.secret === true;
  return { salt, password: access.password, secret, epoch, owner, check: decodeBase64url(access.check, 16) };
}

/**
 * Whether the room behind `link` is to be treated as sealed. Never less than the link promises.
 * @param {Link} link
 * @param {Access | null} access
 * @throws {Problem} `downgrade`
 */
export function roomIsSealed(link, access) {
  if (!isSealed(link)) return access !== null;
  if (!access) throw new Problem("downgrade", "the link is of a sealed room, but the server shows an open one");
  if (access.password !== link.password) {
    throw new Problem("downgrade", "link and server disagree on whether the room has a password");
  }
  return true;
}

/**
 * Refuses a link that was cut off: no proof must be made of the password alone for a room with a link secret.
 * @param {Link} link
 * @param {Access} access
 * @throws {Problem} `link_incomplete`
 */
export function requireSecret(link, access) {
  if (!link.secret && (access.secret || !access.password)) {
    throw new Problem("link_incomplete", "the link lacks the room's secret");
  }
}

/**
 * The keys of a room in the present epoch, and for 2 minutes in earlier ones. Nothing is opened or sealed before
 * `confirm`.
 */
export class RoomKeys {
  /** @type {Map<number, EpochKeys>} */ #epochs = new Map();
  /** @type {Map<number, {seq: number, dropAt: number}>} */ #ends = new Map(); // seq of the event that ended an epoch
  newerCame = false; // something that was sealed in an epoch after the present one
  /** @type {Bytes | null} */ #passwordKey;
  #confirmed = false;

  /**
   * @param {Access} access
   * @param {Bytes | null} passwordKey
   * @param {EpochKeys} first
   */
  constructor(access, passwordKey, first) {
    this.salt = access.salt;
    this.owner = access.owner;
    this.epoch = access.epoch;
    this.password = passwordKey !== null;
    this.#passwordKey = passwordKey;
    this.#epochs.set(access.epoch, first);
  }

  /**
   * @param {Access} access
   * @param {Bytes | null} passwordKey
   * @param {Bytes | null} secret
   * @throws {Problem} `server_wrong`: the salt is not the owner's
   */
  static async make(access, passwordKey, secret) {
    if (access.owner && !same(await ownerSalt(access.owner), access.salt)) {
      throw new Problem("server_wrong", "the server's salt is not that of the room's owner");
    }
    return new RoomKeys(access, passwordKey, await deriveEpoch(access.salt, access.epoch, passwordKey, secret));
  }

  /**
   * The keys the room would have in `epoch` with another link secret; nothing changes by it.
   * @param {number} epoch
   * @param {Bytes} secret
   */
  derive(epoch, secret) {
    return deriveEpoch(this.salt, epoch, this.#passwordKey, secret);
  }

  /** What goes into `join.proof`. */
  get proof() {
    return encodeBase64url(/** @type {EpochKeys} */ (this.#epochs.get(this.epoch)).proof);
  }

  /**
   * Compares what `joined.room.access` answered, after every join.
   * @param {Access} access
   * @throws {Problem} `wrong_secret`
   */
  confirm(access) {
    this.#confirmed = false;
    const sameOwner = this.owner ? access.owner !== null && same(access.owner, this.owner) : access.owner === null;
    const keys = /** @type {EpochKeys} */ (this.#epochs.get(this.epoch));
    const sameRoom = access.epoch === this.epoch && same(access.salt, this.salt) && sameOwner;
    if (!sameRoom || !access.check || !same(access.check, keys.check)) {
      throw new Problem("wrong_secret", "the password or the link does not fit this room");
    }
    this.#confirmed = true;
  }

  /** The present epoch's, to seal with. */
  get current() {
    if (!this.#confirmed) throw new NotOpened("the server has not shown yet that it knows this room");
    return /** @type {EpochKeys} */ (this.#epochs.get(this.epoch));
  }

  /**
   * The keys to open something with.
   * @param {number} epoch
   * @param {number} place  the frame's `seq`, or the last one heard before it
   * @throws {NotOpened} the epoch was over at that place, or is not known
   */
  at(epoch, place) {
    const present = this.current;
    if (epoch === this.epoch) return present;
    if (epoch > this.epoch) this.newerCame = true;
    const keys = this.#epochs.get(epoch);
    if (keys && place < (this.#ends.get(epoch)?.seq ?? 0)) return keys;
    throw new NotOpened("sealed in another epoch of the room");
  }

  /**
   * Goes on to a new epoch, whose secret the owner has signed.
   * @param {number} epoch
   * @param {Bytes} secret
   * @param {Bytes} check
   * @param {number} place  the `seq` of the event
   * @param {number} now  ms on a clock that only goes up
   * @throws {Problem} `rekey_refused`
   */
  async advance(epoch, secret, check, place, now) {
    const keys = await this.derive(epoch, secret);
    if (epoch <= this.epoch || !same(keys.check, check)) {
      throw new Problem("rekey_refused", "the server's check is not that of the new epoch");
    }
    this.#ends.set(this.epoch, { seq: place, dropAt: now + ENDED_KEYS_KEPT_MS });
    this.#epochs.set(epoch, keys);
    this.epoch = epoch;
    this.#confirmed = true;
    this.newerCame = false;
  }

  /** Drops the keys of every epoch whose successor began 2 minutes ago: nothing sealed in it opens any more.
   * @param {number} now  ms on the clock that `advance` was given
   */
  dropEnded(now) {
    for (const [epoch, { dropAt }] of this.#ends) {
      if (now < dropAt) continue;
      this.#epochs.delete(epoch);
      this.#ends.delete(epoch);
    }
  }
}

/**
 * All that is made before the server is asked for a sealed room.
 * @param {string | undefined} password
 */
export async function newSealedRoom(password) {
  const { pair, publicRaw } = await newPair("Ed25519", false);
  const salt = await ownerSalt(publicRaw);
  const secret = drawSecret();
  const passwordKey = password === undefined ? null : await derivePasswordKey(password, salt);
  const first = await deriveEpoch(salt, 0, passwordKey, secret);
  const keys = new RoomKeys(
    { salt, password: passwordKey !== null, epoch: 0, owner: publicRaw, check: null }, passwordKey, first,
  );
  /** @type {OwnerKey} */
  const owner = { privateKey: pair.privateKey, publicRaw };
  return { access: await accessOf(first, publicRaw, passwordKey !== null), keys, owner, secret, passwordKey };
}

/**
 * The keys of the room behind `link`. Whether they are right shows when the server answers the join.
 * @param {Link} link
 * @param {Access} access
 * @param {Bytes | null} passwordKey
 * @throws {Problem} `password_needed`, `link_incomplete`, `downgrade`, `server_wrong`
 */
export async function unlock(link, access, passwordKey) {
  roomIsSealed(link, access);
  requireSecret(link, access);
  if (access.password && !passwordKey) throw new Problem("password_needed");
  return RoomKeys.make(access, passwordKey, link.secret);
}
