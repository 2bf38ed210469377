import { safeLine } from "./lib/text.js";

const LONGEST_CODE = 64;
const LONGEST_DETAIL = 300;
const LONGEST_WAIT_MS = 600_000; // a server may ask for more; nobody waits that long

/** How long a server asks to wait. Past 2^31 ms browsers do not wait at all.
 * @param {unknown} ms
 * @returns {number | undefined} undefined if it does not ask for that
 */
export const waitMs = (ms) => (typeof ms === "number" && ms >= 0 ? Math.min(ms, LONGEST_WAIT_MS) : undefined);

/** Something a person must know; `code` says what, see types.js. The text is for logs and never holds a secret. */
export class Problem extends Error {
  /** What a server sent is taken as it is: fields of another type are left out.
   * @param {unknown} code
   * @param {unknown} [detail]
   * @param {unknown} [retryAfterMs]
   */
  constructor(code, detail, retryAfterMs) {
    const name = safeLine(code, LONGEST_CODE) || "server_wrong";
    const text = safeLine(detail, LONGEST_DETAIL);
    super(text || name);
    this.name = "Problem";
    this.code = name;
    this.detail = text;
    this.retryAfterMs = waitMs(retryAfterMs);
  }
}
