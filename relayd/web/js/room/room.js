/** A room as views have it: what types.js calls `Room`. */

import { Problem } from "../problem.js";
import { newId } from "../wire/bytes.js";
import { cleanNick, fitText } from "./clean.js";
import { FilesLater } from "./files-later.js";
import * as identities from "./identity.js";
import { Invite } from "./invite.js";
import { keyOf, Lines } from "./lines.js";
import { Marks } from "./marks.js";
import { Membership } from "./membership.js";
import { Moderation } from "./moderation.js";
import { Roster } from "./roster.js";
import { Store } from "./store.js";

// Of a text's JSON, so that it fits a frame: as it is; sealed, which is base64url; sealed twice over, for one.
const MAX_TEXT_BYTES = { open: 64_000, sealed: 45_000, direct: 17_000 };
const FINAL = new Set(["room_closed", "no_such_room", "kicked", "left", "forbidden"]); // nobody comes back as before

export class Room {
  #store = new Store();
  #inside;
  #roster;
  #lines;
  #voice;
  #identity;
  #files;
  #marks;
  #invite;

  /**
   * @param {Identity} identity
   * @param {Voice} voice
   * @param {string} key
   */
  constructor(identity, voice, key) {
    const store = this.#store;
    const roster = new Roster(store.state);
    this.#roster = roster;
    this.#identity = identity;
    this.#voice = voice;
    this.#lines = new Lines(store, voice, roster);
    this.#inside = new Membership({
      identity, key, voice, store, roster, lines: this.#lines,
      keep: () => identities.save(identity), onLink: () => this.#takeLink(),
    });
    this.#files = new FilesLater(this.#inside);
    this.#marks = new Marks(this.#inside);
    this.#invite = new Invite(identity, () => this.#takeLink());
    this.moderation = new Moderation(this.#inside, this.#invite);
    this.#inside.onOver = ({ code }) => {
      if (FINAL.has(code)) identities.forget(identity.roomId);
    };
    this.#takeLink();
  }

  get state() {
    return this.#store.state;
  }

  /** @param {(changes: Changes) => void} listener */
  subscribe(listener) {
    return this.#store.subscribe(listener);
  }

  /** @param {string} key */
  line(key) {
    return this.#store.line(key);
  }

  /** @param {() => void} onWaiting  somebody inside has to let this user in */
  join(onWaiting) {
    return this.#inside.join(onWaiting);
  }

  // Speaking. ---------------------------------------------------------------------------------------------------

  /**
   * @param {string} text
   * @param {{replyTo?: string, to?: string}} [more]
   */
  say(text, { replyTo, to } = {}) {
    const answered = replyTo === undefined ? undefined : this.line(replyTo);
    const body = { kind: "text", text: this.#fit(text, to), ...(answered && { re: this.#lines.ref(answered) }) };
    this.#marks.onSaid();
    return this.#speak(body, to ?? null);
  }

  /**
   * @param {string} key
   * @param {string} emoji
   * @param {boolean} on
   */
  react(key, emoji, on) {
    return this.#act(key, { kind: "reaction", emoji, on });
  }

  /**
   * @param {string} key
   * @param {string} text
   */
  edit(key, text) {
    return this.#act(key, { kind: "edit", text: this.#fit(text, this.line(key)?.to) });
  }

  /** @param {string} key */
  remove(key) {
    return this.#act(key, { kind: "delete" });
  }

  /** @param {string} key */
  resend(key) {
    const line = this.line(key);
    if (line?.status !== "failed") return;
    this.#store.remove(line);
    if (line.file) this.#files.offerAgain(line);
    else this.say(line.text, { replyTo: line.replyTo ?? undefined, to: line.to ?? undefined });
  }

  /** @param {string} key */
  discard(key) {
    const line = this.line(key);
    if (line?.status === "failed") this.#store.remove(line);
  }

  /** @param {boolean} on */
  typing(on) {
    this.#marks.typing(on);
  }

  read() {
    this.#marks.read();
  }

  /** @param {string} nick */
  setNick(nick) {
    this.#identity.nick = cleanNick(nick) || this.#identity.nick;
    this.#inside.keep();
    this.#inside.speaker.showNick();
  }

  // Files. ------------------------------------------------------------------------------------------------------

  /**
   * @param {File} file
   * @param {{to?: string}} [more]
   */
  offerFile(file, { to } = {}) {
    this.#requireVoice(to ?? null);
    return this.#files.offer(file, to ?? null);
  }

  /**
   * @param {string} key
   * @param {boolean} [unasked]
   */
  accept(key, unasked = false) {
    this.#files.accept(this.line(key), unasked);
  }

  /** @param {string} key */
  cancel(key) {
    this.#files.cancel(this.line(key));
  }

  // Coming and going. -------------------------------------------------------------------------------------------

  leave() {
    this.#inside.leave();
    identities.forget(this.#identity.roomId);
  }

  retry() {
    this.#inside.connection.retry();
  }

  close() {
    this.#marks.close();
    this.#invite.close();
    this.#inside.connection.close();
    this.#inside.hearing.close();
    this.#inside.rekeying.close();
  }

  async safetyCode() {
    if (!("roomCode" in this.#voice)) throw new Problem("cannot_rekey", "this room is open: it has no keys");
    return this.#voice.roomCode();
  }

  /** @param {string} userId */
  async personCode(userId) {
    if (!("personCode" in this.#voice)) throw new Problem("no_card", "this room is open: it has no keys");
    return this.#voice.personCode(userId);
  }

  /**
   * @param {string | null} to
   * @throws {Problem} nothing can be said now, or not to that one
   */
  #requireVoice(to) {
    if (this.state.muted) throw new Problem("muted");
    if (to !== null && !this.#voice.canReach(to)) throw new Problem("no_card");
  }

  /** What was typed, as it can be sent.
   * @param {string} text
   * @param {string | null | undefined} to
   */
  #fit(text, to) {
    return fitText(text, MAX_TEXT_BYTES[!this.#voice.sealed ? "open" : to ? "direct" : "sealed"]);
  }

  /**
   * @param {Record<string, unknown>} body
   * @param {string | null} to
   */
  #speak(body, to) {
    this.#requireVoice(to);
    const id = newId();
    const line = this.#lines.make(body, this.#voice.author, id, this.#roster.me, to);
    Object.assign(line, { mine: true, status: "pending" });
    this.#inside.outbox.add(body, to, {
      id,
      onSaid: () => this.#lines.acknowledge(line, null, null),
      onFailed: (problem) => this.#fail(line, problem),
    });
    this.#store.add(line);
    return keyOf(this.#voice.author, id);
  }

  /**
   * @param {Line} line
   * @param {Problem} problem
   */
  #fail(line, problem) {
    Object.assign(line, { status: "failed", problem });
    this.#store.settle(line);
  }

  /** Something about a line, said to those who heard it.
   * @param {string} key
   * @param {Record<string, unknown>} body
   * @returns {Promise<void>}
   */
  async #act(key, body) {
    const line = this.line(key);
    if (!line || line.kind === "system" || line.status !== "sent") return;
    const to = line.to !== null && !line.mine ? (line.author?.id ?? null) : line.to;
    await new Promise((resolve, reject) => {
      const onSaid = () => resolve(undefined);
      this.#inside.outbox.add({ ...body, re: this.#lines.ref(line) }, to, { onSaid, onFailed: reject });
    });
  }

  /** There may be new keys, or a new invite. */
  #takeLink() {
    identities.takeKeys(this.#identity, this.#voice);
    const [{ link }, linkIsOld] = [this.#identity, this.#invite.isOld];
    if (this.state.link === link && this.state.linkIsOld === linkIsOld) return;
    Object.assign(this.state, { link, linkIsOld });
    this.#store.touch("link");
  }
}
