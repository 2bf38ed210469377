/** New keys for a sealed room, so that those of somebody thrown out open nothing new. */

import { Problem } from "../problem.js";

const TIMEOUT_MS = 10_000;

export class Rekeying {
  #inside;
  #onEpoch = () => {};

  /** @param {import("./membership.js").Membership} inside */
  constructor(inside) {
    this.#inside = inside;
  }

  /** New keys for all but one, who is thrown out with it.
   * @param {string} userId
   * @param {boolean} ban
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
    await this.#inside.speaker.command({ type: "rekey", ...part, ...(ban ? {} : { kick: userId }) });
    await begun;
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
    outbox.onEpoch(voice.epoch);
    lines.tell("rekeyed");
    this.#onEpoch();
  }
}
