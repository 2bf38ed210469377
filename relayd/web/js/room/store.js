/** What views show: one object of plain data, and word of what has changed, once a frame. */

/** @typedef {"phase" | "me" | "users" | "details" | "link" | "typing" | "reads" | "unread" | "knocking"} Kind */

const MOST_LINES = 10_000;
const MOST_CHARACTERS = 32_000_000;
const DROPPED_AT_ONCE = 200;
const HIDDEN_FRAME_MS = 250; // a hidden tab has no frames
const PROGRESS_MS = 250; // between two updates of a line that shows the progress of a file

/** @returns {RoomState} */
const newState = () => ({
  phase: "connecting",
  problem: null,
  closedBecause: "",
  retryAt: null,
  me: "",
  role: "member",
  muted: false,
  remembered: true,
  users: new Map(),
  knocking: [],
  userCount: 0,
  lines: [],
  details: {
    id: "", name: "", owner_id: "", max: 0, date: "", expiration: "", expiration_date: "", protected: false,
    locked: false, settings: { files: false, max_file: 0, resume: 0, slow: 0, lobby: false },
  },
  endsAt: 0,
  usersLeave: false,
  sealed: false,
  canRekey: false,
  unconfirmed: new Set(),
  link: "",
  linkIsOld: false,
  typing: [],
  reads: new Map(),
  unread: 0,
});

export class Store {
  state = newState();
  /** @type {Set<(changes: Changes) => void>} */ #listeners = new Set();
  /** @type {Map<string, Line>} */ #byKey = new Map();
  #characters = 0;
  /** @type {Set<Kind>} */ #kinds = new Set();
  /** @type {Set<string>} */ #added = new Set();
  /** @type {Set<string>} */ #placed = new Set();
  /** @type {Set<string>} */ #changed = new Set();
  /** @type {string[]} */ #removed = [];
  /** @type {Line[]} */ #news = [];
  /** @type {Set<Line>} */ #progressing = new Set(); // lines with an update of their progress pending
  #isScheduled = false;

  /**
   * @param {(changes: Changes) => void} listener
   * @returns {() => void}
   */
  subscribe(listener) {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param {string} key */
  line(key) {
    return this.#byKey.get(key);
  }

  /** @param {...Kind} kinds */
  touch(...kinds) {
    for (const kind of kinds) this.#kinds.add(kind);
    this.#schedule();
  }

  /** Puts a line at the end, before those that are on their way.
   * @param {Line} line
   */
  add(line) {
    this.#byKey.set(line.key, line);
    this.#characters += line.text.length;
    this.#added.add(line.key);
    this.#insert(line);
    if (line.unread) this.#news.push(line);
    if (this.state.lines.length > MOST_LINES || this.#characters > MOST_CHARACTERS) this.#dropOldest();
  }

  /** Puts a line where one belongs that was said just now: it was on its way.
   * @param {Line} line
   */
  settle(line) {
    const at = this.state.lines.lastIndexOf(line);
    if (at >= 0) this.state.lines.splice(at, 1);
    this.#insert(line, at);
    this.change(line);
  }

  /** @param {Line} line */
  remove(line) {
    const at = this.state.lines.lastIndexOf(line);
    if (at < 0) return;
    this.state.lines.splice(at, 1);
    this.#forget(line);
    this.#schedule();
  }

  /** What a line says now.
   * @param {Line} line
   * @param {string} text
   */
  setText(line, text) {
    this.#characters += text.length - line.text.length;
    line.text = text;
    this.change(line);
  }

  /** @param {Line} line */
  change(line) {
    this.#changed.add(line.key);
    this.#schedule();
  }

  /** The transfer of a line's file has progressed; every other change is reported by `change`.
   * @param {Line} line
   */
  progress(line) {
    if (this.#progressing.has(line)) return;
    this.#progressing.add(line);
    setTimeout(() => {
      this.#progressing.delete(line);
      if (this.line(line.key) === line) this.change(line);
    }, PROGRESS_MS);
  }

  /** The last line that is not on its way. */
  get last() {
    const { lines } = this.state;
    return lines[this.#end() - 1];
  }

  /** What is heard next goes before those that are on their way. */
  #end() {
    const { lines } = this.state;
    let end = lines.length;
    while (end > 0 && lines[end - 1].status === "pending") end -= 1;
    return end;
  }

  /**
   * @param {Line} line
   * @param {number} [before]  where it was
   */
  #insert(line, before) {
    const at = line.status === "pending" ? this.state.lines.length : this.#end();
    this.state.lines.splice(at, 0, line);
    if (at !== before) this.#placed.add(line.key);
    this.#schedule();
  }

  #dropOldest() {
    for (const line of this.state.lines.splice(0, DROPPED_AT_ONCE)) this.#forget(line);
  }

  /** @param {Line} line */
  #forget(line) {
    this.#byKey.delete(line.key);
    this.#characters -= line.text.length;
    this.#changed.delete(line.key);
    if (line.file?.url) URL.revokeObjectURL(line.file.url);
    // Placed and gone within one frame: nobody has seen it; the removal of what is not there harms nobody.
    this.#placed.delete(line.key);
    this.#added.delete(line.key);
    this.#removed.push(line.key);
  }

  #schedule() {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    const flush = () => this.#isScheduled && this.#flush();
    // Both: a tab may be hidden between now and its next frame.
    requestAnimationFrame(flush);
    setTimeout(flush, HIDDEN_FRAME_MS);
  }

  #flush() {
    this.#isScheduled = false;
    const changes = {
      kinds: this.#kinds, placed: this.#places(), changed: this.#changed, removed: this.#removed, news: this.#news,
    };
    for (const key of this.#added) this.#changed.delete(key);
    this.#added = new Set();
    this.#kinds = new Set();
    this.#placed = new Set();
    this.#changed = new Set();
    this.#removed = [];
    this.#news = [];
    for (const listener of this.#listeners) listener(changes);
  }

  /** Of the lines that are new or moved, the last first: what each stands before. They are near the end. */
  #places() {
    const { lines } = this.state;
    const placed = [];
    for (let at = lines.length - 1; placed.length < this.#placed.size && at >= 0; at -= 1) {
      const { key } = lines[at];
      if (this.#placed.has(key)) placed.push({ key, before: lines[at + 1]?.key ?? null });
    }
    return placed;
  }
}
