/** Signs of the moment: that this user is typing, and what they have seen. */

const TYPING_EVERY_MS = 3000;
const READ_EVERY_MS = 2000;
const MOST_READERS = 50; // nobody can look at more marks, and each costs everyone a frame

export class Marks {
  #inside;
  #typingAt = 0; // when that was last told; 0 while not typing
  #readSeq = -1;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #reading;

  /** @param {import("./membership.js").Membership} inside */
  constructor(inside) {
    this.#inside = inside;
  }

  /** @param {boolean} on */
  typing(on) {
    if (on && Date.now() - this.#typingAt < TYPING_EVERY_MS) return;
    const told = this.#typingAt > 0;
    this.#typingAt = on ? Date.now() : 0;
    if (on || told) this.#inside.speaker.signal("typing", on);
  }

  /** What is said ends the typing by itself. */
  onSaid() {
    this.#typingAt = 0;
  }

  /** Everything is seen. */
  read() {
    const { store } = this.#inside;
    const { lines } = store.state;
    for (let at = lines.length - 1; at >= 0 && store.state.unread; at -= 1) {
      if (!lines[at].unread) continue;
      lines[at].unread = false;
      store.state.unread -= 1;
      store.touch("unread");
    }
    store.state.unread = 0; // some may have been dropped
    this.#reading ??= setTimeout(() => this.#tellRead(), READ_EVERY_MS);
  }

  close() {
    clearTimeout(this.#reading);
  }

  #tellRead() {
    this.#reading = undefined;
    const { seq, store } = this.#inside;
    if (seq === this.#readSeq || store.state.userCount > MOST_READERS) return;
    this.#readSeq = seq;
    this.#inside.speaker.signal("read", { seq });
  }
}
