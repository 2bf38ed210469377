/** What the owner of a room and its moderators do: about people, messages and the room itself. */

const DAY_HOURS = 24;
const HOUR_MS = 3_600_000;

export class Moderation {
  #inside;
  #invite;

  /**
   * @param {import("./membership.js").Membership} inside
   * @param {import("./invite.js").Invite} invite
   */
  constructor(inside, invite) {
    this.#inside = inside;
    this.#invite = invite;
  }

  /** Removes somebody; the owner of a sealed room makes new keys, too.
   * @param {string} userId
   * @param {boolean} ban
   */
  async kick(userId, ban) {
    if (!this.#inside.store.state.canRekey) return this.#command({ type: "kick", user: userId, ban });
    return this.#invite.replace(await this.#inside.rekeying.begin(userId, ban));
  }

  /**
   * @param {string} userId
   * @param {boolean} on
   */
  mute(userId, on) {
    return this.#command({ type: on ? "mute" : "unmute", user: userId });
  }

  /**
   * @param {string} userId
   * @param {boolean} on
   */
  promote(userId, on) {
    return this.#command({ type: on ? "promote" : "demote", user: userId });
  }

  /** Lets somebody in who waits, or turns them away.
   * @param {string} userId
   * @param {boolean} on
   */
  admit(userId, on) {
    return this.#command({ type: on ? "admit" : "deny", user: userId });
  }

  /** Removes a message for everybody.
   * @param {Line} line
   */
  removeMessage({ seq }) {
    return this.#command({ type: "remove", seq });
  }

  /** @param {Record<string, unknown>} changes */
  edit(changes) {
    return this.#command({ type: "edit", ...changes });
  }

  invites() {
    return this.#invite.list();
  }

  /** @param {{uses: number | null, expires: number | null, label: string}} limits */
  createInvite(limits) {
    return this.#invite.create(limits);
  }

  /** @param {string} id */
  revokeInvite(id) {
    return this.#invite.revoke(id);
  }

  renewInvite() {
    return this.#invite.renew();
  }

  /** @param {number} hours */
  extend(hours) {
    return this.edit({ expiration_date: Math.min(DAY_HOURS, this.#inside.about.ageMs / HOUR_MS + hours) });
  }

  close() {
    return this.#command({ type: "close" });
  }

  /** @param {Frame} frame */
  #command(frame) {
    return this.#inside.speaker.command(frame);
  }
}
