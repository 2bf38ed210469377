/** From what was said to lines: texts, replies, reactions, edits, deletions, offers of files; and what happened. */

import { cleanEmoji, cleanText } from "./clean.js";
import { mentions } from "./mentions.js";
import { readOffer } from "./offer.js";

/** @typedef {import("./store.js").Store} Store */
/** How something came. `audience` is "" for all, else the two it is between.
 * @typedef {{from: User, to: string | null, seq: number | null, mine: boolean}} Way
 */

const MOST_EMOJI = 30; // different ones on a line
const MOST_REACTING = 500; // people with one emoji
const MOST_NICKS = 50;
const LONGEST_LIFE_MS = 86_400_000;
const JOIN_LINES_MS = 300_000; // comings, or goings, within it are one line

/** @returns {Line} */
const blank = () => ({
  kind: "text", key: "", at: Date.now(), author: null, mine: false, status: "sent", problem: null, text: "", to: null,
  toUser: null, replyTo: null, replyLost: false, reactions: [], edited: false, deleted: false, removed: false, mentionsMe: false,
  replayed: false, unread: false, seq: null, reason: "", file: null, system: null,
});

/**
 * @param {string} author
 * @param {string} id
 */
export const keyOf = (author, id) => `${author} ${id}`;

export class Lines {
  #store;
  #voice;
  #roster;
  #systemCount = 0;
  #renaming = { user: "", key: "" }; // who was told of last, and in which line
  /** @type {WeakMap<Line, string>} */ #authors = new WeakMap(); // as references name them
  /** @type {WeakMap<Line, Offer>} */ #offers = new WeakMap();
  #acts = new Map(Object.entries({ reaction: this.#react, edit: this.#edit, delete: this.#delete }));
  /** @type {(line: Line, offer: Offer, said: Said) => void} */ onOffer = () => {};
  /** @type {(line: Line) => void} */ onDeleted = () => {};

  /**
   * @param {Store} store
   * @param {Voice} voice
   * @param {import("./roster.js").Roster} roster
   */
  constructor(store, voice, roster) {
    this.#store = store;
    this.#voice = voice;
    this.#roster = roster;
  }

  /** Takes what was said, by others or, coming back, by oneself.
   * @param {Said} said
   * @param {Way} way
   */
  hear(said, way) {
    const body = typeof said.body === "string" ? { kind: "text", text: said.body } : Object(said.body);
    const act = this.#acts.get(body.kind);
    if (act) {
      this.#actOn(act, body, said, way);
      return;
    }
    const key = keyOf(said.author, said.id);
    const known = this.#store.line(key);
    if (known) {
      if (way.mine) this.acknowledge(known, said.at, way.seq);
      return;
    }
    const line = this.make(body, said.author, said.id, way.from, way.to);
    Object.assign(line, { at: believable(said.at), seq: way.seq, mine: way.mine, replayed: said.replayed });
    if (!way.mine) this.#markUnread(line);
    this.#store.add(line);
    const offer = this.#offers.get(line);
    if (offer) this.onOffer(line, offer, said);
  }

  /** Something came that could not be opened or believed.
   * @param {User} from
   * @param {string} id
   * @param {string} reason
   */
  unreadable(from, id, reason) {
    const key = keyOf(`?${from.id}`, id);
    if (this.#store.line(key)) return;
    const line = { ...blank(), kind: /** @type {const} */ ("unreadable"), key, author: from, reason };
    this.#markUnread(line);
    this.#store.add(line);
  }

  /** An own line is said.
   * @param {Line} line
   * @param {number | null} at
   * @param {number | null} seq
   */
  acknowledge(line, at, seq) {
    if (line.status === "sent") {
      line.seq ??= seq;
      return;
    }
    Object.assign(line, { status: "sent", problem: null, seq, at: believable(at ?? line.at) });
    this.#store.settle(line);
  }

  /**
   * A line of what a body says; it is in no list yet.
   * @param {Record<string, any>} body
   * @param {string} author
   * @param {string} id
   * @param {User} from
   * @param {string | null} to
   * @returns {Line}
   */
  make(body, author, id, from, to) {
    const line = { ...blank(), key: keyOf(author, id), author: from.id === "admin" ? null : from, to };
    if (to !== null) line.toUser = this.#roster.known(to);
    if (body.kind === "text" && typeof body.text === "string") line.text = cleanText(body.text);
    const offer = body.kind === "file" ? readOffer(body, this.#voice.sealed) : null;
    if (offer) this.#offers.set(line, offer);
    line.file = offer?.state ?? null;
    line.kind = line.file ? "file" : body.kind === "text" && typeof body.text === "string" ? "text" : "unknown";
    const answered = body.re === undefined ? undefined : this.#named(body.re);
    // A private message may answer a public one. A reply to a private message has the same two people as that.
    if (answered && ["", audienceOf(line)].includes(audienceOf(answered))) line.replyTo = answered.key;
    else line.replyLost = body.re !== undefined;
    line.mentionsMe = from.me ? false : mentions(line.text, this.#roster);
    this.#authors.set(line, author);
    return line;
  }

  /** A line of an own file that is not offered yet.
   * @param {FileState} file
   * @param {string} id
   * @param {string | null} to
   */
  makeFile(file, id, to) {
    const line = this.make({ kind: "text", text: "" }, this.#voice.author, id, this.#roster.me, to);
    return Object.assign(line, { kind: "file", file, mine: true, status: "pending" });
  }

  /** What names a line, in a body's `re`.
   * @param {Line} line
   */
  ref(line) {
    const author = this.#authors.get(line) ?? "";
    return this.#voice.ref(author, line.key.slice(author.length + 1));
  }

  /**
   * @param {SystemEvent["event"]} event
   * @param {Partial<SystemEvent>} [more]
   */
  tell(event, more = {}) {
    const system = { event, nicks: [], count: 0, text: "", what: [], me: false, ...more };
    this.#systemCount += 1;
    const line = { ...blank(), kind: /** @type {const} */ ("system"), key: `system ${this.#systemCount}`, system };
    this.#store.add(line);
    return line;
  }

  /** Somebody came, or went: those in a row are one line.
   * @param {"joined" | "left"} event
   * @param {User} user
   */
  tellOf(event, user) {
    const { last } = this.#store;
    const system = last?.system;
    if (!last || system?.event !== event || Date.now() - last.at > JOIN_LINES_MS) {
      this.tell(event, { nicks: [user.nick], count: 1 });
      return;
    }
    system.count += 1;
    if (system.nicks.length < MOST_NICKS) system.nicks.push(user.nick);
    this.#store.change(last);
  }

  /** Somebody is called differently: again and again in a row is one line.
   * @param {User} before
   * @param {User} user
   */
  tellRenamed(before, user) {
    const { last } = this.#store;
    if (last?.system && this.#renaming.key === last.key && this.#renaming.user === user.id) {
      last.system.nicks[1] = user.nick;
      this.#store.change(last);
      return;
    }
    const line = this.tell("renamed", { nicks: [before.nick, user.nick], me: user.me });
    this.#renaming = { user: user.id, key: line.key };
  }

  /** @param {Line} line */
  #markUnread(line) {
    line.unread = true;
    this.#store.state.unread += 1;
    this.#store.touch("unread");
  }

  /**
   * The line that `re` names.
   * @param {unknown} re
   */
  #named(re) {
    const fields = Object(re);
    const author = this.#voice.authorOf(fields);
    return typeof author === "string" && typeof fields.id === "string" ? this.#store.line(keyOf(author, fields.id)) : undefined;
  }

  /**
   * Reactions, edits and deletions count for those only who heard the line itself, and no others.
   * @param {(line: Line, body: Record<string, any>, user: User) => void} act
   * @param {Record<string, any>} body
   * @param {Said} said
   * @param {Way} way
   */
  #actOn(act, body, said, way) {
    const line = this.#named(body.re);
    if (!line || audienceOf(line) !== audience(way.from.id, way.to)) return;
    const isAuthor = this.#authors.get(line) === said.author;
    if (body.kind === "reaction" || (isAuthor && !line.deleted)) act.call(this, line, body, way.from);
  }

  /**
   * @param {Line} line
   * @param {Record<string, any>} body
   * @param {User} user
   */
  #react(line, { emoji: wanted, on }, user) {
    const emoji = cleanEmoji(wanted);
    if (!emoji || line.deleted) return;
    const known = line.reactions.find((reaction) => reaction.emoji === emoji);
    const at = known?.users.indexOf(user.id) ?? -1;
    if (on !== false && at < 0) {
      if (known ? known.users.length >= MOST_REACTING : line.reactions.length >= MOST_EMOJI) return;
      const reaction = known ?? { emoji, users: [], nicks: [], mine: false };
      reaction.users.push(user.id);
      reaction.nicks.push(user.nick);
      reaction.mine ||= user.me;
      if (!known) line.reactions.push(reaction);
    } else if (on === false && known && at >= 0) {
      known.users.splice(at, 1);
      known.nicks.splice(at, 1);
      known.mine &&= !user.me;
      if (!known.users.length) line.reactions.splice(line.reactions.indexOf(known), 1);
    }
    this.#store.change(line);
  }

  /**
   * @param {Line} line
   * @param {Record<string, any>} body
   */
  #edit(line, { text }) {
    if (line.kind !== "text" || typeof text !== "string") return;
    line.edited = true;
    this.#store.setText(line, cleanText(text));
  }

  /** The message to all at that place was removed, by the owner or a moderator.
   * @param {number} seq
   */
  onRemoved(seq) {
    const line = this.#store.state.lines.findLast((one) => one.seq === seq);
    if (!line || line.deleted) return;
    line.removed = true;
    this.#delete(line);
  }

  /** @param {Line} line */
  #delete(line) {
    Object.assign(line, { deleted: true, reactions: [] });
    this.#store.setText(line, "");
    this.onDeleted(line);
  }
}

/**
 * Between whom something is: "" for all.
 * @param {string} from
 * @param {string | null} to
 */
const audience = (from, to) => (to === null ? "" : [from, to].sort().join(" "));

/** When something was said: no room lives longer than a day, so what is from far away comes from a wrong clock.
 * @param {number} at
 */
const believable = (at) => (Math.abs(at - Date.now()) < LONGEST_LIFE_MS ? at : Date.now());

/** @param {Line} line */
const audienceOf = (line) => audience(line.author?.id ?? "", line.to);
