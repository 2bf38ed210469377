/** One WebSocket after the other: connects, notices when it is dead, comes back by itself. Knows nothing of chats. */

import { noAnswer } from "../api.js";
import { Problem } from "../problem.js";
import { utf8 } from "../wire/bytes.js";
import { Backoff } from "./backoff.js";
import { moment, msSince } from "./clock.js";

/**
 * Who hears a connection.
 * @typedef {object} ConnectionListener
 * @property {() => void} onOpen  a socket is open: the join may be sent
 * @property {(frame: Record<string, any>, size: number) => void} onFrame
 * @property {(chunk: ArrayBuffer) => void} onChunk
 * @property {(problem: Problem, retryAt: number | null) => void} onLost  comes back by itself at `retryAt`, or, if that
 *     is null, when the person does
 * @property {(problem: Problem) => void} onOver  the server's last word
 * @property {() => boolean} isAwaiting  whether the server owes an answer
 */

/** By close code: what it is called, and what follows from it. */
const CLOSES = /** @type {Record<number, [code: string, then: "over" | "person" | "again"]>} */ ({
  1009: ["too_large", "again"],
  1011: ["internal", "again"],
  1012: ["restarting", "again"],
  1013: ["overloaded", "again"],
  4000: ["protocol_error", "over"],
  4001: ["join_timeout", "again"],
  4003: ["forbidden", "over"],
  4004: ["no_such_room", "over"],
  4009: ["room_full", "over"],
  4010: ["room_closed", "over"],
  4011: ["kicked", "over"],
  4013: ["locked", "over"],
  4014: ["left", "over"],
  4015: ["idle", "person"],
  4016: ["too_many_connections", "person"],
  4500: ["restarting", "again"],
  4508: ["slow_consumer", "again"],
  4529: ["rate_limited", "again"],
});
const QUESTION = "alive"; // the id of a ping that asks whether the server is there
const OPEN_TIMEOUT_MS = 20_000; // until the server has let this client in
const TICK_MS = 500;
const LATE_MS = 5_000; // a tick that is so late in a visible page: the device has slept
const HIDDEN_LATE_MS = 90_000; // in a hidden one browsers let a minute pass
const FRESH_MS = 1_000; // heard so short a time ago, nobody need ask
const QUIET_MS = 30_000; // so long without a word, a visible page asks whether the server is there
const AWAITED_MS = 3_000; // so long without an answer that is owed, any page does
const ANSWER_MS = 5_000; // for the answer to that; and
const WOKEN_ANSWER_MS = 3_000; // after a sleep: most connections have not outlived it
const SLOWEST_BYTES_MS = 16; // what a line carries that is slow, but not dead: 128 kbit/s
const LONGEST_WAY_MS = 30_000; // for what a page sends of files before their receivers ask for more
const UNASKED_BYTES = 131_072; // of a file, after which it is asked whether they have passed

export class Connection {
  #url;
  #listener;
  #backoff = new Backoff();
  /** @type {WebSocket | null} */ #socket = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #retry;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #deadline;
  generation = 0; // another one after each loss: what was heard before it is of another socket
  #waitsForPerson = false;
  #over = false;
  #openedAt = 0; // these two in ms of the page's clock
  #joinedAt = 0; // 0: not
  #silentMs = 0; // without a word of the server
  #owingMs = 0; // that the server has owed an answer
  #sentBytes = 0;
  #askedBytes = 0; // of them, those before the last question
  #clearAt = 0; // when all of them have passed, on a slow line
  #chunkBytes = 0; // of the last frame, if it was of a file: the next may be as long, and is heard only at its end
  #pausedUntil = 0; // a server that was told too much reads nothing before, ms of the page's clock
  /** @type {number | null} */ #patienceMs = null; // for the answer to a question that was asked
  #tickedAt = moment();
  /** @type {number | undefined} */ #retryAt; // when the server wants to see this client again, if it said so
  #tick = setInterval(() => this.#onTick(), TICK_MS);
  #ending = new AbortController();

  /**
   * @param {string} url
   * @param {ConnectionListener} listener
   */
  constructor(url, listener) {
    this.#url = url;
    this.#listener = listener;
    const { signal } = this.#ending;
    addEventListener("online", () => this.#onWake(), { signal });
    addEventListener("offline", () => this.#ask(ANSWER_MS), { signal });
    for (const kind of ["focus", "pageshow"]) addEventListener(kind, () => this.#onPerson(), { signal });
    for (const kind of ["visibilitychange", "resume"]) document.addEventListener(kind, () => this.#onPerson(), { signal });
  }

  get joined() {
    return this.#joinedAt > 0;
  }

  /** Bytes that were sent and are still here. */
  get backlog() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** The server has let this client in. */
  onJoined() {
    if (this.#socket?.readyState !== WebSocket.OPEN) return;
    this.#joinedAt = performance.now();
    this.#retryAt = undefined;
    clearTimeout(this.#deadline);
  }

  /**
   * @param {string | Uint8Array<ArrayBuffer>} data
   * @returns {boolean} whether it had a way to go
   */
  send(data) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(data);
    const bytes = typeof data === "string" ? utf8(data).length : data.length;
    const now = performance.now();
    this.#sentBytes += bytes;
    this.#clearAt = Math.min(Math.max(now, this.#clearAt) + bytes / SLOWEST_BYTES_MS, now + LONGEST_WAY_MS);
    return true;
  }

  /** Connects now, unless there is a socket; asks a living one whether it lives. */
  retry() {
    if (this.#over) return;
    if (this.#socket) this.#ask(ANSWER_MS);
    else this.#open();
  }

  /** The end: nothing is told any more. */
  close() {
    this.#over = true;
    this.#ending.abort();
    clearInterval(this.#tick);
    clearTimeout(this.#retry);
    clearTimeout(this.#deadline);
    this.#socket?.close(1000);
    this.#socket = null;
    this.#joinedAt = 0;
  }

  /** Lets go of the socket, as if it had been lost.
   * @param {Problem} problem
   */
  drop(problem) {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close(1000);
    if (socket) this.#lose(problem, "again");
  }

  #open() {
    clearTimeout(this.#retry);
    clearTimeout(this.#deadline);
    this.#waitsForPerson = false;
    const socket = new WebSocket(this.#url, "relay.v1");
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#openedAt = performance.now();
    this.#sentBytes = this.#askedBytes = this.#clearAt = this.#chunkBytes = this.#silentMs = this.#owingMs = 0;
    this.#patienceMs = null;
    this.#deadline = setTimeout(() => this.drop(noAnswer()), OPEN_TIMEOUT_MS);
    socket.onopen = () => socket === this.#socket && this.#listener.onOpen();
    socket.onmessage = ({ data }) => socket === this.#socket && this.#hear(data);
    socket.onclose = ({ code }) => {
      if (socket !== this.#socket) return;
      this.#socket = null;
      const [name, then] = CLOSES[code] ?? (code >= 4000 && code < 4500 ? ["server_wrong", "over"] : ["", "again"]);
      this.#lose(name ? new Problem(name) : noAnswer(), then);
    };
  }

  /** @param {string | ArrayBuffer} data */
  #hear(data) {
    this.#silentMs = 0;
    this.#chunkBytes = typeof data === "string" ? 0 : data.byteLength;
    if (typeof data !== "string") {
      this.#listener.onChunk(data);
      return;
    }
    /** @type {unknown} */
    let frame = null;
    try {
      frame = JSON.parse(data);
    } catch {
      // What cannot be read is passed over, as an unknown type is.
    }
    if (typeof frame !== "object" || frame === null) return;
    const fields = /** @type {Record<string, any>} */ (frame);
    const waitMs = fields.retry_after_ms ?? fields.retry_in_ms;
    if (typeof waitMs === "number" && waitMs >= 0) this.#retryAt = performance.now() + waitMs;
    if (fields.code === "rate_limited") this.#pausedUntil = this.#retryAt ?? 0;
    if (fields.type === "pong" && fields.id === QUESTION) {
      this.#patienceMs = null;
      this.#clearAt = performance.now() + (this.#sentBytes - this.#askedBytes) / SLOWEST_BYTES_MS;
    }
    this.#listener.onFrame(fields, data.length);
  }

  /**
   * @param {Problem} problem
   * @param {"over" | "person" | "again"} then
   */
  #lose(problem, then) {
    clearTimeout(this.#deadline);
    this.generation += 1;
    const livedMs = this.#joinedAt ? performance.now() - this.#joinedAt : 0;
    this.#joinedAt = 0;
    if (then === "over") {
      this.close();
      this.#listener.onOver(problem);
      return;
    }
    if (then === "person" && document.visibilityState !== "visible") {
      this.#waitsForPerson = true;
      this.#listener.onLost(problem, null);
      return;
    }
    // An old wish (a rate limit, minutes ago) has nothing to do with this.
    const askedMs = this.#retryAt === undefined ? undefined : this.#retryAt - performance.now();
    const delayMs = this.#backoff.nextMs(askedMs !== undefined && askedMs > 0 ? askedMs : undefined, livedMs);
    this.#retry = setTimeout(() => this.#open(), delayMs);
    this.#listener.onLost(problem, Date.now() + delayMs);
  }

  /** The device has a network again, or has slept: what there was may be gone, and what failed may work. */
  #onWake() {
    this.#backoff.reset();
    if (this.#joinedAt) this.#ask(WOKEN_ANSWER_MS);
    else if (!this.#socket) this.retry();
    else if (this.#socket.readyState === WebSocket.CONNECTING && performance.now() - this.#openedAt > WOKEN_ANSWER_MS) {
      this.#socket.close();
      this.#open();
    }
  }

  #onPerson() {
    if (document.visibilityState !== "visible") return;
    if (!this.#socket || this.#silentMs + msSince(this.#tickedAt) > FRESH_MS) this.#onWake();
  }

  #onTick() {
    const isVisible = document.visibilityState === "visible";
    const passedMs = msSince(this.#tickedAt);
    this.#tickedAt = moment();
    if (passedMs > (isVisible ? LATE_MS : HIDDEN_LATE_MS)) {
      if (!this.#waitsForPerson) this.#onWake();
      return;
    }
    this.#silentMs = performance.now() < this.#pausedUntil ? 0 : this.#silentMs + passedMs;
    this.#owingMs = this.#listener.isAwaiting() ? this.#owingMs + passedMs : 0;
    if (this.#patienceMs !== null) {
      if (this.#silentMs > this.#patienceMs) this.drop(noAnswer());
      return;
    }
    // A hidden tab is not kept from going idle.
    const isQuiet = isVisible && this.#silentMs > QUIET_MS;
    if (isQuiet || this.#owingMs > AWAITED_MS || this.#sentBytes - this.#askedBytes > UNASKED_BYTES) this.#ask(ANSWER_MS);
  }

  /**
   * Asks whether the server is there; without a word in time the socket is taken for dead. The question waits behind
   * what was sent before it, and the answer behind the frame that may be coming: a slow line needs time for both.
   * @param {number} patienceMs
   */
  #ask(patienceMs) {
    if (!this.joined || !this.send(`{"type":"ping","id":"${QUESTION}"}`)) return;
    const wayMs = Math.max(0, this.#clearAt - performance.now()) + this.#chunkBytes / SLOWEST_BYTES_MS;
    this.#patienceMs = patienceMs + wayMs;
    this.#askedBytes = this.#sentBytes;
    this.#silentMs = 0;
    this.#tickedAt = moment();
  }
}
