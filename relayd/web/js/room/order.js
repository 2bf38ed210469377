/** A room's order, as far as it was heard: so that after a lost connection nothing is missed and nothing comes twice. */

import { serverNow } from "./about.js";

/** How a join relates to the connection before.
 * @typedef {{first: boolean, sameEpoch: boolean, gapMs: number, recovered: boolean}} Back
 */

const MOST_DIRECTS = 4096; // as many as a room's ring holds

export class Order {
  /** @type {Back} */ back = { first: true, sameEpoch: false, gapMs: 0, recovered: false };
  /** @type {Moment | null} */ #receivedAt = null; // the last frame of a joined connection
  #clock;
  #epoch = ""; // another one begins with another life of the server
  /** @type {number | null} */ #seq = null; // the last one heard; null before the first join
  #caughtUpAt = 0; // the room's last place when this page came back
  /** @type {Set<string>} */ #directs = new Set(); // [from, id] of direct messages since the last place

  /** @param {import("./clock.js").Clock} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  get seq() {
    return this.#seq ?? 0;
  }

  /** A frame was received. */
  onReceived() {
    this.#receivedAt = this.#clock.now();
  }

  /** What the next join says was heard. */
  get since() {
    return this.#seq === null ? null : { epoch: this.#epoch, seq: this.#seq };
  }

  /** Takes the answer to a join.
   * @param {Record<string, any>} joined
   */
  begin(joined) {
    const sameEpoch = joined.epoch === this.#epoch;
    const server = serverNow(Object(joined.room));
    if (server) this.#clock.sync(server);
    const gapMs = this.#receivedAt ? this.#clock.since(this.#receivedAt) : 0;
    this.back = { first: this.#seq === null, sameEpoch, gapMs, recovered: joined.recovered === true };
    // In another life of the server places begin anew; in the same one, what was missed comes first.
    if (this.#seq === null || !sameEpoch || joined.seq < this.#seq) this.#seq = joined.seq;
    this.#epoch = joined.epoch;
    this.#caughtUpAt = joined.seq;
    this.onReceived();
    return this.back;
  }

  /** What did not come by now never will. */
  catchUp() {
    this.skipTo(this.#caughtUpAt);
  }

  /** @param {unknown} seq */
  skipTo(seq) {
    if (Number.isSafeInteger(seq)) this.#seq = Math.max(this.seq, Number(seq));
  }

  /** Whether a message was not heard before; takes note of its place.
   * @param {Record<string, any>} frame
   */
  isNew({ seq, from, id }) {
    if (Number.isSafeInteger(seq)) {
      if (seq <= this.seq) return false;
      this.#seq = seq;
      this.#directs.clear();
      return true;
    }
    // Those with `after` >= `since.seq` come again: so only what came since the last place must be known.
    const name = JSON.stringify([from, id]);
    if (this.#directs.has(name)) return false;
    this.#directs.add(name);
    if (this.#directs.size > MOST_DIRECTS) this.#directs.delete(this.#directs.values().next().value ?? "");
    return true;
  }
}
