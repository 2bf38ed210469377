/** Time that passes for a page whose device may sleep, and whose device's clock may be set. */

/**
 * A moment, in ms, by both clocks of a page: `wall` may be set forwards and backwards, `steady` stops on some devices
 * while they sleep.
 * @typedef {{wall: number, steady: number}} Moment
 */

/** @returns {Moment} */
export const moment = () => ({ wall: Date.now(), steady: performance.now() });

/**
 * ms since then, by whichever clock shows more.
 * @param {Moment} then
 * @param {Moment} [now]
 */
export const msSince = (then, now = moment()) => Math.max(now.wall - then.wall, now.steady - then.steady);

/** The same, corrected by a server's clock: both of the device's may be wrong, where it slept and its clock was set back. */
export class Clock {
  #sleptMs = 0; // what `steady` has missed, as far as the server has shown
  /** @type {{server: number, steady: number} | null} */ #synced = null;

  /** @returns {Moment} */
  now() {
    const { wall, steady } = moment();
    return { wall, steady: steady + this.#sleptMs };
  }

  /** ms since then, never too few once the server's time is known again.
   * @param {Moment} then
   */
  since(then) {
    return msSince(then, this.now());
  }

  /** The server tells its time, in ms.
   * @param {number} server
   */
  sync(server) {
    const { steady } = this.now();
    const sleptMs = this.#synced ? Math.max(0, server - this.#synced.server - (steady - this.#synced.steady)) : 0;
    this.#sleptMs += sleptMs;
    this.#synced = { server, steady: steady + sleptMs };
  }
}
