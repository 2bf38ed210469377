/** One user's place in a room, kept over lost connections and rekeys. */

import { fetchUsers } from "../api.js";
import { Problem } from "../problem.js";
import { Dropped, NotOpened } from "../seal/errors.js";
import { newId } from "../wire/bytes.js";
import { About } from "./about.js";
import { Answers } from "./answers.js";
import { Connection } from "./connection.js";
import { Hearing } from "./hearing.js";
import { Order } from "./order.js";
import { Outbox } from "./outbox.js";
import { Serial } from "./serial.js";

/** @typedef {Record<string, any>} Frame */

const MAX_FRAME_BYTES = 65_536; // `max_message` of a server as it comes
const REPLAYED = "replayed"; // of the ping whose pong comes behind everything that was missed
const CARD = "card"; // the id of `profile` frames
const MOST_WAITING = 16_384; // frames that came and were not looked at
const REKEY_TIMEOUT_MS = 10_000;

export class Membership {
  serial = new Serial();
  #about;
  #key;
  #keep;
  #onLink;
  #order = new Order();
  #answers = new Answers();
  #caughtUp = false;
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
    this.#about = new About(store, lines, identity, voice);
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
    return this.#order.seq;
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
    const id = newId();
    if (!this.isIn || !this.send({ ...frame, id })) return Promise.reject(new Problem("not_connected"));
    return this.#answers.expect(id);
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
    this.#answers.rejectAll(new Problem("unconfirmed", "the connection was lost"));
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
    const since = this.#order.since;
    const proof = this.voice.proof;
    // With a session alone: with the key too, somebody thrown out while away would silently be somebody else. An
    // owner cannot be thrown out, and the owner's key makes nobody else.
    const key = session && !this.identity.ownerKey ? {} : { key: this.#key };
    this.send({
      type: "join", ...key, ...(session && { session }), ...(profile && { profile }), ...(proof && { proof }), ...(since && { since }),
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
    if (this.isIn) this.#order.heardAt = Date.now();
    this.serial.run(() => this.#handlers.get(frame.type)?.(frame)).catch((error) => this.#onFailure(error));
  }

  /** @param {unknown} error */
  #onFailure(error) {
    if (error instanceof NotOpened || error instanceof Dropped) return;
    this.end(error instanceof Problem ? error : new Problem("internal", String(error)));
    if (!(error instanceof Problem)) throw error;
  }

  /** @type {Map<unknown, (frame: Frame) => unknown>} */ #handlers = new Map(Object.entries({
    joined: (frame) => this.#onJoined(frame),
    message: (frame) => this.#onMessage(frame),
    signal: (frame) => this.hearing.onSignal(frame, this.seq),
    presence: (frame) => this.#onPresence(frame),
    room: (frame) => this.#onRoom(frame),
    ok: (frame) => this.#onOk(frame),
    error: (frame) => this.#onError(frame),
    pong: (frame) => this.#onPong(frame),
    file: (frame) => this.onFileFrame(frame),
  }));

  /** @param {Frame} joined */
  async #onJoined(joined) {
    const { state } = this.store;
    const you = Object(joined.you);
    if (typeof you.id !== "string" || typeof you.session !== "string" || !Number.isSafeInteger(joined.seq)) {
      throw new Problem("server_wrong", "that is no answer to a join");
    }
    if (state.me && you.id !== state.me) throw new Problem("server_wrong", "the server has taken this user for another");
    await this.voice.welcome(joined);
    const back = this.#order.begin(joined);
    this.connection.onJoined();
    Object.assign(state, { me: you.id, owner: you.role === "owner", phase: "joined", problem: null, retryAt: null });
    Object.assign(this.identity, { session: you.session, endsAt: Date.parse(joined.room?.expiration_date) || 0 });
    this.#about.take(joined.room);
    this.store.touch("phase", "me");
    if (this.voice.sealed) await this.#sendProfile();
    await this.hearing.onJoined(joined, this.voice.joinProfile(this.identity.nick));
    state.muted = this.roster.users.get(you.id)?.muted ?? false;
    this.#onLink();
    await this.#keep();
    if (joined.room.users > joined.users?.length) this.#fetchUsers(joined.users.at(-1)?.id ?? "");
    if (back.first) this.#onCaughtUp();
    else this.#onBack(joined);
  }

  /** The users that did not fit into the list; without them they show as strangers, no worse.
   * @param {string} after
   */
  #fetchUsers(after) {
    const take = (/** @type {Frame[]} */ page) => this.serial.run(() => this.hearing.onPage(page, this.seq));
    fetchUsers(this.identity.roomId, this.#key, after, take).catch(() => {});
  }

  /** @param {Frame} joined */
  #onBack({ recovered, missed }) {
    if (recovered !== true) this.lines.tell("missed", { count: Number.isSafeInteger(missed) ? missed : 0 });
    this.send({ type: "ping", id: REPLAYED });
  }

  #onCaughtUp() {
    this.#caughtUp = true;
    this.outbox.open({ ...this.#order.back, placeKeptMs: 1000 * (Number(this.store.state.details.settings?.resume) || 0) });
    this.#joining?.resolve();
    this.#joining = null;
    this.onCaughtUp();
  }

  /** @param {Frame} frame */
  async #onPresence(frame) {
    await this.hearing.onPresence(frame, this.seq);
    this.identity.nick = this.roster.me.nick || this.identity.nick; // another tab may have changed it
  }

  /** @param {Frame} frame */
  #onPong(frame) {
    if (frame.id !== REPLAYED || this.#caughtUp) return;
    this.#order.catchUp();
    this.#onCaughtUp();
  }

  /** @param {Frame} frame */
  async #onMessage(frame) {
    if (!this.#order.isNew(frame)) return;
    await this.hearing.onMessage(frame, this.seq);
    if (frame.from === this.store.state.me) this.outbox.said(frame.id);
  }

  /** @param {Frame} frame */
  #onOk({ id }) {
    this.#answers.resolve(id);
    this.outbox.said(id);
  }

  /** @param {Frame} error */
  #onError(error) {
    const problem = new Problem(String(error.code), String(error.detail ?? ""), error.retry_after_ms);
    if (this.#answers.reject(error.id, problem)) return;
    if (error.id === CARD && error.code !== "stale_epoch") {
      if (error.code !== "muted") setTimeout(() => this.showNick(), error.retry_after_ms ?? 1000);
    } else if (typeof error.fid === "string") this.onFileFrame(error);
    if (error.id !== undefined) this.outbox.refused(error, this.voice.epoch);
  }

  /** @param {Frame} frame */
  async #onRoom(frame) {
    if (frame.event === "rekeyed") await this.#onRekeyed(frame);
    else this.#about.onEvent(frame);
  }

  /** @param {Frame} frame */
  async #onRekeyed(frame) {
    this.#order.skipTo(frame.seq);
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
}
