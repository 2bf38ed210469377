/** Something a person must know; `code` says what, see types.js. The text is for logs and never holds a secret. */
export class Problem extends Error {
  /**
   * @param {string} code
   * @param {string} [detail]
   * @param {number} [retryAfterMs]
   */
  constructor(code, detail = "", retryAfterMs) {
    super(detail || code);
    this.name = "Problem";
    this.code = code;
    this.detail = detail;
    this.retryAfterMs = retryAfterMs;
  }
}
