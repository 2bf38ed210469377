/** Opening what a room says, and not believing what was replayed, reflected or put under another name. */

import { decodeBase64url, encodeBase64url } from "../wire/bytes.js";
import { CARD, DIRECT, decodeJson, MESSAGE, openAt, readSealed, SIGNAL, unpad } from "./bodies.js";
import { Dropped, NotOpened, UnknownSender } from "./errors.js";
import { openBox } from "./hpke.js";
import { directInfo } from "./sealer.js";

// What says it is from so long before one's own join was said to someone else, and kept.
const REPLAY_MS = 120_000;
// A pair belongs to a session, and a server remembers 16 sessions of a user (docs/protocol.md).
const KEYS_A_USER = 16;
const MOST_SAID = 65_536;
const MOST_SENDERS = 262_144; // past it nothing of a new socket is believed, rather than a replay

/**
 * Opens what others say in one room; lives as long as the page, over reconnects and rekeys. Its methods must not
 * overlap: what one takes note of, the next relies on. The server is told of nothing that fails.
 */
export class Opener {
  #room;
  #user;
  #me;
  #joinedAt;
  /** @type {Map<string, import("./sealer.js").Sealer>} */ #sealers = new Map(); // own sid -> its sealer
  /** @type {Map<string, string[]>} */ #keys = new Map(); // user id -> card keys, the present one last
  /** @type {Map<string, string>} */ #keyUser = new Map(); // card key -> who showed it first
  /** @type {Map<string, string>} */ #sidUser = new Map(); // sid -> who used it first
  /** @type {Map<string, number>} */ #last = new Map(); // "user sid type" -> n of what came last
  /** @type {Set<string>} */ #said = new Set(); // "by id"

  /**
   * @param {import("./keys.js").RoomKeys} room
   * @param {UserKey} user
   * @param {string} me
   * @param {number} joinedAt  ms since 1970, of this user's first join
   */
  constructor(room, user, me, joinedAt) {
    this.#room = room;
    this.#user = user;
    this.#me = me;
    this.#joinedAt = joinedAt;
    this.own = encodeBase64url(user.publicRaw);
    this.#keys.set(me, [this.own]);
    this.#keyUser.set(this.own, me);
  }

  /** @param {import("./sealer.js").Sealer} sealer */
  addSealer(sealer) {
    this.#sealers.set(String(sealer.sid), sealer);
  }

  /** All card keys of a user as text, the present one last.
   * @param {string} user
   */
  keysOf(user) {
    return this.#keys.get(user) ?? [];
  }

  /** The present card key of everyone ever seen: user id -> text. */
  cardKeys() {
    return new Map(Array.from(this.#keys, ([user, keys]) => [user, keys[keys.length - 1]]));
  }

  /** Whose card key that is.
   * @param {string} key
   */
  userOf(key) {
    return this.#keyUser.get(key);
  }

  /**
   * @param {string} user
   * @param {unknown} profile
   * @param {number} place  the last `seq` heard before it
   * @throws {NotOpened | Dropped}
   */
  async card(user, profile, place) {
    const { slot, nick, key, epoch } = await this.newcomerCard(user, profile, place);
    this.#keyUser.set(key, user);
    const known = this.#keys.get(user) ?? [];
    this.#keys.set(user, [...known.filter((one) => one !== key), key].slice(-KEYS_A_USER));
    this.#accept(user, slot);
    return { nick, key, epoch };
  }

  /** The card of somebody who is not in the room, of which no note is taken: they may come again as another user.
   * @param {string} user
   * @param {unknown} profile
   * @param {number} place
   * @throws {NotOpened | Dropped}
   */
  async newcomerCard(user, profile, place) {
    const { keys, slot, plaintext } = await this.#open(user, CARD, profile, place);
    const { nick, hpke } = decodeJson(plaintext);
    if (typeof nick !== "string" || !decodeBase64url(hpke, 32)) throw new NotOpened("what is inside has another form");
    const key = String(hpke);
    if ((this.#keyUser.get(key) ?? user) !== user) throw new NotOpened("the card has the key of another user");
    return { slot, nick, key, epoch: keys.epoch };
  }

  /**
   * @param {string} user
   * @param {unknown} data
   * @param {number} place
   * @throws {NotOpened | Dropped}
   */
  async signal(user, data, place) {
    const { keys, slot, plaintext } = await this.#open(user, SIGNAL, data, place);
    const signal = decodeJson(plaintext);
    if (typeof signal.kind !== "string") throw new NotOpened("what is inside has another form");
    this.#accept(user, slot);
    return { kind: signal.kind, data: signal.data ?? null, keys, slot };
  }

  /**
   * @param {Heard} heard
   * @returns {Promise<Opened>}
   * @throws {NotOpened | Dropped}
   */
  async message(heard) {
    const type = heard.to === null ? MESSAGE : DIRECT;
    const { keys, slot, plaintext } = await this.#open(heard.from, type, heard.body, heard.place);
    if (!this.keysOf(heard.from).length) throw new UnknownSender("its sender's card has not come yet");
    const text = type === DIRECT ? await this.#openDirect(heard, keys, slot, plaintext) : plaintext;
    const { id, by, t, body } = decodeJson(text);
    const fits = typeof id === "string" && typeof by === "string" && body !== undefined;
    if (!fits || !Number.isSafeInteger(t) || Number(t) < 0) throw new NotOpened("what is inside has another form");
    this.#requireKey(heard.from, by);
    if (id !== heard.id) throw new NotOpened("it was sealed under another id");
    this.#accept(heard.from, slot);
    const name = `${by} ${id}`;
    if (this.#said.has(name)) throw new Dropped("it was said before");
    this.#said.add(name);
    if (this.#said.size > MOST_SAID) this.#said.delete(this.#said.values().next().value ?? "");
    const at = Number(t);
    return { by, id, at, body, epoch: keys.epoch, replayed: at <= this.#joinedAt - REPLAY_MS };
  }

  /**
   * The box that is for this user: `own` of what this user's tabs said, `box` of all else.
   * @param {Heard} heard
   * @param {EpochKeys} keys
   * @param {Slot} slot
   * @param {Bytes} plaintext
   */
  async #openDirect(heard, keys, slot, plaintext) {
    const { to, box: theirs, own } = decodeJson(plaintext);
    const mine = heard.from === this.#me;
    this.#requireKey(heard.to ?? "", to);
    if (!mine && to !== this.own) throw new NotOpened("it is sealed to another user");
    const box = decodeBase64url(mine ? own : theirs);
    if (!box) throw new NotOpened("what is inside has another form");
    for (const sender of this.keysOf(heard.from).slice().reverse()) {
      const info = directInfo(keys, slot, /** @type {Bytes} */ (decodeBase64url(sender)), this.#user.publicRaw);
      const padded = await openBox(box, this.#user, info).catch(() => null);
      if (padded) return unpad(padded);
    }
    throw new NotOpened("it is not sealed to this user");
  }

  /**
   * @param {string} user
   * @param {unknown} key
   */
  #requireKey(user, key) {
    if (!this.keysOf(user).includes(/** @type {string} */ (key))) throw new NotOpened("it names the key of someone else");
  }

  /**
   * Opens `body` unless it was replayed, reflected or taken from someone. Takes note of nothing.
   * @param {string} user
   * @param {number} type
   * @param {unknown} body
   * @param {number} place
   */
  async #open(user, type, body, place) {
    const { epoch, sid, n, ciphertext, c } = readSealed(body);
    const keys = this.#room.at(epoch, place);
    const sidText = String(sid);
    const own = this.#sealers.get(sidText);
    if (own && !(user === this.#me && (await own.hasSent(type, n, c)))) {
      throw new Dropped("it bears this page's own mark, but was not sent by it");
    }
    if ((this.#sidUser.get(sidText) ?? user) !== user) throw new NotOpened("it was sealed by another user");
    const last = this.#last.get(`${user} ${sidText} ${type}`) ?? -1;
    // A card is shown again and again (to newcomers, after a reconnect), everything else once.
    if (n < last || (n === last && type !== CARD)) throw new Dropped("it came before");
    const slot = { type, sid, n };
    return { keys, slot, plaintext: await openAt(keys, slot, ciphertext) };
  }

  /**
   * @param {string} user
   * @param {Slot} slot
   */
  #accept(user, slot) {
    const sid = String(slot.sid);
    if (!this.#sidUser.has(sid) && this.#sidUser.size >= MOST_SENDERS) throw new NotOpened("too many have come");
    this.#last.set(`${user} ${sid} ${slot.type}`, slot.n);
    if (!this.#sidUser.has(sid)) this.#sidUser.set(sid, user);
  }
}
