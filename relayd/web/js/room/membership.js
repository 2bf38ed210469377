/** One user's place in a room, kept over lost connections and rekeys. */

import { fetchUsers } from "../api.js";
import { Problem } from "../problem.js";
import { Dropped, NotOpened } from "../seal/errors.js";
import { About } from "./about.js";
import { cleanCount } from "./clean.js";
import { Clock } from "./clock.js";
import { Connection } from "./connection.js";
import { Hearing } from "./hearing.js";
import { joinFrame } from "./join-frame.js";
import { Order } from "./order.js";
import { Outbox } from "./outbox.js";
import { Rekeying } from "./rekeying.js";
import { readRole } from "./roster.js";
import { Serial } from "./serial.js";
import { CARD, Speaker } from "./speaker.js";

const REPLAYED = "replayed"; // of the ping whose pong comes behind everything that was missed
const CARD_AGAIN_MS = 1000;
const MOST_WAITING = 16_384; // frames that came and were not looked at

export class Membership {
  serial = new Serial();
  /** @type {Promise<void>} */ allKnown = Promise.resolve(); // users that did not fit into the answer to the join, too
  #key;
  #keep;
  #onLink;
  #clock = new Clock();
  #order = new Order(this.#clock);
  /** @type {{resolve: () => void, reject: (problem: Problem) => void, onWaiting: () => void} | null} */ #joining = null;
  /** @type {(chunk: ArrayBuffer) => void} */ onChunk = () => {};
  /** @type {(frame: Frame) => void} */ onFileFrame = () => {};
  /** @type {() => void} */ onCaughtUp = () => {};
  /** @type {() => void} */ onShut = () => {}; // the connection is lost, or it is over
  /** @type {(problem: Problem) => void} */ onOver = () => {};

  /**
   * @param {object} parts
   * @param {Identity} parts.identity
   * @param {string} parts.key  invite or owner key
   * @param {Voice} parts.voice
   * @param {import("./store.js").Store} parts.store
   * @param {import("./roster.js").Roster} parts.roster
   * @param {import("./lines.js").Lines} parts.lines
   * @param {() => Promise<boolean>} parts.keep  saves the identity; whether that has worked
   * @param {() => void} parts.onLink  the link may have changed
   */
  constructor({ identity, key, voice, store, roster, lines, keep, onLink }) {
    this.identity = identity;
    this.voice = voice;
    this.store = store;
    this.roster = roster;
    this.lines = lines;
    this.hearing = new Hearing(store, voice, roster, lines, this.serial, (signal) => this.rekeying.onSignal(signal));
    this.about = new About(store, lines, identity, voice);
    this.outbox = new Outbox((pending) => this.speaker.transmit(pending), this.#clock);
    this.rekeying = new Rekeying(this);
    this.#key = key;
    this.#keep = keep;
    this.#onLink = onLink;
    const { protocol, host } = location;
    this.connection = new Connection(`${protocol === "https:" ? "wss" : "ws"}://${host}/${identity.roomId}`, {
      onOpen: () => this.serial.run(() => this.#join()),
      onFrame: (frame) => this.#take(frame),
      onChunk: (chunk) => this.onChunk(chunk),
      // After what was heard before: the reason why a room was closed comes in a frame.
      onLost: (problem, retryAt) => this.serial.run(() => this.#onLost(problem, retryAt)),
      onOver: (problem) => this.serial.run(() => this.end(problem)),
      isAwaiting: () => this.#isAwaiting(),
    });
    this.speaker = new Speaker(this.connection, this.serial, voice, identity, store.state, this.#clock);
  }

  /** Joins.
   * @param {() => void} onWaiting  somebody inside has to let this user in
   * @returns {Promise<void>}
   * @throws {Problem}
   */
  join(onWaiting) {
    return new Promise((resolve, reject) => {
      this.#joining = { resolve, reject, onWaiting };
      this.connection.retry();
    });
  }

  get seq() {
    return this.#order.seq; // the last place in the room's order that was heard
  }

  get isIn() {
    return this.speaker.isOpen; // what is said now goes out at once
  }

  /** Gives up the place, in all tabs. */
  leave() {
    this.connection.send('{"type":"leave"}');
    this.end(new Problem("left"));
  }

  /** It is over.
   * @param {Problem} problem
   */
  end(problem) {
    if (this.store.state.phase === "over") return;
    this.connection.close();
    this.hearing.close();
    this.rekeying.close();
    this.#shut(problem);
    this.outbox.end(problem);
    this.#joining?.reject(problem);
    this.#joining = null;
    Object.assign(this.store.state, { phase: "over", problem, retryAt: null, typing: [] });
    this.store.touch("phase", "typing");
    this.onOver(problem);
  }

  /** @returns {boolean} whether an answer of the server is due */
  #isAwaiting() {
    return this.outbox.isAwaiting || this.speaker.answers.isAwaiting;
  }

  /** @param {Problem} problem */
  #shut(problem) {
    this.speaker.isOpen = false;
    this.outbox.shut(problem);
    this.speaker.answers.rejectAll(new Problem("unconfirmed", "the connection was lost"));
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
    this.hearing.onLost();
    Object.assign(this.store.state, { phase: "away", problem, retryAt });
    this.store.touch("phase");
  }

  #join() {
    this.speaker.send(joinFrame(this.identity, this.voice, this.#key, this.#order.since));
  }

  /** One frame after the other: opening waits for WebCrypto, and the order must not suffer.
   * @param {Frame} frame
   */
  #take(frame) {
    if (this.serial.waiting > MOST_WAITING) {
      this.connection.drop(new Problem("slow_consumer"));
      return;
    }
    if (this.isIn) this.#order.onReceived();
    const { generation } = this.connection;
    this.serial.run(() => {
      // Of a socket that is gone by now: the next one's join is answered, too.
      const isPast = frame.type === "joined" && generation !== this.connection.generation;
      if (isPast || this.store.state.phase === "over") return undefined;
      return this.#handlers.get(frame.type)?.(frame);
    }).catch((error) => this.#onFailure(error));
  }

  /** @param {unknown} error */
  #onFailure(error) {
    if (error instanceof NotOpened || error instanceof Dropped) return;
    this.end(error instanceof Problem ? error : new Problem("internal", String(error)));
    if (!(error instanceof Problem)) throw error;
  }

  /** @type {Map<unknown, (frame: Frame) => unknown>} */ #handlers = new Map(Object.entries({
    joined: (frame) => this.#onJoined(frame),
    waiting: (frame) => this.#onWaiting(frame),
    message: (frame) => this.#onMessage(frame),
    signal: (frame) => this.hearing.onSignal(frame, this.seq),
    presence: (frame) => this.#onPresence(frame),
    room: (frame) => this.#onRoom(frame),
    ok: (frame) => this.#onOk(frame),
    error: (frame) => this.#onError(frame),
    pong: (frame) => this.#onPong(frame),
    file: (frame) => this.onFileFrame(frame),
  }));

  /** @param {Frame} waiting */
  async #onWaiting({ room }) {
    this.connection.onWaiting();
    const profile = await this.voice.knock(room, this.identity.nick);
    if (profile) this.speaker.send({ type: "profile", profile });
    this.#joining?.onWaiting();
  }

  /** @param {Frame} joined */
  async #onJoined(joined) {
    const [{ state }, you, room] = [this.store, Object(joined.you), Object(joined.room)];
    const fits = typeof you.id === "string" && typeof you.session === "string" && room.id === this.identity.roomId;
    if (!fits || !Number.isSafeInteger(joined.seq)) {
      throw new Problem("server_wrong", "that is no answer to a join");
    }
    if (state.me && you.id !== state.me) throw new Problem("server_wrong", "the server has taken this user for another");
    await this.voice.welcome(joined);
    const back = this.#order.begin(joined);
    this.connection.onJoined();
    Object.assign(state, { me: you.id, role: readRole(you.role), phase: "joined", problem: null, retryAt: null });
    this.identity.session = you.session;
    this.about.take(joined.room);
    this.store.touch("phase", "me");
    if (this.voice.sealed) await this.speaker.sendProfile();
    await this.hearing.onJoined(joined, this.voice.joinProfile(this.identity.nick));
    state.muted = this.roster.users.get(you.id)?.muted ?? false;
    await this.keep();
    const last = Array.isArray(joined.users) ? joined.users.at(-1)?.id : undefined;
    if (joined.room.users > joined.users?.length) this.#fetchUsers(typeof last === "string" ? last : "");
    if (back.first) this.#onCaughtUp();
    else this.#onBack(joined);
  }

  /** The users that did not fit into the list; without them they show as strangers, no worse.
   * @param {string} after
   */
  #fetchUsers(after) {
    const take = (/** @type {Frame[]} */ page) => this.serial.run(() => this.hearing.onPage(page, this.seq));
    this.allKnown = fetchUsers(this.identity.roomId, this.identity.session, after, take).then(() => this.rekeying.onUsers(), () => {});
  }

  /** @param {Frame} joined */
  #onBack({ recovered, missed }) {
    if (recovered !== true) this.lines.tell("missed", { count: cleanCount(missed) });
    this.speaker.send({ type: "ping", id: REPLAYED });
  }

  #onCaughtUp() {
    this.speaker.isOpen = true;
    this.rekeying.onCaughtUp();
    this.outbox.open({ ...this.#order.back, placeKeptMs: 1000 * this.store.state.details.settings.resume });
    this.#joining?.resolve();
    this.#joining = null;
    this.onCaughtUp();
  }

  /** @param {Frame} frame */
  async #onPresence(frame) {
    const { state } = this.store;
    const wasMuted = state.muted;
    await this.hearing.onPresence(frame, this.seq);
    this.rekeying.onUsers();
    if (wasMuted && !state.muted) await this.speaker.sendProfile(); // the server refuses profiles during a mute
    this.identity.nick = this.roster.me.nick || this.identity.nick; // another tab may have changed it
  }

  /** @param {Frame} frame */
  #onPong(frame) {
    if (frame.id !== REPLAYED || this.isIn) return;
    this.#order.catchUp();
    this.#onCaughtUp();
  }

  /** @param {Frame} frame */
  async #onMessage(frame) {
    if (!this.#order.isNew(frame)) return;
    await this.hearing.onMessage(frame, this.seq);
    if (frame.from === this.store.state.me) this.outbox.said(frame.id);
  }

  /** @param {Frame} answer */
  #onOk(answer) {
    this.speaker.answers.resolve(answer);
    this.outbox.said(answer.id);
  }

  /** @param {Frame} error */
  #onError(error) {
    const problem = new Problem(error.code, error.detail, error.retry_after_ms);
    if (this.speaker.answers.reject(error.id, problem)) return;
    if (error.id === CARD && error.code !== "stale_epoch") {
      if (error.code !== "muted") setTimeout(() => this.speaker.showNick(), problem.retryAfterMs ?? CARD_AGAIN_MS);
    } else if (typeof error.fid === "string") this.onFileFrame(error);
    if (error.id !== undefined) this.outbox.refused(error.id, problem, this.voice.epoch);
  }

  /** @param {Frame} frame */
  #onRoom(frame) {
    this.#order.skipTo(frame.seq); // some have a place
    if (frame.event === "rekeyed") return this.rekeying.onEvent(frame);
    if (frame.event === "removed") return this.hearing.onRemoved(frame.message);
    if (frame.event === "knocking") return this.hearing.onKnocking(frame, this.seq);
    return this.about.onEvent(frame);
  }

  /** What is kept on this device has changed, and perhaps the link with it. */
  async keep() {
    this.#onLink();
    this.store.state.remembered = await this.#keep();
    this.store.touch("me");
  }
}
