/** New keys for a sealed room, which somebody thrown out does not get; and who has confirmed them. */

import { Problem } from "../problem.js";

/** @typedef {import("./key-checks.js").KeyChecks} KeyChecks */

const TIMEOUT_MS = 10_000;
const LOAD_AFTER_MS = 3000; // the checks are not needed before, and what a person waits for comes first

export class Rekeying {
  #inside;
  #onEpoch = () => {};
  #isClosed = false;
  /** @type {Promise<KeyChecks | null> | null} */ #checks = null;

  /** @param {import("./membership.js").Membership} inside */
  constructor(inside) {
    this.#inside = inside;
  }

  /** New keys for all but one, who is thrown out with it.
   * @param {string} userId
   * @param {boolean} ban
   * @returns {Promise<{inviteKey: unknown, epoch: number}>} the invite key that goes with the new keys
   * @throws {Problem}
   */
  async begin(userId, ban) {
    const { voice, roster } = this.#inside;
    if (!("makeRekey" in voice)) throw new Problem("cannot_rekey");
    await this.#inside.allKnown; // whoever gets no new keys is out
    // A ban has no place in a rekey, so it comes first: out is out, whatever becomes of the keys.
    if (ban) await this.#inside.speaker.command({ type: "kick", user: userId, ban: true });
    const part = await voice.makeRekey(new Set(roster.users.keys()), userId);
    const begun = new Promise((resolve, reject) => {
      setTimeout(() => reject(new Problem("unconfirmed")), TIMEOUT_MS);
      this.#onEpoch = () => voice.epoch >= part.epoch && resolve(undefined);
    });
    begun.catch(() => {}); // heard below; but a refusal comes first
    const rekey = { type: "rekey", ...part, renew_invite: true, ...(ban ? {} : { kick: userId }) };
    const { invite_key: inviteKey } = await this.#inside.speaker.command(rekey);
    await begun;
    return { inviteKey, epoch: part.epoch };
  }

  /** The server tells of new keys.
   * @param {Record<string, any>} frame
   */
  async onEvent(frame) {
    const { voice, outbox, lines } = this.#inside;
    try {
      if (!(await voice.takeRekey(frame))) return;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      lines.tell("rekey_refused");
      return;
    }
    await this.#inside.keep();
    await this.#inside.speaker.sendProfile();
    this.#load().then((checks) => checks?.onEpoch());
    outbox.onEpoch(voice.epoch);
    lines.tell("rekeyed");
    this.#onEpoch();
  }

  /** There is a connection (again). */
  onCaughtUp() {
    setTimeout(() => this.#load(), LOAD_AFTER_MS);
    this.onUsers();
  }

  /** Cards have come, perhaps. */
  async onUsers() {
    if (this.#inside.voice.epoch > 0) (await this.#load())?.show();
  }

  /** The owner's client confirms the keys.
   * @param {any} signal
   */
  async onSignal(signal) {
    await (await this.#load())?.onConfirmation(signal);
  }

  /** It is over, or not shown any more. */
  close() {
    this.#isClosed = true;
    this.#checks?.then((checks) => checks?.close());
  }

  /** The checks, from when they are first needed; null in an open room, and while the server is away. */
  async #load() {
    const { voice } = this.#inside;
    if (this.#isClosed || !("hasConfirmed" in voice)) return null;
    this.#checks ??= import("./key-checks.js").then(
      ({ KeyChecks }) => (this.#isClosed ? null : new KeyChecks(this.#inside, voice)),
      () => (this.#checks = null),
    );
    return this.#checks;
  }
}
