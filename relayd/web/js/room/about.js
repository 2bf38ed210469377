/** What the server tells about the room itself. */

/** @typedef {Record<string, any>} Frame */

const LONGEST_TEXT = 4096;
const SHOWN = /** @type {const} */ (["name", "max", "expiration", "locked", "settings"]);

export class About {
  #store;
  #lines;
  #identity;
  #voice;

  /**
   * @param {import("./store.js").Store} store
   * @param {import("./lines.js").Lines} lines
   * @param {import("./identity.js").Identity} identity
   * @param {import("./voice.js").Voice} voice
   */
  constructor(store, lines, identity, voice) {
    this.#store = store;
    this.#lines = lines;
    this.#identity = identity;
    this.#voice = voice;
  }

  /** Takes the details.
   * @param {unknown} details
   */
  take(details) {
    const { state } = this.#store;
    const fields = Object(details);
    if (fields.id !== this.#identity.roomId || typeof fields.name !== "string") return;
    state.details = { ...state.details, ...fields };
    state.endsAt = Date.parse(state.details.expiration_date) || 0;
    state.usersLeave = state.details.expiration === "usersLeave";
    state.sealed = this.#voice.sealed;
    state.canRekey = this.#voice.canRekey;
    Object.assign(this.#identity, { name: fields.name, endsAt: state.endsAt });
    this.#store.touch("details");
  }

  /** @param {Frame} frame */
  onEvent(frame) {
    if (frame.event === "updated") this.#onUpdated(frame.room);
    else if (frame.event === "expiring") this.#lines.tell("expiring", { count: Number(frame.in) || 0 });
    else if (frame.event === "announcement") {
      this.#lines.tell("announcement", { text: String(frame.text).slice(0, LONGEST_TEXT) });
    } else if (frame.event === "closed") {
      this.#store.state.closedBecause = String(frame.reason);
      this.#lines.tell("closed", { text: String(frame.reason) });
    }
  }

  /** @param {unknown} details */
  #onUpdated(details) {
    const before = this.#store.state.details;
    this.take(details);
    const now = this.#store.state.details;
    const what = SHOWN.filter((field) => JSON.stringify(before[field]) !== JSON.stringify(now[field]));
    if (what.length) this.#lines.tell("updated", { what });
  }
}
