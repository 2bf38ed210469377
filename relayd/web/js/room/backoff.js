/** How long to wait before coming back. */

const FIRST_MS = 500;
const LONGEST_MS = 30_000;
const STABLE_MS = 10_000; // a connection that held so long makes the next failure a first one

/**
 * Waiting times that double, each drawn anew from all of its range: "full jitter" of Marc Brooker, "Exponential Backoff
 * And Jitter", AWS Architecture Blog, 2015.
 */
export class Backoff {
  #failures = 0;

  /** Forgets the failures so far. */
  reset() {
    this.#failures = 0;
  }

  /**
   * @param {number | undefined} askedMs  what the server asked for: it has spread that at random already
   * @param {number} livedMs  how long the connection held that was lost
   */
  nextMs(askedMs, livedMs) {
    if (livedMs >= STABLE_MS) this.#failures = 0;
    const jitter = Math.random() * Math.min(LONGEST_MS, FIRST_MS * 2 ** this.#failures);
    this.#failures = Math.min(this.#failures + 1, 16);
    if (askedMs === undefined) return jitter;
    return askedMs + (this.#failures > 1 ? jitter : 0);
  }
}
