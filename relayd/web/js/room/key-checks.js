/** Confirms the present keys of a sealed room where this page is the owner's, and warns where that is missing. */

import { KEY_CONFIRMATION, makeConfirmation, readConfirmation } from "../seal/confirmation.js";
import { steadyNow } from "./clock.js";
import { KEY_TIMES, KeyMonitor } from "./key-monitor.js";

const MINUTE_MS = 60_000;
const MOST_NICKS = 50; // in one line

export class KeyChecks {
  #inside;
  #voice;
  #monitor = new KeyMonitor(steadyNow());
  /** @type {number | null} */ #confirmedAt = null; // when a client with the owner's pair confirmed the present keys
  #warningEnded = false;
  /** @type {Set<string>} */ #confirmedTo = new Set(); // ids of the users connected from the last confirmation on
  /** @type {number | null} */ #missedEpoch = null; // in which it was told that newer keys were missed
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /**
   * @param {import("./membership.js").Membership} inside
   * @param {import("./sealed-voice.js").SealedVoice} voice
   */
  constructor(inside, voice) {
    this.#inside = inside;
    this.#voice = voice;
    this.#schedule();
  }

  close() {
    clearTimeout(this.#timer);
  }

  /** The keys are new. */
  onEpoch() {
    this.#confirmedAt = null;
    this.#monitor.onEpoch();
    this.show();
  }

  /** Cards have come, or keys: shows who has not confirmed the present ones. */
  show() {
    const { state } = this.#inside.store;
    const ids = [...state.users.keys()].filter((id) => !this.#voice.hasConfirmed(id));
    if (ids.length === state.unconfirmed.size && ids.every((id) => state.unconfirmed.has(id))) return;
    state.unconfirmed = new Set(ids);
    this.#inside.store.touch("users");
  }

  /** A confirmation has come, of this user's other tabs, too.
   * @param {{data: unknown, keys: EpochKeys, slot: Slot}} signal
   * @throws {NotOpened} it is none
   */
  async onConfirmation({ data, keys, slot }) {
    const { ownerPublic, epoch } = this.#voice;
    if (!ownerPublic || keys.epoch !== epoch) return;
    const t = await readConfirmation(ownerPublic, keys, slot, data);
    this.#confirmedAt = steadyNow();
    if (this.#monitor.onConfirmation(String(slot.sid), t, this.#confirmedAt)) this.#warningEnded = true;
  }

  #schedule() {
    this.#timer = setTimeout(() => {
      this.#schedule();
      // Behind what has come: its keys are those that count.
      this.#inside.serial.run(() => this.#check());
    }, KEY_TIMES.checkMs);
  }

  #check() {
    const [voice, now, others] = [this.#voice, steadyNow(), this.#others()];
    const { lines } = this.#inside;
    voice.dropEndedKeys();
    if (this.#inside.isIn && voice.canConfirm && this.#isDue(others, now)) this.#confirm(others);
    if (this.#warningEnded) lines.tell("keys_confirmed");
    this.#warningEnded = false;
    if (voice.newerKeysMissed && this.#missedEpoch !== voice.epoch) {
      this.#missedEpoch = voice.epoch;
      lines.tell("keys_missed");
    }
    this.#tellMissing(others, now);
  }

  /**
   * @param {User[]} others
   * @param {number} now
   */
  #tellMissing(others, now) {
    const { isIn, lines, roster } = this.#inside;
    const ownerPresent = this.#voice.ownerPublic !== null && others.some(({ role }) => role === "owner");
    const unconfirmed = others.filter(({ id }) => !this.#voice.hasConfirmed(id)).map(({ id }) => id);
    const { ownerMissingMs, users } = this.#monitor.check(now, isIn, ownerPresent, unconfirmed);
    if (ownerMissingMs !== null) lines.tell("owner_unconfirmed", { count: Math.floor(ownerMissingMs / MINUTE_MS) });
    const nicks = users.slice(0, MOST_NICKS).map((id) => roster.known(id).nick);
    if (users.length) lines.tell("users_unconfirmed", { nicks, count: users.length });
  }

  /** Everyone else who is shown as connected.
   * @returns {User[]}
   */
  #others() {
    return [...this.#inside.store.state.users.values()].filter(({ me, away }) => !me && !away);
  }

  /**
   * @param {User[]} others
   * @param {number} now
   */
  #isDue(others, now) {
    if (this.#confirmedAt === null) return true;
    const present = new Set(others.map(({ id }) => id));
    for (const id of this.#confirmedTo) if (!present.has(id)) this.#confirmedTo.delete(id);
    // Signals are not kept for anyone: who was not connected has missed the last one.
    const came = present.size > this.#confirmedTo.size;
    return now - this.#confirmedAt >= (came ? KEY_TIMES.againMs : KEY_TIMES.confirmMs);
  }

  /** @param {User[]} others */
  #confirm(others) {
    const now = steadyNow();
    this.#confirmedAt = now;
    this.#confirmedTo = new Set(others.map(({ id }) => id));
    this.#inside.speaker.signalWith(() =>
      this.#voice.ownersSignal(KEY_CONFIRMATION, (owner, keys, slot) => makeConfirmation(owner, keys, slot, now)),
    );
  }
}
