/** What the server tells about the room itself. */

import { cleanCount, cleanRoomName, cleanText } from "./clean.js";

const LONGEST_TEXT = 4096;
const LONGEST_LIFE_S = 86_400; // of a room
const LATEST_MS = 8.64e15; // that a Date can hold
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
   * @param {Identity} identity
   * @param {Voice} voice
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
    state.details = readDetails(fields);
    const now = { server: serverNow(fields), device: Date.now() };
    this.#skewMs = skewOf(fields);
    state.endsAt = endOf(fields);
    state.usersLeave = state.details.expiration === "usersLeave";
    state.sealed = this.#voice.sealed;
    state.canRekey = this.#voice.canRekey;
    Object.assign(this.#identity, { name: state.details.name, endsAt: state.endsAt, lastSeenAt: now.server ? now : this.#identity.lastSeenAt });
    this.#store.touch("details");
  }

  /** How old the room is, in ms. */
  get ageMs() {
    return Date.now() - this.#skewMs - Date.parse(this.#store.state.details.date);
  }

  /** @param {Frame} frame */
  onEvent(frame) {
    if (frame.event === "updated") this.#onUpdated(frame.room);
    else if (frame.event === "expiring") this.#lines.tell("expiring", { count: Math.min(LONGEST_LIFE_S, secondsOf(frame.in)) });
    else if (frame.event === "announcement") {
      this.#lines.tell("announcement", { text: cleanText(textOf(frame.text).slice(0, LONGEST_TEXT)) });
    } else if (frame.event === "closed") {
      this.#store.state.closedBecause = textOf(frame.reason);
      this.#lines.tell("closed");
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

/** @param {unknown} value */
const textOf = (value) => (typeof value === "string" ? value : "");

/** @param {unknown} value  @returns {number} finite, not negative */
const secondsOf = (value) => (Number.isFinite(value) ? Math.max(0, Number(value)) : 0);

/** @param {unknown} date */
const parseDate = (date) => Date.parse(textOf(date));

/** The details as views rely on them, whatever types the server's have.
 * @param {Frame} fields
 * @returns {Details}
 */
function readDetails(fields) {
  const { files, max_file: maxFile, resume, slow, lobby } = Object(fields.settings);
  return {
    id: fields.id,
    name: cleanRoomName(fields.name),
    owner_id: textOf(fields.owner_id),
    max: cleanCount(fields.max),
    date: textOf(fields.date),
    expiration: textOf(fields.expiration),
    expiration_date: textOf(fields.expiration_date),
    protected: fields.protected === true,
    locked: fields.locked === true,
    settings: { files: files === true, max_file: cleanCount(maxFile), resume: secondsOf(resume), slow: secondsOf(slow), lobby: lobby === true },
  };
}

/**
 * The server's present time, in ms since 1970; 0 if the details lack it.
 * @param {Frame} details
 */
export function serverNow({ date, time_alive: aliveS }) {
  const now = parseDate(date) + 1000 * secondsOf(aliveS);
  return now <= LATEST_MS ? now : 0;
}

/**
 * How far this device's clock is before the server's, in ms, by what the server says just now.
 * @param {Frame} details
 */
const skewOf = (details) => serverNow(details) && Date.now() - serverNow(details);

/**
 * When a room ends at the latest, ms since 1970 by this device's clock.
 * @param {Frame} details  as the server says just now
 */
export const endOf = (details) =>
  Math.min(LATEST_MS, Math.max(0, parseDate(details.expiration_date) + skewOf(details) || 0));
