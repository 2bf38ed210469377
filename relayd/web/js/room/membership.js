/** One user's place in a room, kept over lost connections and rekeys. */

import * as api from "../api.js";
import { Problem } from "../problem.js";
import { Dropped, NotOpened } from "../seal/errors.js";
import { newId } from "../wire/bytes.js";
import { Connection } from "./connection.js";
import { Hearing } from "./hearing.js";
import { Outbox } from "./outbox.js";
import { Serial } from "./serial.js";

/** @typedef {Record<string, any>} Frame */

const MAX_FRAME_BYTES = 65_536; // `max_message` of a server as it comes
const REPLAYED = "replayed"; // of the ping whose pong comes behind everything that was missed
const CARD = "card"; // the id of `profile` frames
const PAGE = 200; // users in a `joined` frame, and on a page
const MOST_PAGES = 50; // 10,000 users, the most a server has in a room
const MOST_WAITING = 16_384; // frames that came and were not looked at
const MOST_DIRECTS = 4096; // as many as a room's ring holds
const REKEY_TIMEOUT_MS = 10_000;

export class Membership {
  serial = new Serial();
  /** @type {{first: boolean, sameEpoch: boolean, gapMs: number, recovered: boolean}} */ #back = {
    first: true, sameEpoch: false, gapMs: 0, recovered: false,
  };
  #epoch = ""; // of the room's order: another one begins with another life of the server
  /** @type {number | null} */ #seq = null; // the last one heard
  #caughtUpAt = 0;
  #heardAt = 0;
  #caughtUp = false;
  /** @type {Set<string>} */ #directs = new Set(); // "from id" of direct messages since the last place
  /** @type {Map<string, {resolve: () => void, reject: (problem: Problem) => void}>} */ #answers = new Map();
  /** @type {(() => void) | null} */ #onEpoch = null;
  /** @type {{resolve: () => void, reject: (problem: Problem) => void} | null} */ #joining = null;
  /** @type {(chunk: ArrayBuffer) => void} */ onChunk = () => {};
  /** @type {(frame: Frame) => void} */ onFileFrame = () => {};
  /** @type {() => void} */ onCaughtUp = () => {};
  /** @type {() => void} */ onShut = () => {}; // the connection is lost, or it is over
  /** @type {(problem: Problem) => void} */ onOver = () => {};

  /**
   * @param {object} parts
   * @param {import("./identity.js").Identity} parts.identity
   * @param {string} parts.key  invite or owner key; "" for those who come back by session alone
   * @param {import("./voice.js").Voice} parts.voice
   * @param {import("./store.js").Store} parts.store
   * @param {import("./roster.js").Roster} parts.roster
   * @param {import("./lines.js").Lines} parts.lines
   * @param {() => Promise<void>} parts.keep  saves the identity
   * @param {() => void} parts.onLink  the link may have changed
   */
  constructor({ identity, key, voice, store, roster, lines, keep, onLink }) {
    this.identity = identity;
    this.voice = voice;
    this.store = store;
    this.roster = roster;
    this.lines = lines;
    this.hearing = new Hearing(store, voice, roster, lines, this.serial);
    this.outbox = new Outbox((pending) => this.#transmit(pending));
    this.#key = key;
    this.#keep = keep;
    this.#onLink = onLink;
    const { protocol, host } = location;
    this.connection = new Connection(`${protocol === "https:" ? "wss" : "ws"}://${host}/${identity.roomId}`, {
      onOpen: () => this.serial.run(() => this.#join()),
      onFrame: (frame) => this.#take(frame),
      onChunk: (chunk) => this.onChunk(chunk),
      onLost: (problem, retryAt) => this.#onLost(problem, retryAt),
      onOver: (problem) => this.end(problem),
    });
  }

  #key;
  #keep;
  #onLink;

  /** Joins.
   * @returns {Promise<void>}
   * @throws {Problem}
   */
  join() {
    return new Promise((resolve, reject) => {
      this.#joining = { resolve, reject };
      this.connection.retry();
    });
  }

  /** The last place in the room's order that was heard. */
  get seq() {
    return this.#seq ?? 0;
  }

  /** Whether what is said now goes out at once. */
  get isIn() {
    return this.#caughtUp;
  }

  /** Writes a frame.
   * @param {Frame} frame
   * @returns {boolean} whether it had a way to go
   * @throws {Problem} `too_long`: it would end the connection
   */
  send(frame) {
    const text = JSON.stringify(frame);
    // New keys for a large room are longer, and servers take them.
    if (frame.type !== "rekey" && new TextEncoder().encode(text).length > MAX_FRAME_BYTES) throw new Problem("too_long");
    return this.connection.send(text);
  }

  /** The owner's work.
   * @param {Frame} frame
   * @returns {Promise<void>}
   * @throws {Problem} refused; `not_connected`, `unconfirmed`
   */
  command(frame) {
    return new Promise((resolve, reject) => {
      const id = newId();
      if (!this.isIn || !this.send({ ...frame, id })) reject(new Problem("not_connected"));
      else this.#answers.set(id, { resolve, reject });
    });
  }

  /** Something of the moment; without a connection, or under pressure, it is simply lost.
   * @param {string} kind
   * @param {unknown} data
   */
  signal(kind, data) {
    if (!this.isIn || this.store.state.muted) return;
    this.serial.run(async () => this.send({ type: "signal", ...(await this.voice.signal(kind, data)) })).catch(() => {});
  }

  /** Shows the present nick. */
  showNick() {
    this.serial.run(() => this.#sendProfile()).catch(() => {});
  }

  /** New keys for all but one, who is thrown out with it.
   * @param {string} userId
   * @param {boolean} ban
   */
  async rekey(userId, ban) {
    if (this.voice.sealed !== true || !("makeRekey" in this.voice)) throw new Problem("cannot_rekey");
    // A ban has no place in a rekey, so it comes first: out is out, whatever becomes of the keys.
    if (ban) await this.command({ type: "kick", user: userId, ban: true });
    const part = await this.voice.makeRekey(new Set(this.roster.users.keys()), userId);
    const begun = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Problem("unconfirmed")), REKEY_TIMEOUT_MS);
      this.#onEpoch = () => this.voice.epoch >= part.epoch && resolve(undefined);
    });
    begun.catch(() => {});
    await this.command({ type: "rekey", ...part, ...(ban ? {} : { kick: userId }) });
    await begun;
  }

  /** Gives up the place, in all tabs. */
  leave() {
    this.connection.send('{"type":"leave"}');
    this.end(new Problem("left"));
  }

  /** It is over. @param {Problem} problem */
  end(problem) {
    this.connection.close();
    this.hearing.close();
    this.#shut(problem);
    this.outbox.end(problem);
    this.#joining?.reject(problem);
    this.#joining = null;
    Object.assign(this.store.state, { phase: "over", problem, retryAt: null, typing: [] });
    this.store.touch("phase", "typing");
    this.onOver(problem);
  }

  /** @param {Problem} problem */
  #shut(problem) {
    this.#caughtUp = false;
    this.outbox.shut(problem);
    for (const { reject } of this.#answers.values()) reject(new Problem("unconfirmed", "the connection was lost"));
    this.#answers.clear();
    this.onShut();
  }

  /**
   * @param {Problem} problem
   * @param {number | null} retryAt
   */
  #onLost(problem, retryAt) {
    if (this.#joining) {
      this.end(problem); // a first join is tried again by the person
      return;
    }
    this.#shut(problem);
    Object.assign(this.store.state, { phase: "away", problem, retryAt });
    this.store.touch("phase");
  }

  #join() {
    const { session, nick } = this.identity;
    const profile = this.voice.joinProfile(nick);
    const since = this.#seq === null ? {} : { since: { epoch: this.#epoch, seq: this.#seq } };
    const proof = this.voice.proof;
    // With a session alone: with the key too, somebody thrown out while away would silently be somebody else. An
    // owner cannot be thrown out, and the owner's key makes nobody else.
    const key = session && !this.identity.ownerKey ? {} : { key: this.#key };
    this.send({
      type: "join", ...key, ...(session && { session }), ...(profile && { profile }), ...(proof && { proof }), ...since,
    });
  }

  /** One frame after the other: opening waits for WebCrypto, and the order must not suffer.
   * @param {Frame} frame
   */
  #take(frame) {
    if (this.serial.waiting > MOST_WAITING) {
      this.connection.drop(new Problem("slow_consumer"));
      return;
    }
    this.serial.run(() => this.#HANDLERS[String(frame.type)]?.(frame)).catch((error) => this.#onFailure(error));
  }

  /** @param {unknown} error */
  #onFailure(error) {
    if (error instanceof NotOpened || error instanceof Dropped) return;
    this.end(error instanceof Problem ? error : new Problem("internal", String(error)));
    if (!(error instanceof Problem)) throw error;
  }

  /** @type {Record<string, (frame: Frame) => unknown>} */
  #HANDLERS = {
    joined: (frame) => this.#onJoined(frame),
    message: (frame) => this.#onMessage(frame),
    signal: (frame) => this.hearing.onSignal(frame, this.seq),
    presence: (frame) => this.hearing.onPresence(frame, this.seq),
    room: (frame) => this.#onRoom(frame),
    ok: (frame) => this.#onOk(frame),
    error: (frame) => this.#onError(frame),
    pong: (frame) => this.#onPong(frame),
    file: (frame) => this.onFileFrame(frame),
  };

  /** @param {Frame} joined */
  async #onJoined(joined) {
    const { state } = this.store;
    const you = Object(joined.you);
    if (typeof you.id !== "string" || typeof you.session !== "string" || !Number.isSafeInteger(joined.seq)) {
      throw new Problem("server_wrong", "that is no answer to a join");
    }
    if (state.me && you.id !== state.me) throw new Problem("server_wrong", "the server has taken this user for another");
    await this.voice.welcome(joined);
    const first = this.#seq === null;
    const sameEpoch = joined.epoch === this.#epoch;
    this.#back = { first, sameEpoch, gapMs: Date.now() - this.#heardAt, recovered: joined.recovered === true };
    // In another life of the server places begin anew; in the same one, what was missed comes first.
    if (this.#seq === null || !sameEpoch || joined.seq < this.#seq) this.#seq = joined.seq;
    this.#epoch = String(joined.epoch);
    this.#caughtUpAt = joined.seq;
    this.#heardAt = Date.now();
    this.connection.onJoined();
    Object.assign(state, { me: you.id, owner: you.role === "owner", phase: "joined", problem: null, retryAt: null });
    Object.assign(this.identity, { session: you.session, endsAt: Date.parse(joined.room?.expiration_date) || 0 });
    this.#takeDetails(joined.room);
    this.store.touch("phase", "me");
    if (this.voice.sealed) await this.#sendProfile();
    await this.hearing.onJoined(joined, this.voice.joinProfile(this.identity.nick));
    state.muted = this.roster.users.get(you.id)?.muted ?? false;
    this.#onLink();
    await this.#keep();
    if (joined.room.users > joined.users?.length) this.#fetchUsers(joined.users.at(-1)?.id ?? "").catch(() => {});
    if (first) this.#onCaughtUp();
    else this.#onBack(joined);
  }

  /** @param {Frame} joined */
  #onBack({ recovered, missed }) {
    if (recovered !== true) this.lines.tell("missed", { count: Number.isSafeInteger(missed) ? missed : 0 });
    this.send({ type: "ping", id: REPLAYED });
  }

  #onCaughtUp() {
    this.#caughtUp = true;
    this.outbox.open({ ...this.#back, placeKeptMs: 1000 * (Number(this.store.state.details.settings?.resume) || 0) });
    this.#joining?.resolve();
    this.#joining = null;
    this.onCaughtUp();
  }

  /** @param {Frame} frame */
  #onPong(frame) {
    this.#heardAt = Date.now();
    if (frame.id !== REPLAYED || this.#caughtUp) return;
    this.#seq = Math.max(this.seq, this.#caughtUpAt); // what did not come by now never will
    this.#onCaughtUp();
  }

  /** @param {Frame} frame */
  async #onMessage(frame) {
    this.#heardAt = Date.now();
    if (!this.#isNew(frame)) return;
    await this.hearing.onMessage(frame, this.seq);
    if (frame.from === this.store.state.me) this.outbox.said(frame.id);
  }

  /** Whether this was not heard before; takes note of its place.
   * @param {Frame} frame
   */
  #isNew({ seq, from, id }) {
    if (Number.isSafeInteger(seq)) {
      if (seq <= this.seq) return false;
      this.#seq = seq;
      this.#directs.clear();
      return true;
    }
    // Those with `after` >= `since.seq` come again: so only what came since the last place must be known.
    const name = `${from} ${id}`;
    if (this.#directs.has(name)) return false;
    this.#directs.add(name);
    if (this.#directs.size > MOST_DIRECTS) this.#directs.delete(this.#directs.values().next().value ?? "");
    return true;
  }

  /** @param {Frame} frame */
  #onOk({ id }) {
    this.#answers.get(id)?.resolve();
    this.#answers.delete(id);
    this.outbox.said(id);
  }

  /** @param {Frame} error */
  #onError(error) {
    const answer = this.#answers.get(error.id);
    if (answer) {
      this.#answers.delete(error.id);
      answer.reject(new Problem(String(error.code), String(error.detail ?? ""), error.retry_after_ms));
    } else if (error.id === CARD && error.code !== "stale_epoch") {
      if (error.code !== "muted") setTimeout(() => this.showNick(), error.retry_after_ms ?? 1000);
    } else if (typeof error.fid === "string") this.onFileFrame(error);
    if (error.id !== undefined) this.outbox.refused(error, this.voice.epoch);
  }

  /** @param {Frame} frame */
  async #onRoom(frame) {
    const { state } = this.store;
    if (frame.event === "updated") this.#onUpdated(frame);
    else if (frame.event === "expiring") this.lines.tell("expiring", { count: Number(frame.in) || 0 });
    else if (frame.event === "announcement") this.lines.tell("announcement", { text: String(frame.text).slice(0, 4096) });
    else if (frame.event === "rekeyed") await this.#onRekeyed(frame);
    else if (frame.event === "closed") {
      state.closedBecause = String(frame.reason);
      this.lines.tell("closed", { text: state.closedBecause });
    }
  }

  /** @param {Frame} frame */
  #onUpdated(frame) {
    const before = this.store.state.details;
    this.#takeDetails(frame.room);
    const now = this.store.state.details;
    const fields = /** @type {const} */ (["name", "max", "expiration", "locked", "settings"]);
    const what = fields.filter((field) => JSON.stringify(before[field]) !== JSON.stringify(now[field]));
    if (what.length) this.lines.tell("updated", { what });
  }

  /** @param {Frame} frame */
  async #onRekeyed(frame) {
    if (Number.isSafeInteger(frame.seq)) this.#seq = Math.max(this.seq, frame.seq);
    try {
      if (!(await this.voice.takeRekey(frame))) return;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.lines.tell("rekey_refused");
      return;
    }
    this.#onLink();
    await this.#keep();
    await this.#sendProfile();
    this.outbox.onEpoch(this.voice.epoch);
    this.lines.tell("rekeyed");
    this.#onEpoch?.();
  }

  /** @param {unknown} details */
  #takeDetails(details) {
    const { state } = this.store;
    const fields = Object(details);
    if (fields.id !== this.identity.roomId || typeof fields.name !== "string") return;
    state.details = { ...state.details, ...fields };
    state.endsAt = Date.parse(state.details.expiration_date) || 0;
    state.usersLeave = state.details.expiration === "usersLeave";
    state.sealed = this.voice.sealed;
    state.canRekey = this.voice.canRekey;
    this.identity.name = fields.name;
    this.store.touch("details");
  }

  async #sendProfile() {
    const { nick } = this.identity;
    this.send({ type: "profile", id: CARD, profile: await this.voice.profile(nick) });
  }

  /**
   * Writes a message if there is a connection; else it is written when there is one again.
   * @param {import("./outbox.js").Pending} pending
   */
  #transmit(pending) {
    return this.serial.run(async () => {
      if (!this.isIn) return;
      const { id, to } = pending.said;
      const body = await this.voice.message(pending.said);
      const { epoch } = this.voice;
      if (!this.send({ type: "message", id, ...(to !== null && { to }), ...pending.more, body })) return;
      Object.assign(pending, { epoch, sentAt: pending.sentAt ?? Date.now() });
    });
  }

  /** The users that did not fit into the list; without them they show as strangers, no worse.
   * @param {string} after
   */
  async #fetchUsers(after) {
    let last = after;
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const { users } = await api.users(this.identity.roomId, this.#key, last);
      if (!Array.isArray(users)) return;
      await this.serial.run(() => this.hearing.onPage(users, this.seq));
      const id = users.at(-1)?.id;
      if (users.length < PAGE || id === last) return;
      last = String(id);
    }
  }
}
