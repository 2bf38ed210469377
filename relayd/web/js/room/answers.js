/** Commands on their way, by the id of their frame: each is answered once, or the connection is lost before. */
export class Answers {
  /** @type {Map<unknown, {resolve: () => void, reject: (problem: Error) => void}>} */ #waiting = new Map();

  /** Whether one is due. */
  get isAwaiting() {
    return this.#waiting.size > 0;
  }

  /**
   * @param {string} id
   * @returns {Promise<void>}
   */
  expect(id) {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** @param {unknown} id */
  resolve(id) {
    this.#waiting.get(id)?.resolve();
    this.#waiting.delete(id);
  }

  /**
   * @param {unknown} id
   * @param {Error} problem
   * @returns {boolean} whether somebody waited for it
   */
  reject(id, problem) {
    this.#waiting.get(id)?.reject(problem);
    return this.#waiting.delete(id);
  }

  /** @param {Error} problem */
  rejectAll(problem) {
    for (const { reject } of this.#waiting.values()) reject(problem);
    this.#waiting.clear();
  }
}
