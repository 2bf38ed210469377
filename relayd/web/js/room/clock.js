/** Elapsed time, safe against sleeps of the device and against changes of its clock. */

/** @returns {Moment} */
export const moment = () => ({ wall: Date.now(), steady: performance.now() });

/** Whole ms since any moment, on a clock that only goes up. */
export const steadyNow = () => Math.floor(performance.now());

/**
 * Elapsed ms: the larger of what the two clocks show.
 * @param {Moment} then
 * @param {Moment} [now]
 */
export const msSince = (then, now = moment()) => Math.max(now.wall - then.wall, now.steady - then.steady);

/** The same, corrected by the server's time: if the clock was set back during a sleep, both clocks show too little. */
export class Clock {
  #sleptMs = 0; // missed by `steady`, as far as the server's times show
  /** @type {{server: number, steady: number} | null} */ #synced = null;

  /** @returns {Moment} */
  now() {
    const { wall, steady } = moment();
    return { wall, steady: steady + this.#sleptMs };
  }

  /** Elapsed ms, and not less than that after a `sync`.
   * @param {Moment} then
   */
  since(then) {
    return msSince(then, this.now());
  }

  /** @param {number} server  its present time, in ms */
  sync(server) {
    const { steady } = this.now();
    const sleptMs = this.#synced ? Math.max(0, server - this.#synced.server - (steady - this.#synced.steady)) : 0;
    this.#sleptMs += sleptMs;
    this.#synced = { server, steady: steady + sleptMs };
  }
}
