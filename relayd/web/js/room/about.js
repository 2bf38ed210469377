/** What the server tells about the room itself. */

/** @typedef {Record<string, any>} Frame */

const LONGEST_TEXT = 4096;
const SHOWN = /** @type {const} */ (["name", "max", "expiration", "locked", "settings"]);

export class About {
  #store;
  #lines;
  #identity;
  #voice;
  #skewMs = 0;

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
    const now = { server: serverNow(fields), device: Date.now() };
    this.#skewMs = skewOf(fields);
    state.endsAt = endOf(fields);
    state.usersLeave = state.details.expiration === "usersLeave";
    state.sealed = this.#voice.sealed;
    state.canRekey = this.#voice.canRekey;
    Object.assign(this.#identity, { name: fields.name, endsAt: state.endsAt, lastSeenAt: now.server ? now : this.#identity.lastSeenAt });
    this.#store.touch("details");
  }

  /** How old the room is, in ms. */
  get ageMs() {
    return Date.now() - this.#skewMs - Date.parse(this.#store.state.details.date);
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

/**
 * The server's present time, in ms since 1970; 0 if the details lack it.
 * @param {Frame} details
 */
export const serverNow = ({ date, time_alive: aliveS }) => Date.parse(date) + 1000 * Number(aliveS) || 0;

/**
 * How far this device's clock is before the server's, in ms, by what the server says just now.
 * @param {Frame} details
 */
const skewOf = (details) => serverNow(details) && Date.now() - serverNow(details);

/**
 * When a room ends at the latest, ms since 1970 by this device's clock.
 * @param {Frame} details  as the server says just now
 */
export const endOf = (details) => Date.parse(details.expiration_date) + skewOf(details) || 0;
