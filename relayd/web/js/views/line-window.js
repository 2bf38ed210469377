/** Which lines of a chat are in the document: a range of them, limited in lines and in elements. */

const PAGE = 150; // lines that are added when somebody reads on at an edge
const PAGE_ELEMENTS = 6_000; // or fewer lines, if they have so many elements
const BEFORE = 20; // lines before one that is to be shown
const MOST_LINES = 600;
const MOST_ELEMENTS = 20_000; // 600 usual lines have 8,000; one member's worst ones would have 150,000
const FRAME_ELEMENTS = 1_500; // made in one frame: some 10 ms, so that typing never waits for a burst of messages
const CHARACTERS = 32; // take as long as an element
const MOST_PLACED = 10; // lines that are inserted or moved in one frame, with their focus; more are drawn again

/** It has the lines from `first` up to `end`, and `nodes` exactly their elements. */
export class LineWindow {
  first = 0;
  /** @type {Line[]} */ lines = []; // all, as of the last changes
  /** @type {Map<string, HTMLElement>} by a line's key */ nodes = new Map();
  /** @type {Set<string>} */ #outdated = new Set(); // keys of lines to be drawn again
  #holder;
  #draw;
  #update;

  /**
   * @param {HTMLElement} holder
   * @param {(line: Line, before: Line | undefined) => HTMLElement} draw
   * @param {(node: HTMLElement, line: Line, before: Line | undefined) => void} update  draws a line again, in place
   */
  constructor(holder, draw, update) {
    this.#holder = holder;
    this.#draw = draw;
    this.#update = update;
  }

  get end() {
    return this.first + this.nodes.size;
  }

  get hasNewest() {
    return this.end === this.lines.length;
  }

  /** Begins with the last page, which `advance` adds. */
  showNewest() {
    this.#startAt(this.lines.length - PAGE);
  }

  /** Shows the lines around one.
   * @param {string} key
   */
  showAround(key) {
    const index = this.#indexOf(key);
    if (index >= 0 && !this.nodes.has(key)) {
      this.#startAt(index - BEFORE);
      this.#append(PAGE_ELEMENTS, this.first + PAGE);
    }
    return this.nodes.get(key);
  }

  /** Takes what has changed; `advance` draws it.
   * @param {readonly Line[]} lines  all; copied, as they change before that is told
   * @param {Pick<Changes, "removed" | "placed" | "changed">} changes
   */
  take(lines, { removed, placed, changed }) {
    const hadNewest = this.hasNewest;
    this.lines = [...lines];
    for (const key of removed) this.#drop(key);
    // The oldest lines may have gone, and with them indices have moved.
    this.first = Math.min(this.first, lines.length);
    while (this.first > 0 && this.nodes.has(lines[this.first - 1].key)) this.first--;
    if (hadNewest && this.#hasRoom && placed.length <= MOST_PLACED) for (const { key, before } of placed) this.#place(key, before);
    else if (placed.length) this.#cutFrom(placed[placed.length - 1].key);
    for (const key of changed) this.#outdated.add(key);
  }

  /** Draws what is outdated and adds lines at the end, as much as fits into a frame.
   * @param {boolean} follows  the newest line is in view: older ones make room
   * @returns {boolean} whether more is left for the next frame
   */
  advance(follows) {
    const budget = FRAME_ELEMENTS - this.#redraw(FRAME_ELEMENTS);
    if (follows && this.lines.length - this.end > PAGE) this.showNewest();
    this.#append(budget, this.lines.length, follows);
    return this.#outdated.size > 0 || (!this.hasNewest && (follows || this.#hasRoom));
  }

  /** Adds lines before the first one. */
  readBack() {
    let budget = PAGE_ELEMENTS;
    const old = this.lines[this.first]?.key;
    for (let added = 0; this.first > 0 && added < PAGE && budget > 0; added++) {
      const node = this.#build(this.first - 1);
      this.first--;
      this.#holder.prepend(node);
      budget -= sizeOf(node);
    }
    if (old) this.#outdated.add(old); // it may follow one that was not there
    while (this.nodes.size > MOST_LINES + PAGE || this.#elements > MOST_ELEMENTS) this.#drop(this.lines[this.end - 1].key);
  }

  /** Adds lines after the last one. */
  readOn() {
    this.#append(PAGE_ELEMENTS, this.end + PAGE, true);
  }

  get #elements() {
    return this.#holder.getElementsByTagName("*").length;
  }

  get #hasRoom() {
    return this.nodes.size < MOST_LINES && this.#elements < MOST_ELEMENTS;
  }

  /** @param {number} index */
  #startAt(index) {
    this.first = Math.max(0, index);
    this.nodes.clear();
    this.#holder.replaceChildren();
  }

  /** @param {number} budget  @param {number} upto  index  @param {boolean} [makesRoom]  drops the first lines */
  #append(budget, upto, makesRoom = false) {
    let left = budget;
    while (left > 0 && this.end < Math.min(upto, this.lines.length)) {
      if (!this.#hasRoom) {
        if (!makesRoom) return;
        this.#makeRoom();
      }
      const node = this.#build(this.end);
      this.#holder.append(node);
      left -= sizeOf(node);
    }
  }

  /** Drops a page of the first lines, or a third of the elements. */
  #makeRoom() {
    while (this.nodes.size > MOST_LINES - PAGE || this.#elements > (MOST_ELEMENTS * 2) / 3) {
      this.#drop(this.lines[this.first].key);
      this.first++;
    }
  }

  /** @param {number} index  @returns {HTMLElement} */
  #build(index) {
    const node = this.#draw(this.lines[index], this.lines[index - 1]);
    this.nodes.set(this.lines[index].key, node);
    return node;
  }

  /** @param {string} key */
  #drop(key) {
    this.nodes.get(key)?.remove();
    this.nodes.delete(key);
    this.#outdated.delete(key);
  }

  /** Inserts or moves a line.
   * @param {string} key  @param {string | null} before
   */
  #place(key, before) {
    const known = this.nodes.get(key);
    const next = before === null ? null : (this.nodes.get(before) ?? null);
    const focused = known?.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    if (!known || known.nextSibling !== next) this.#holder.insertBefore(known ?? this.#build(this.#indexOf(key)), next);
    focused?.focus({ preventScroll: true });
    if (known) this.#outdated.add(key);
    if (before !== null) this.#outdated.add(before); // it may follow another line now
  }

  /** Drops all lines from that one on, for `advance` to add them.
   * @param {string} key
   */
  #cutFrom(key) {
    for (let index = this.#indexOf(key); index < this.lines.length; index++) this.#drop(this.lines[index].key);
  }

  /** @param {string} key */
  #indexOf(key) {
    return this.lines.findLastIndex((line) => line.key === key);
  }

  /** @param {number} budget  @returns {number} what it has used of that */
  #redraw(budget) {
    let drawn = 0;
    // From the end on: what changes is nearly always there.
    for (let index = this.end - 1; index >= this.first && this.#outdated.size && drawn < budget; index--) {
      const { key } = this.lines[index];
      const node = this.nodes.get(key);
      if (!this.#outdated.delete(key) || !node) continue;
      this.#update(node, this.lines[index], this.lines[index - 1]);
      drawn += sizeOf(node);
    }
    if (drawn < budget) this.#outdated.clear(); // the others are not in the document
    return drawn;
  }
}

/** What a line costs, in elements.
 * @param {Element} node
 */
const sizeOf = (node) => 1 + node.getElementsByTagName("*").length + (node.textContent ?? "").length / CHARACTERS;
