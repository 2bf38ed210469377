/**
 * What one is writing in a room: a draft for everyone and one for each person one writes to in private, what it answers,
 * and the line that is being edited. A draft never changes its recipient.
 */

/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").User} User */

export class Writing {
  /** @type {User | null} */ to = null; // null: everyone
  /** @type {Line | null} */ editing = null;
  #edited = "";
  /** @type {Map<string, {text: string, replying: Line | null}>} */ #drafts = new Map(); // by user id; "" for everyone

  /** What stands in the field: the new text of the line that is edited, or else the draft. */
  get text() {
    return this.editing ? this.#edited : this.#draft.text;
  }

  set text(text) {
    if (this.editing) this.#edited = text;
    else this.#draft.text = text;
  }

  /** The line that the draft answers. */
  get replying() {
    return this.editing ? null : this.#draft.replying;
  }

  /** Whether something would be lost with the page. */
  get isUnsent() {
    const isEdited = this.editing !== null && this.#edited !== this.editing.text;
    return isEdited || [...this.#drafts.values()].some(({ text }) => text.trim() !== "");
  }

  /** From here on the draft is for that user, or for everyone.
   * @param {User | null} user
   */
  writeTo(user) {
    this.editing = null;
    this.to = user;
  }

  /** Edits a line; the draft is kept meanwhile.
   * @param {Line} line
   */
  edit(line) {
    this.editing = line;
    this.#edited = line.text;
  }

  /** Answers a line: a private one in private, any other to whom one writes already.
   * @param {Line} line
   */
  reply(line) {
    this.writeTo(line.to === null ? this.to : line.mine ? line.toUser : line.author);
    this.#draft.replying = line;
  }

  /** Ends the edit, or else the reply; the draft's text and recipient stay. */
  cancel() {
    if (this.editing) this.editing = null;
    else this.#draft.replying = null;
  }

  /** The text has been sent. */
  clear() {
    if (this.editing) this.editing = null;
    else this.#drafts.delete(this.#key);
  }

  /** Lets go of lines that are not shown any more.
   * @param {(key: string) => Line | undefined} find
   */
  keepLines(find) {
    if (this.editing && !find(this.editing.key)) this.editing = null;
    for (const draft of this.#drafts.values()) if (draft.replying && !find(draft.replying.key)) draft.replying = null;
  }

  get #key() {
    return this.to?.id ?? "";
  }

  get #draft() {
    const draft = this.#drafts.get(this.#key) ?? { text: "", replying: null };
    this.#drafts.set(this.#key, draft);
    return draft;
  }
}

/** @type {Map<string, Writing>} by room id: as long as the page, whichever views come and go */
const all = new Map();

/** @param {string} roomId */
export function writingIn(roomId) {
  const writing = all.get(roomId) ?? new Writing();
  all.set(roomId, writing);
  return writing;
}

/** @param {string} roomId */
export const forgetWriting = (roomId) => all.delete(roomId);
