/** Jobs one after the other: sealing and opening wait for WebCrypto, and the order of frames must not suffer. */
export class Serial {
  /** @type {Promise<unknown>} */ #last = Promise.resolve();
  waiting = 0;

  /**
   * @template T
   * @param {() => T | Promise<T>} job
   * @returns {Promise<T>}
   */
  run(job) {
    this.waiting += 1;
    const done = this.#last.then(job);
    this.#last = done.catch(() => {}).then(() => {
      this.waiting -= 1;
    });
    return done;
  }
}
