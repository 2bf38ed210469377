/** An open room's voice: everything is said as it is, and the server reads along. */

import { Problem } from "../problem.js";
import { readAccess } from "../seal/keys.js";

export class OpenVoice {
  sealed = false;
  epoch = 0;
  canRekey = false;
  #me = "";

  get proof() {
    return "";
  }

  /** @param {string} nick */
  joinProfile(nick) {
    return { nick };
  }

  /** Nothing has to be shown: the join said who this is.
   * @param {Frame} _room
   * @param {string} _nick
   */
  async knock(_room, _nick) {
    return null;
  }

  /** @param {Frame} joined */
  async welcome(joined) {
    if (readAccess(joined.room)) throw new Problem("server_wrong", "an open room has become a sealed one");
    this.#me = joined.you.id;
  }

  /** Who this user is, as references name them. */
  get author() {
    return this.#me;
  }

  /** @param {string} nick */
  async profile(nick) {
    return { nick };
  }

  /** @param {Outgoing} said */
  async message(said) {
    return said.body;
  }

  /**
   * @param {string} kind
   * @param {unknown} data
   */
  async signal(kind, data) {
    return { kind, data };
  }

  /**
   * @param {Frame} shape
   * @param {number} _place
   */
  readNewcomer(shape, _place) {
    return this.readUser(shape, _place);
  }

  /**
   * @param {Frame} shape
   * @param {number} _place
   */
  async readUser(shape, _place) {
    return { nick: Object(shape.profile).nick, key: "" };
  }

  /**
   * @param {Frame} frame
   * @param {number} _place
   * @returns {Promise<Said>}
   */
  async readMessage(frame, _place) {
    const at = Number.isSafeInteger(frame.at) ? frame.at : Date.now();
    return { author: frame.from, id: frame.id, body: frame.body, at, epoch: 0, replayed: false };
  }

  /**
   * @param {Frame} frame
   * @param {number} _place
   * @returns {Promise<{kind: unknown, data: unknown}>}
   */
  async readSignal(frame, _place) {
    return { kind: frame.kind, data: frame.data };
  }

  /** @param {Frame} _frame */
  async takeRekey(_frame) {
    return false;
  }

  /** What names something said, in a body's `re`.
   * @param {string} author
   * @param {string} id
   */
  ref(author, id) {
    return { from: author, id };
  }

  /** Who is named there.
   * @param {Frame} re
   */
  authorOf(re) {
    return re.from;
  }

  /** Of whom what that author said is.
   * @param {string} author
   */
  userOf(author) {
    return author;
  }

  /** Whether something can be said to that user alone.
   * @param {string} _user
   */
  canReach(_user) {
    return true;
  }
}
