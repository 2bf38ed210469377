/** One WebSocket after the other: connects, notices when it is dead, comes back by itself. Knows nothing of chats. */

import { noAnswer } from "../api.js";
import { Problem } from "../problem.js";
import { Backoff } from "./backoff.js";

/**
 * Who hears a connection.
 * @typedef {object} ConnectionListener
 * @property {() => void} onOpen  a socket is open: the join may be sent
 * @property {(frame: Record<string, any>, size: number) => void} onFrame
 * @property {(chunk: ArrayBuffer) => void} onChunk
 * @property {(problem: Problem, retryAt: number | null) => void} onLost  comes back by itself at `retryAt`, or, if that
 *     is null, when the person does
 * @property {(problem: Problem) => void} onOver  the server's last word
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
const OPEN_TIMEOUT_MS = 20_000; // until the server has let this client in
const QUIET_MS = 30_000; // so long without a word, a visible page asks whether the server is there
const ANSWER_MS = 5_000;
const TICK_MS = 5_000;

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
  #joinedAt = 0; // 0: not
  #heardAt = 0;
  #tickedAt = Date.now();
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
    addEventListener("online", () => this.retry(), { signal });
    addEventListener("offline", () => this.#probe(), { signal });
    addEventListener("pageshow", () => this.#onPerson(), { signal });
    document.addEventListener("visibilitychange", () => this.#onPerson(), { signal });
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
    this.#joinedAt = Date.now();
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
    return true;
  }

  /** Connects now, unless there is a socket; asks a living one whether it lives. */
  retry() {
    if (this.#over) return;
    if (this.#socket) {
      this.#probe();
      return;
    }
    this.#open();
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
    this.#waitsForPerson = false;
    const socket = new WebSocket(this.#url, "relay.v1");
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
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
    this.#heardAt = Date.now();
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
    if (typeof waitMs === "number" && waitMs >= 0) this.#retryAt = Date.now() + waitMs;
    this.#listener.onFrame(fields, data.length);
  }

  /**
   * @param {Problem} problem
   * @param {"over" | "person" | "again"} then
   */
  #lose(problem, then) {
    clearTimeout(this.#deadline);
    this.generation += 1;
    const livedMs = this.#joinedAt ? Date.now() - this.#joinedAt : 0;
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
    const askedMs = this.#retryAt === undefined ? undefined : this.#retryAt - Date.now();
    const delayMs = this.#backoff.nextMs(askedMs !== undefined && askedMs > 0 ? askedMs : undefined, livedMs);
    this.#retry = setTimeout(() => this.#open(), delayMs);
    this.#listener.onLost(problem, Date.now() + delayMs);
  }

  #onPerson() {
    if (document.visibilityState !== "visible") return;
    if (this.#waitsForPerson || !this.#socket) this.retry();
    else this.#probe();
  }

  #onTick() {
    const asleep = Date.now() - this.#tickedAt > 3 * TICK_MS;
    this.#tickedAt = Date.now();
    // A hidden tab is not kept from going idle; after a sleep each looks whether its connection has outlived it.
    const quiet = document.visibilityState === "visible" && Date.now() - this.#heardAt > QUIET_MS;
    if (asleep || quiet) this.#probe();
  }

  /** Asks whether the server is there; without a word in time the socket is taken for dead. */
  #probe() {
    const socket = this.#socket;
    if (!socket || !this.joined) return;
    const asked = Date.now();
    this.send('{"type":"ping"}');
    setTimeout(() => socket === this.#socket && this.#heardAt < asked && this.drop(noAnswer()), ANSWER_MS);
  }
}
