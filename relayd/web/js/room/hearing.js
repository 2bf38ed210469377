/** From a server's frames to what a member sees: who is here, and what is said, opened and in order. */

import { Dropped, NotOpened, UnknownSender } from "../seal/errors.js";
import { cleanCount } from "./clean.js";
import { makeUser } from "./roster.js";

// Presence is told up to 250 ms late, so a newcomer's first words may come before their card.
const HOLD_MS = 1500;
const MOST_HELD = 8192;
const TYPING_MS = 6000;

/**
 * A newcomer is told of when the card has come, so that there is a name to be told; but somebody who shows none is told
 * of all the same, a moment later. Messages wait, all of them and in order, while name and card of the first one's
 * sender are on their way; a sender who was not shown in time is not waited for again before that.
 */
export class Hearing {
  #store;
  #voice;
  #roster;
  #lines;
  #serial;
  #onKeySignal;
  /** @type {{frame: Frame, place: number}[]} */ #held = [];
  /** @type {Set<string>} */ #unshown = new Set(); // user ids that are not waited for
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */ #newcomers = new Map(); // until they are told of
  /** @type {Map<string, ReturnType<typeof setTimeout>>} */ #typing = new Map();
  #isFirst = true;

  /**
   * @param {import("./store.js").Store} store
   * @param {Voice} voice
   * @param {import("./roster.js").Roster} roster
   * @param {import("./lines.js").Lines} lines
   * @param {import("./serial.js").Serial} serial  what is done later is done there
   * @param {(signal: any) => Promise<void>} onKeySignal  takes the owner's confirmations of the keys
   */
  constructor(store, voice, roster, lines, serial, onKeySignal) {
    this.#store = store;
    this.#voice = voice;
    this.#roster = roster;
    this.#lines = lines;
    this.#serial = serial;
    this.#onKeySignal = onKeySignal;
  }

  /** Takes the list of users as it is now.
   * @param {Frame} joined
   * @param {unknown} profile  this user's, in an open room
   */
  async onJoined(joined, profile) {
    const shapes = Array.isArray(joined.users) ? [...joined.users] : [];
    // The list is cut short in a large room.
    if (!shapes.some((shape) => Object(shape).id === joined.you.id)) shapes.push({ ...joined.you, profile });
    const users = await this.#present(shapes, joined.seq);
    this.#store.state.userCount = Math.max(cleanCount(joined.room.users), users.length);
    const change = this.#roster.replace(users, this.#store.state.userCount);
    this.#store.touch("users");
    if (!this.#isFirst) this.#tell(change);
    this.#isFirst = false;
    await this.#retry();
  }

  /** Takes users that were here all along, but did not fit into the list.
   * @param {Frame[]} shapes
   * @param {number} place
   */
  async onPage(shapes, place) {
    this.#roster.addPage(await this.#present(shapes, place));
    this.#store.touch("users");
    await this.#retry();
  }

  /**
   * @param {Frame} frame
   * @param {number} place  the last `seq` heard, this one's included
   */
  async onMessage(frame, place) {
    if (typeof frame.from !== "string" || typeof frame.id !== "string" || frame.id.length > 64) return;
    this.#held.push({ frame, place: frame.seq ?? frame.after ?? place });
    if (this.#held.length > MOST_HELD) this.#unshown.add(this.#held[0].frame.from);
    if (this.#held.length === 1 || this.#held.length > MOST_HELD) await this.#retry();
  }

  /**
   * @param {Frame} frame
   * @param {number} place
   */
  async onSignal(frame, place) {
    const { me, users, lines } = this.#store.state;
    if (!users.has(frame.from)) return;
    const signal = await this.#voice.readSignal(frame, place);
    const { kind, data } = signal;
    if (kind === "key_confirmation") await this.#onKeySignal(signal);
    if (frame.from === me) return;
    if (kind === "typing") this.#setTyping(frame.from, data === true);
    const { seq } = Object(data);
    if (kind === "read" && Number.isSafeInteger(seq) && seq >= 0 && lines.length) {
      this.#store.state.reads.set(frame.from, Math.min(seq, place));
      this.#store.touch("reads");
    }
  }

  /**
   * @param {Frame} frame
   * @param {number} place
   */
  async onPresence(frame, place) {
    const [joined, changed] = [await this.#present(frame.joined, place), await this.#present(frame.changed, place)];
    const left = Array.isArray(frame.left) ? frame.left.filter((id) => typeof id === "string") : [];
    this.#tell(this.#roster.update(joined, left, changed));
    this.#store.state.userCount = cleanCount(frame.users);
    this.#store.touch("users");
    await this.#retry();
  }

  /** A message was removed, which may still wait for its sender's card.
   * @param {unknown} seq
   */
  onRemoved(seq) {
    if (!Number.isSafeInteger(seq)) return;
    this.#held = this.#held.filter(({ frame }) => frame.seq !== seq);
    this.#lines.onRemoved(Number(seq));
  }

  /** Takes who waits to be let in.
   * @param {Frame} frame
   * @param {number} place
   */
  async onKnocking(frame, place) {
    this.#store.state.knocking = await this.#users(frame.users, (shape) => this.#voice.readNewcomer(shape, place));
    this.#store.touch("knocking");
  }

  /** The connection is lost: the cards that held messages wait for come with the next connection. */
  onLost() {
    clearTimeout(this.#timer);
  }

  /** It is over: nothing is told later. */
  close() {
    clearTimeout(this.#timer);
    for (const timer of [...this.#newcomers.values(), ...this.#typing.values()]) clearTimeout(timer);
  }

  /** Users who are in the room.
   * @param {unknown} shapes
   * @param {number} place
   */
  async #present(shapes, place) {
    const users = await this.#users(shapes, (shape) => this.#voice.readUser(shape, place));
    for (const { id, key } of users) if (key) this.#unshown.delete(id);
    return users;
  }

  /**
   * @param {unknown} shapes
   * @param {(shape: Frame) => Promise<{nick: string, key: string}>} read  what they show of themselves
   * @returns {Promise<User[]>}
   */
  async #users(shapes, read) {
    const users = [];
    for (const shape of Array.isArray(shapes) ? shapes : []) {
      if (typeof Object(shape).id === "string") users.push(makeUser(shape, await read(shape), this.#store.state.me));
    }
    return users;
  }

  /** @param {ReturnType<import("./roster.js").Roster["update"]>} change */
  #tell({ joined, left, changed }) {
    for (const { id, key } of joined) {
      this.#newcomers.set(id, setTimeout(() => this.#announce(id), HOLD_MS));
      if (key || !this.#voice.sealed) this.#announce(id);
    }
    for (const user of left) {
      this.#announce(user.id);
      this.#setTyping(user.id, false);
      this.#store.state.reads.delete(user.id);
      this.#lines.tellOf("left", user);
    }
    for (const [before, user] of changed) {
      if (this.#newcomers.has(user.id)) {
        if (user.key) this.#announce(user.id);
      } else this.#tellChanged(before, user);
      if (user.me && (before.muted !== user.muted || before.role !== user.role)) {
        Object.assign(this.#store.state, { muted: user.muted, role: user.role });
        this.#store.touch("me");
      }
    }
  }

  /**
   * @param {User} before
   * @param {User} user
   */
  #tellChanged(before, user) {
    if (before.nick !== user.nick && before.nick) this.#lines.tellRenamed(before, user);
    if (before.muted !== user.muted) {
      this.#lines.tell(user.muted ? "muted" : "unmuted", { nicks: [user.nick], me: user.me });
    }
    if (before.role !== user.role && user.role !== "owner") {
      this.#lines.tell(user.role === "moderator" ? "promoted" : "demoted", { nicks: [user.nick], me: user.me });
    }
    if (user.away) this.#setTyping(user.id, false);
  }

  /** Tells of a newcomer, if that has not been done.
   * @param {string} id
   */
  #announce(id) {
    const timer = this.#newcomers.get(id);
    if (timer === undefined) return;
    clearTimeout(timer);
    this.#newcomers.delete(id);
    this.#lines.tellOf("joined", this.#roster.known(id));
  }

  /**
   * @param {string} id
   * @param {boolean} on
   */
  #setTyping(id, on) {
    const { state } = this.#store;
    if (on || this.#typing.has(id)) {
      clearTimeout(this.#typing.get(id));
      this.#typing.delete(id);
      if (on) this.#typing.set(id, setTimeout(() => this.#setTyping(id, false), TYPING_MS));
      state.typing = [...this.#typing.keys()];
      this.#store.touch("typing");
    }
  }

  /** Tells what is held, up to the first message that has to wait. */
  async #retry() {
    clearTimeout(this.#timer);
    while (this.#held.length) {
      const { frame, place } = this.#held[0];
      if (!(await this.#open(frame, place))) {
        this.#timer = setTimeout(() => this.#serial.run(() => this.#giveUp()), HOLD_MS);
        return;
      }
      this.#held.shift();
    }
  }

  async #giveUp() {
    if (this.#held.length) this.#unshown.add(this.#held[0].frame.from);
    await this.#retry();
  }

  /**
   * @param {Frame} frame
   * @param {number} place
   * @returns {Promise<boolean>} false: its sender is waited for
   */
  async #open(frame, place) {
    const mayWait = !this.#unshown.has(frame.from);
    if (mayWait && !this.#roster.hasSeen(frame.from)) return false;
    const from = this.#roster.known(frame.from);
    try {
      const said = await this.#voice.readMessage(frame, place);
      const seq = Number.isSafeInteger(frame.seq) ? frame.seq : null;
      this.#setTyping(from.id, false);
      const to = typeof frame.to === "string" ? frame.to : null;
      this.#lines.hear(said, { from, to, seq, mine: from.id === this.#store.state.me });
    } catch (error) {
      if (error instanceof UnknownSender && mayWait) return false;
      if (error instanceof NotOpened) this.#lines.unreadable(from, frame.id, error.message);
      else if (!(error instanceof Dropped)) throw error;
    }
    return true;
  }
}
