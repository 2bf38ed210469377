/** Unsent text of a room: one draft for everyone, one for each private conversation, and the message being edited. */

/** @typedef {{text: string, replyTo: Line | null}} Draft */

/** A draft never changes its recipient. */
export class Drafts {
  /** @type {User | null} */ recipient = null; // of the current draft; null: everyone
  /** @type {Line | null} */ editing = null;
  #editedText = "";
  /** @type {Map<string, Draft>} */ #byRecipient = new Map(); // by user id; "" for everyone

  /** The content of the text field: the new text of the message being edited, otherwise the current draft. */
  get text() {
    return this.editing ? this.#editedText : this.#current.text;
  }

  set text(text) {
    if (this.editing) this.#editedText = text;
    else this.#current.text = text;
  }

  /** The message that the current draft replies to. */
  get replyTo() {
    return this.editing ? null : this.#current.replyTo;
  }

  /** Whether closing the page loses text. */
  get hasUnsentText() {
    const isEdited = this.editing !== null && this.#editedText !== this.editing.text;
    return isEdited || [...this.#byRecipient.values()].some(({ text }) => text.trim() !== "");
  }

  /** Makes the draft for that user, or for everyone, the current one.
   * @param {User | null} user
   */
  switchTo(user) {
    this.editing = null;
    this.recipient = user;
  }

  /** Starts to edit a message; the current draft is kept meanwhile.
   * @param {Line} line
   */
  edit(line) {
    this.editing = line;
    this.#editedText = line.text;
  }

  /** Makes the draft a reply. A private message is answered in private; any other keeps the current recipient.
   * @param {Line} line
   */
  reply(line) {
    this.switchTo(line.to === null ? this.recipient : line.mine ? line.toUser : line.author);
    this.#current.replyTo = line;
  }

  /** Ends the edit, otherwise the reply; text and recipient of the draft stay. */
  cancel() {
    if (this.editing) this.editing = null;
    else this.#current.replyTo = null;
  }

  /** Deletes what has been sent. */
  clear() {
    if (this.editing) this.editing = null;
    else this.#byRecipient.delete(this.#key);
  }

  /** Drops references to messages that are no longer shown.
   * @param {(key: string) => Line | undefined} find
   */
  dropMissing(find) {
    if (this.editing && !find(this.editing.key)) this.editing = null;
    for (const draft of this.#byRecipient.values()) if (draft.replyTo && !find(draft.replyTo.key)) draft.replyTo = null;
  }

  get #key() {
    return this.recipient?.id ?? "";
  }

  get #current() {
    const draft = this.#byRecipient.get(this.#key) ?? { text: "", replyTo: null };
    this.#byRecipient.set(this.#key, draft);
    return draft;
  }
}

/** @type {Map<string, Drafts>} by room id. In memory only; they outlive the views, which another language replaces */
const byRoom = new Map();

/** @param {string} roomId */
export function draftsOf(roomId) {
  const drafts = byRoom.get(roomId) ?? new Drafts();
  byRoom.set(roomId, drafts);
  return drafts;
}

/** @param {string} roomId */
export const deleteDrafts = (roomId) => byRoom.delete(roomId);
