/**
 * What this page has said and the server has not acknowledged: said exactly once, or known not to be. One at a time is
 * on its way, so that the order stays; after a lost connection it goes again under the same id, which the server says
 * only once, for as long as it remembers the id. Past that only the replay of what was missed can tell; where it
 * cannot, the person is asked.
 */

import { Problem } from "../problem.js";
import { newId } from "../wire/bytes.js";

// docs/protocol.md: ids are remembered for 2 min, and with the user's place; less what the way may take.
const REMEMBERED_MS = 110_000;
const SHORTEST_PLACE_MS = 10_000;
const STALE_TIMEOUT_MS = 10_000; // a new epoch's keys come with the refusal of the old one's
const MOST_WAITING = 1000;

export class Outbox {
  #send;
  #clock;
  /** @type {Pending[]} */ #waiting = [];
  /** @type {Pending | null} */ #onItsWay = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #isOpen = false;

  /**
   * @param {(pending: Pending) => Promise<void>} send  writes it, if there is a connection; rejects what cannot be said
   * @param {import("./clock.js").Clock} clock
   */
  constructor(send, clock) {
    this.#send = send;
    this.#clock = clock;
  }

  /** Whether an echo of the server is due. */
  get isAwaiting() {
    return this.#isOpen && this.#onItsWay !== null && this.#onItsWay.sentAt !== null;
  }

  /**
   * @param {unknown} body
   * @param {string | null} to
   * @param {{id?: string, more?: Record<string, unknown>, onSaid?: (pending: Pending) => void, onFailed?: (problem: Problem) => void}} [how]
   * @throws {Problem} `rate_limited`: far too much is waiting already
   */
  add(body, to, { id = newId(), more = {}, onSaid = () => {}, onFailed = () => {} } = {}) {
    if (this.#waiting.length >= MOST_WAITING) throw new Problem("rate_limited", "too much is waiting to be sent");
    this.#waiting.push({ said: { id, body, to, at: Date.now() }, more, sentAt: null, epoch: 0, onSaid, onFailed });
    this.#next();
    return id;
  }

  /** There is a connection, and all that was missed has come.
   * @param {{sameEpoch: boolean, gapMs: number, recovered: boolean, placeKeptMs: number}} back
   */
  open({ sameEpoch, gapMs, recovered, placeKeptMs }) {
    const pending = this.#onItsWay;
    this.#isOpen = true;
    if (pending && pending.sentAt !== null) {
      const known = sameEpoch && gapMs < Math.max(SHORTEST_PLACE_MS, placeKeptMs);
      const remembered = known && this.#clock.since(pending.sentAt) < REMEMBERED_MS;
      // Not among what has come again, so it was not said; that says nothing of direct ones.
      const unsaid = sameEpoch && recovered && pending.said.to === null;
      if (!remembered && !unsaid) {
        this.#fail(pending, new Problem("unconfirmed", "the connection was away too long: it may have been said, or not"));
        return;
      }
    }
    if (pending) this.#again();
    else this.#next();
  }

  /** The connection is lost.
   * @param {Problem} problem
   */
  shut(problem) {
    this.#isOpen = false;
    clearTimeout(this.#timer);
    // That one was the cause, and sending it again would be the next.
    if (problem.code === "too_large" && this.#onItsWay) this.#fail(this.#onItsWay, problem);
  }

  /** It is over: nothing is said any more.
   * @param {Problem} problem
   */
  end(problem) {
    this.shut(problem);
    const all = [this.#onItsWay, ...this.#waiting];
    this.#onItsWay = null;
    this.#waiting = [];
    for (const pending of all) pending?.onFailed(problem);
  }

  /** The server has said it.
   * @param {unknown} id
   */
  said(id) {
    const pending = this.#onItsWay;
    if (!pending || pending.said.id !== id) return false;
    this.#onItsWay = null;
    clearTimeout(this.#timer);
    pending.onSaid(pending);
    this.#next();
    return true;
  }

  /** The server refuses it.
   * @param {unknown} id
   * @param {Problem} problem
   * @param {number} epoch  the present one
   */
  refused(id, problem, epoch) {
    const { code, retryAfterMs } = problem;
    const pending = this.#onItsWay;
    if (!pending || pending.said.id !== id) return;
    if (code === "stale_epoch" && pending.epoch < epoch) this.#again();
    else if (code === "stale_epoch") this.#timer = setTimeout(() => this.#failStale(pending), STALE_TIMEOUT_MS);
    else if (retryAfterMs !== undefined) {
      pending.sentAt = null; // the server has not said it, and nobody has to wonder
      this.#timer = setTimeout(() => this.#again(), retryAfterMs);
    } else this.#fail(pending, problem);
  }

  /** There are new keys: what was sealed under the old ones goes again.
   * @param {number} epoch
   */
  onEpoch(epoch) {
    if (this.#onItsWay && this.#onItsWay.epoch < epoch) this.#again();
  }

  /** @param {Pending} pending */
  #failStale(pending) {
    if (pending === this.#onItsWay) this.#fail(pending, new Problem("stale_epoch", "the room has new keys"));
  }

  #next() {
    if (this.#onItsWay || !this.#isOpen) return;
    this.#onItsWay = this.#waiting.shift() ?? null;
    if (this.#onItsWay) this.#again();
  }

  #again() {
    clearTimeout(this.#timer);
    const pending = this.#onItsWay;
    if (!pending || !this.#isOpen) return;
    this.#send(pending).catch((error) => {
      const problem = error instanceof Problem ? error : new Problem("internal", String(error));
      if (pending === this.#onItsWay) this.#fail(pending, problem);
    });
  }

  /**
   * @param {Pending} pending
   * @param {Problem} problem
   */
  #fail(pending, problem) {
    if (pending === this.#onItsWay) this.#onItsWay = null;
    pending.onFailed(problem);
    this.#next();
  }
}
