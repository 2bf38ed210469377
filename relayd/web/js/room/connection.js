/** One WebSocket after the other: connects, notices when it is dead, comes back by itself. Knows nothing of chats. */

import { noAnswer } from "../api.js";
import { Problem, waitMs } from "../problem.js";
import { utf8 } from "../wire/bytes.js";
import { Backoff } from "./backoff.js";
import { moment, msSince } from "./clock.js";

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
  4018: ["denied", "over"],
  4019: ["blocked", "over"],
  4500: ["restarting", "again"],
  4508: ["slow_consumer", "again"],
  4529: ["rate_limited", "again"],
});
const PROBE_ID = "alive"; // of the pings that check whether the connection is alive
const OPEN_TIMEOUT_MS = 20_000; // until the server has let this client in
const TICK_MS = 500;
const LATE_MS = 5_000; // a tick of a visible page that is this late: the device was asleep
const HIDDEN_LATE_MS = 90_000; // browsers delay the timers of hidden pages by up to a minute
const FRESH_MS = 1_000; // a frame received this recently proves that the connection is alive
const QUIET_MS = 30_000; // a visible page probes after this long without a frame
const ECHO_MS = 3_000; // any page probes after this long without an answer that is due
const PROBE_TIMEOUT_MS = 5_000;
const WAKE_PROBE_TIMEOUT_MS = 3_000; // few connections survive a sleep
const SLOWEST_BYTES_PER_MS = 16; // 128 kbit/s: a connection slower than this may be taken for dead
const MAX_FLUSH_MS = 30_000; // 480 KiB at that rate: what receivers of a file grant at a time
const PROBE_EVERY_BYTES = 131_072; // of an upload, to know how much of it has arrived

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
  // Times are those of performance.now().
  #openedAt = 0;
  #joinedAt = 0; // 0: not
  #silentMs = 0; // since the last frame from the server
  #awaitingMs = 0; // since an answer is due
  #sentBytes = 0;
  #probedBytes = 0; // sent before the last probe
  #flushedAt = 0; // when everything sent has arrived, at the slowest rate
  #chunkBytes = 0; // size of the last frame, if it was a chunk: the next one may take as long to arrive
  #pausedUntil = 0; // a server that rate-limits a client does not read from it before
  /** @type {number | null} */ #probeTimeoutMs = null; // of the probe under way
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
    addEventListener("offline", () => this.#probe(PROBE_TIMEOUT_MS), { signal });
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

  /** The server makes this client wait until somebody lets it in: that may take minutes. */
  onWaiting() {
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
    this.#flushedAt = Math.min(Math.max(now, this.#flushedAt) + bytes / SLOWEST_BYTES_PER_MS, now + MAX_FLUSH_MS);
    return true;
  }

  /** Connects now, or probes the connection that there is. */
  retry() {
    if (this.#over) return;
    if (this.#socket) this.#probe(PROBE_TIMEOUT_MS);
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
    this.#sentBytes = this.#probedBytes = this.#flushedAt = this.#chunkBytes = this.#silentMs = this.#awaitingMs = 0;
    this.#probeTimeoutMs = null;
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
    // Slow mode is about one message: the server goes on reading.
    const askedMs = fields.code === "slow_mode" ? undefined : waitMs(fields.retry_after_ms ?? fields.retry_in_ms);
    if (askedMs !== undefined) this.#retryAt = performance.now() + askedMs;
    if (fields.code === "rate_limited") this.#pausedUntil = this.#retryAt ?? 0;
    if (fields.type === "pong" && fields.id === PROBE_ID) {
      this.#probeTimeoutMs = null;
      this.#flushedAt = performance.now() + (this.#sentBytes - this.#probedBytes) / SLOWEST_BYTES_PER_MS;
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

  /** The device woke up, or has a network again: the connection may be dead, and a failed one may work now. */
  #onWake() {
    this.#backoff.reset();
    if (this.#joinedAt) this.#probe(WAKE_PROBE_TIMEOUT_MS);
    else if (!this.#socket) this.retry();
    else if (this.#socket.readyState === WebSocket.CONNECTING && performance.now() - this.#openedAt > WAKE_PROBE_TIMEOUT_MS) {
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
    this.#awaitingMs = this.#listener.isAwaiting() ? this.#awaitingMs + passedMs : 0;
    if (this.#probeTimeoutMs !== null) {
      if (this.#silentMs > this.#probeTimeoutMs) this.drop(noAnswer());
      return;
    }
    // A probe counts as activity, and the server may close hidden tabs that are idle.
    const isQuiet = isVisible && this.#silentMs > QUIET_MS;
    const isUploading = this.#sentBytes - this.#probedBytes > PROBE_EVERY_BYTES;
    if (isQuiet || isUploading || this.#awaitingMs > ECHO_MS) this.#probe(PROBE_TIMEOUT_MS);
  }

  /**
   * Sends a ping; if no frame at all arrives in time, the connection is dead. On a slow connection the ping waits for
   * what was sent before it, and the answer for a chunk that is arriving: the timeout is longer by both.
   * @param {number} timeoutMs
   */
  #probe(timeoutMs) {
    if (!this.joined || !this.send(`{"type":"ping","id":"${PROBE_ID}"}`)) return;
    const flushMs = Math.max(0, this.#flushedAt - performance.now());
    this.#probeTimeoutMs = timeoutMs + flushMs + this.#chunkBytes / SLOWEST_BYTES_PER_MS;
    this.#probedBytes = this.#sentBytes;
    this.#silentMs = 0;
    this.#tickedAt = moment();
  }
}
