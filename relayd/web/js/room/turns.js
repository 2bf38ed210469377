/** Whose turn it is: a connection receives four files at once, and one of which nothing comes must not block others. */

const MOST_AT_ONCE = 4; // the server's limit for a connection
const MOST_UNASKED = 2; // of them fetched without a person's asking
const STALLED_MS = 30_000; // without a chunk, while others wait

export class Turns {
  /** @type {Set<Coming>} */ #queue = new Set(); // all that are to come, in turn
  /** @type {Set<Coming>} */ active = new Set(); // those that may come now
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #inside;
  #ask;
  #giveWay;

  /**
   * @param {import("./membership.js").Membership} inside
   * @param {(coming: Coming) => void} ask  it is this one's turn
   * @param {(coming: Coming) => void} giveWay  it is no longer: it keeps what it has, and goes on later
   */
  constructor(inside, ask, giveWay) {
    this.#inside = inside;
    this.#ask = ask;
    this.#giveWay = giveWay;
  }

  /** @param {Coming} coming */
  add(coming) {
    this.#queue.add(coming);
    this.fill();
  }

  /** @param {Coming} coming */
  remove(coming) {
    this.#queue.delete(coming);
    this.active.delete(coming);
    this.fill();
  }

  /** Gives free places to those who wait. */
  fill() {
    clearTimeout(this.#timer);
    if (!this.#inside.isIn) return;
    for (const coming of this.#queue) {
      const unasked = [...this.active].filter((one) => one.unasked).length;
      if (this.active.size >= MOST_AT_ONCE) break;
      if (this.active.has(coming) || (coming.unasked && unasked >= MOST_UNASKED)) continue;
      coming.turnAt = Date.now();
      this.active.add(coming);
      this.#ask(coming);
    }
    if (this.active.size < this.#queue.size) this.#timer = setTimeout(() => this.#rotate(), STALLED_MS / 4);
  }

  #rotate() {
    for (const coming of this.#inside.isIn ? [...this.active] : []) {
      if (Date.now() - Math.max(coming.turnAt, coming.heardAt) < STALLED_MS) continue;
      this.active.delete(coming);
      this.#queue.delete(coming);
      this.#queue.add(coming);
      this.#giveWay(coming);
    }
    this.fill();
  }
}
