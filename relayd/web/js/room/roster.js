/** Who is in the room. */

import { cleanNick, hueOf } from "./clean.js";

const MOST_PAST = 2000; // of those who left, remembered for what they said that comes late

export class Roster {
  #state;
  /** @type {Map<string, User>} */ #past = new Map();
  /** @type {Set<string>} */ #left = new Set(); // since the list was given: a late page may still have them

  /** @param {RoomState} state  `users` is kept up to date, in the order they came */
  constructor(state) {
    this.users = state.users;
    this.#state = state;
  }

  /** Who this user is. */
  get me() {
    return this.known(this.#state.me);
  }

  /** Whether that user is or was here. `admin`, whom a server lets speak in an open room, is no user.
   * @param {string} id
   */
  hasSeen(id) {
    return this.users.has(id) || this.#past.has(id) || !id.startsWith("u_");
  }

  /** The user with that id, here or gone; one without a nick if never seen.
   * @param {string} id
   * @returns {User}
   */
  known(id) {
    return this.users.get(id) ?? this.#past.get(id) ?? makeUser({ id }, { nick: "", key: "" }, "");
  }

  /**
   * Starts anew with a list, which may be cut short: then nobody who is not on it is taken for gone.
   * @param {User[]} list
   * @param {number} count  how many are here
   */
  replace(list, count) {
    this.#left.clear();
    const ids = new Set(list.map(({ id }) => id));
    const gone = count <= list.length ? [...this.users.values()].filter(({ id }) => !ids.has(id)) : [];
    return this.update(list, gone.map(({ id }) => id), []);
  }

  /** Takes those of a later page who are not known and have not left meanwhile.
   * @param {User[]} page
   */
  addPage(page) {
    for (const user of page) if (!this.#left.has(user.id) && !this.users.has(user.id)) this.users.set(user.id, user);
  }

  /**
   * Takes what is told. Whoever is known already has not joined, only changed.
   * @param {User[]} joined
   * @param {string[]} left
   * @param {User[]} changed
   */
  update(joined, left, changed) {
    /** @type {{joined: User[], left: User[], changed: [before: User, now: User][]}} */
    const change = { joined: [], left: [], changed: [] };
    for (const id of left) {
      const user = this.users.get(id);
      this.#left.add(id);
      if (!user) continue;
      this.users.delete(id);
      this.#past.set(id, user);
      if (this.#past.size > MOST_PAST) this.#past.delete(this.#past.keys().next().value ?? "");
      change.left.push(user);
    }
    const newcomers = new Set(joined.map(({ id }) => id));
    // A user with several cards has an entry for each; the last entry is the present state.
    for (const [id, user] of new Map([...joined, ...changed].map((one) => [one.id, one]))) {
      const before = this.users.get(id);
      this.users.set(id, user);
      this.#left.delete(id);
      if (before) change.changed.push([before, user]);
      else if (newcomers.has(id)) change.joined.push(user);
    }
    return change;
  }
}

/** @param {unknown} role  @returns {Role} */
export const readRole = (role) => (role === "owner" || role === "moderator" ? role : "member");

/**
 * @param {Record<string, any>} shape  as the server tells a user
 * @param {{nick: unknown, key: string}} card
 * @param {string} me
 * @returns {User}
 */
export function makeUser(shape, { nick, key }, me) {
  const { id } = shape;
  return {
    id,
    nick: cleanNick(nick),
    tag: key ? key.slice(0, 4) : id.replace("u_", "").replace(/[^\w-]/g, "").slice(0, 4),
    role: readRole(shape.role),
    away: shape.away === true,
    muted: shape.muted === true,
    me: id === me,
    hue: hueOf(key || id),
    key,
  };
}
