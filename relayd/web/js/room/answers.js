/** Commands on their way, by the id of their frame: each is answered once, or the connection is lost before. */
export class Answers {
  /** @type {Map<unknown, {resolve: (answer: Frame) => void, reject: (problem: Error) => void}>} */ #waiting = new Map();

  /** Whether one is due. */
  get isAwaiting() {
    return this.#waiting.size > 0;
  }

  /**
   * @param {string} id
   * @returns {Promise<Frame>} the `ok`
   */
  expect(id) {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  /** @param {Frame} answer */
  resolve(answer) {
    this.#waiting.get(answer.id)?.resolve(answer);
    this.#waiting.delete(answer.id);
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
