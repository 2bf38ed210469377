/** When a member is warned that keys are not confirmed: rules, without a clock or a timer of their own. */

/** How often keys are confirmed, and when a confirmation is missed. Tests shorten it. */
export const KEY_TIMES = {
  checkMs: 10_000, // between two checks
  confirmMs: 180_000, // between two confirmations of the owner's client
  againMs: 30_000, // between two of them if somebody has come or come back, who may have missed the last one
  ownerMs: 390_000, // without a confirmation before a warning: two that did not come, and some time for slow devices
  userMs: 30_000, // after new keys, in which a connected user's client shows its card again
};
const MOST_CHECKS = 2; // so many intervals between two checks count; what is longer was a sleep of the device

/**
 * Counts how long confirmations of the present keys are missing. Only time in which this client is connected and the
 * other one is shown as connected counts.
 */
export class KeyMonitor {
  #checkedAt;
  #ownerMissingMs = 0;
  /** @type {Map<string, number>} */ #usersMissingMs = new Map();
  /** @type {Map<string, number>} */ #leastDelay = new Map(); // sid of an owner's client -> of its confirmations
  #warned = false;

  /** @param {number} now  ms on a clock that only goes up */
  constructor(now) {
    this.#checkedAt = now;
  }

  /** The keys are new: nothing is missing yet. */
  onEpoch() {
    this.#ownerMissingMs = 0;
    this.#usersMissingMs.clear();
    this.#warned = false;
  }

  /**
   * Takes a confirmation whose signature fits. Clocks are compared by their intervals only: one that was under way for
   * `confirmMs` longer than the fastest one of its connection was held back, and counts as missing.
   * @param {string} sid  of the connection that sent it
   * @param {number} t  ms on the signer's clock
   * @param {number} now
   * @returns {boolean} whether it ends a warning
   */
  onConfirmation(sid, t, now) {
    const delay = now - t;
    const least = Math.min(delay, this.#leastDelay.get(sid) ?? delay);
    this.#leastDelay.set(sid, least);
    if (delay - least > KEY_TIMES.confirmMs) return false;
    const endsWarning = this.#warned;
    this.#warned = false;
    this.#ownerMissingMs = 0;
    return endsWarning;
  }

  /**
   * Counts the time since the last check.
   * @param {number} now
   * @param {boolean} connected  whether this client is
   * @param {boolean} ownerPresent  whether an owner who can confirm keys is shown as connected
   * @param {string[]} unconfirmed  ids of the users shown as connected who have not shown a card of the present epoch
   * @returns {{ownerMissingMs: number | null, users: string[]}} what is found, each told once
   */
  check(now, connected, ownerPresent, unconfirmed) {
    const elapsed = connected ? Math.min(now - this.#checkedAt, MOST_CHECKS * KEY_TIMES.checkMs) : 0;
    this.#checkedAt = now;
    if (ownerPresent) this.#ownerMissingMs += elapsed;
    const isNew = !this.#warned && this.#ownerMissingMs >= KEY_TIMES.ownerMs;
    this.#warned ||= isNew;
    return { ownerMissingMs: isNew ? this.#ownerMissingMs : null, users: this.#count(unconfirmed, elapsed) };
  }

  /**
   * @param {string[]} unconfirmed
   * @param {number} elapsed
   */
  #count(unconfirmed, elapsed) {
    return unconfirmed.filter((user) => {
      const before = this.#usersMissingMs.get(user) ?? 0;
      this.#usersMissingMs.set(user, before + elapsed);
      return before < KEY_TIMES.userMs && before + elapsed >= KEY_TIMES.userMs;
    });
  }
}
