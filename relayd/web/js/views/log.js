/**
 * The chat's lines. Only a window of them is in the document: at its end as a rule, moved upwards as somebody reads
 * back; so ten thousand lines cost no more than a few hundred.
 */

import { fill, h, icon } from "../lib/dom.js";
import { day } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { patch as patchNode, patchChildren } from "../lib/patch.js";
import { initial, nameOf } from "../lib/text.js";
import { lineView } from "./message.js";

/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").Room} Room */
/** @typedef {import("../types.js").Changes} Changes */

const PAGE = 150; // lines that are added when somebody reads back
const MOST = 600; // past so many, those far from view go
const NEAR_PX = 80; // so near to the end one is at the end
const READERS = 100; // whose marks are shown: in a crowd they tell nothing any more
const FOLLOWS_MS = 5 * 60_000;

/**
 * @param {Room} room
 * @param {Omit<import("./message.js").Deeds, "room" | "show">} deeds
 * @param {{tools: (line: Line) => Node[], head: Node, whenReleased?: (work: () => void) => void}} parts  `tools`: buttons
 *     for a line that has focus or pointer
 */
export function logView(room, deeds, { tools, head, whenReleased = (work) => work() }) {
  const { lines } = room.state;
  const holder = h("div", { class: "lines" });
  const earlier = h("button", { type: "button", class: "earlier", onclick: () => readBack() }, t("log.earlier"));
  const unreadCount = h("span");
  const jump = h("button", { type: "button", class: "jump", "aria-label": t("log.jump"), onclick: () => toEnd(), hidden: true }, icon("down"), unreadCount);
  const scroller = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": t("log.label"), tabIndex: -1 }, h("div", { class: "column" }, head, earlier, holder));
  const node = h("section", { class: "log-place" }, scroller, jump);
  const toolbar = h("div", { class: "tools", role: "toolbar", "aria-label": t("log.tools"), "data-unmanaged": "" });

  /** @type {Map<string, HTMLElement>} */
  const nodes = new Map();
  let first = Math.max(0, lines.length - PAGE); // index of the first line in the document
  let atEnd = true;
  /** @type {string} */
  let active = "";
  /** @type {HTMLElement | null} */
  let tabStop = null;

  const all = { ...deeds, room, show };

  /** @param {number} index  @returns {HTMLElement} */
  const draw = (index) => {
    const line = lines[index];
    const before = lines[index - 1];
    const follows = before !== undefined && goesOn(before, line);
    const made = lineView(line, all, follows);
    if (!before || new Date(before.at).toDateString() !== new Date(line.at).toDateString()) made.dataset.day = day(line.at);
    return made;
  };

  /** @param {number} index  @returns {HTMLElement} */
  const build = (index) => {
    const made = draw(index);
    nodes.set(lines[index].key, made);
    return made;
  };

  /** The whole window anew: at the start, and when it is moved far. */
  const rebuild = () => {
    nodes.clear();
    fill(holder, lines.slice(first).map((_, offset) => build(first + offset)));
    earlier.hidden = first === 0;
    seen();
  };

  const readBack = (count = PAGE) => {
    const from = Math.max(0, first - count);
    const made = [];
    for (let index = from; index < first; index++) made.push(build(index));
    const height = scroller.scrollHeight;
    const top = scroller.scrollTop;
    holder.prepend(...made);
    // The line that was first may follow one that was not there.
    if (first < lines.length) redraw(first);
    first = from;
    earlier.hidden = first === 0;
    scroller.scrollTop = top + scroller.scrollHeight - height;
  };

  /** Updates a line in place.
   * @param {number} index
   */
  const redraw = (index) => {
    const line = lines[index];
    const node = line && nodes.get(line.key);
    if (!node) return;
    const hadFocus = node.contains(document.activeElement);
    patchNode(node, draw(index));
    if (node === tabStop) node.tabIndex = 0;
    if (line.key === active) drawTools(node, line);
    if (hadFocus && !node.contains(document.activeElement)) node.focus({ preventScroll: true }); // the focused part was removed
  };

  /** Inserts a line, or moves it.
   * @param {number} index
   * @param {Node | null} before
   */
  const put = (index, before) => {
    const known = nodes.get(lines[index].key);
    const focused = known?.contains(document.activeElement) ? /** @type {HTMLElement} */ (document.activeElement) : null;
    if (!known || known.nextSibling !== before) holder.insertBefore(known ?? build(index), before);
    if (known) redraw(index);
    focused?.focus({ preventScroll: true });
  };

  /** @param {Changes} changes */
  const patch = (changes) => {
    const dirty = new Set(changes.changed);
    for (const key of changes.removed) {
      nodes.get(key)?.remove();
      nodes.delete(key);
    }
    // The oldest lines may have gone, and with them indices have moved.
    first = Math.min(first, lines.length);
    while (first > 0 && nodes.has(lines[first - 1].key)) first--;
    if (changes.placed.length || dirty.size) place(changes, dirty);
    if (atEnd) {
      trim();
      scroller.scrollTop = scroller.scrollHeight;
    }
    if (changes.kinds.has("reads") || changes.placed.length || dirty.size) seen();
    unreadCount.textContent = room.state.unread ? String(Math.min(room.state.unread, 999)) : "";
  };

  /** @param {Changes} changes  @param {Set<string>} dirty */
  const place = (changes, dirty) => {
    const wanted = new Set([...dirty, ...changes.placed.map(({ key }) => key)]);
    // From the end on: what changes is nearly always there, and the search ends with the last one found.
    let left = wanted.size;
    /** @type {Map<string, number>} */
    const indices = new Map();
    for (let index = lines.length - 1; index >= first && left > 0; index--) {
      if (wanted.has(lines[index].key)) {
        indices.set(lines[index].key, index);
        left--;
      }
    }
    for (const { key, before } of changes.placed) {
      const index = indices.get(key);
      if (index === undefined) continue;
      put(index, before === null ? null : (nodes.get(before) ?? null));
      if (before !== null) redraw(index + 1);
    }
    for (const key of dirty) {
      const index = indices.get(key);
      if (index !== undefined) redraw(index);
    }
  };

  const trim = () => {
    const extra = lines.length - first - MOST;
    if (extra <= 0) return;
    for (let count = 0; count < extra + PAGE; count++, first++) {
      const key = lines[first].key;
      nodes.get(key)?.remove();
      nodes.delete(key);
    }
    earlier.hidden = false;
  };

  /** The Tab key reaches one line: the one last looked at, else the newest; arrows go on from there. */
  const stopAt = (/** @type {Element | null | undefined} */ target) => {
    if (target === tabStop || !(target instanceof HTMLElement)) return;
    if (tabStop) tabStop.tabIndex = -1;
    tabStop = target;
    tabStop.tabIndex = 0;
  };

  /** Discs of those who have read up to a line, at that line. */
  const seen = () => {
    stopAt(nodes.get(active) ?? holder.lastElementChild);
    for (const old of holder.querySelectorAll(".seen")) old.remove();
    const waiting = new Map([...room.state.reads].filter(([id]) => id !== room.state.me).slice(0, READERS));
    for (let index = lines.length - 1; index >= first && index > lines.length - MOST && waiting.size; index--) {
      const { seq, key } = lines[index];
      if (seq === null) continue;
      const here = [...waiting].filter(([, read]) => read >= seq).map(([id]) => id);
      for (const id of here) waiting.delete(id);
      const users = here.map((id) => room.state.users.get(id)).filter((user) => user !== undefined);
      if (users.length) nodes.get(key)?.append(seenBy(users));
    }
  };

  /** @param {import("../types.js").User[]} users */
  const seenBy = (users) => {
    const names = users.slice(0, 20).map((user) => nameOf(user.nick)).join(", ");
    const discs = users.slice(0, 6).map((user) => {
      const made = h("span", { class: "dot", "aria-hidden": "true" }, initial(user.nick));
      made.style.setProperty("--hue", String(user.hue));
      return made;
    });
    return h("div", { class: "seen", "data-unmanaged": "", title: t("log.seen", { names }), role: "img", "aria-label": t("log.seen", { names }) }, discs, users.length > 6 && `+${users.length - 6}`);
  };

  const toEnd = () => {
    atEnd = true;
    trim();
    scroller.scrollTop = scroller.scrollHeight;
  };

  /** @param {string} key */
  function show(key) {
    const index = lines.findIndex((line) => line.key === key);
    if (index < 0) return;
    if (index < first) readBack(first - index + 20);
    const target = nodes.get(key);
    if (!target) return;
    target.scrollIntoView({ block: "center" });
    activate(target, true);
    target.classList.add("found");
    setTimeout(() => target.classList.remove("found"), 1_500);
  }

  scroller.addEventListener("scroll", () => {
    atEnd = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
    jump.hidden = atEnd;
    if (scroller.scrollTop < 200 && first > 0) readBack();
    if (atEnd && document.hasFocus()) room.read();
  }, { passive: true });

  // One toolbar for all lines: it goes where the pointer or the focus is.
  /** @param {HTMLElement} target  @param {boolean} focus */
  const activate = (target, focus) => {
    const line = room.line(target.dataset.key ?? "");
    if (!line) return;
    // Elements lose the focus when they move.
    if (toolbar.contains(document.activeElement) && !target.contains(toolbar)) tabStop?.focus({ preventScroll: true });
    active = line.key;
    stopAt(target);
    drawTools(target, line);
    if (focus) target.focus({ preventScroll: true });
  };
  /** @param {HTMLElement} target  @param {Line} line */
  const drawTools = (target, line) => {
    const buttons = line.kind === "system" ? [] : tools(line);
    patchChildren(toolbar, buttons);
    if (!buttons.length) toolbar.remove();
    else if (!target.contains(toolbar)) (target.querySelector(".bubble") ?? target).append(toolbar);
  };
  /** @param {Event} event */
  const lineAt = (event) => /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("article"));
  /** @param {Event} event */
  const showTools = (event) => {
    const target = lineAt(event);
    if (target && (target.dataset.key !== active || !target.contains(toolbar))) activate(target, false);
  };
  holder.addEventListener("focusin", showTools);
  // Lines that move under a resting pointer cause "pointerover", too: they do not take the toolbar from the keyboard.
  let pointer = "";
  const position = (/** @type {PointerEvent} */ { screenX, screenY }) => `${screenX} ${screenY}`;
  scroller.addEventListener("pointermove", (event) => (pointer = position(event)), { passive: true });
  holder.addEventListener("pointerover", (event) => {
    if (position(event) !== pointer || !toolbar.querySelector(":focus-visible")) showTools(event);
  });
  holder.addEventListener("keydown", (event) => {
    const target = lineAt(event);
    if (!target || event.target !== target) return;
    const next = event.key === "ArrowDown" ? target.nextElementSibling : event.key === "ArrowUp" ? target.previousElementSibling : null;
    if (!(next instanceof HTMLElement)) return;
    event.preventDefault();
    activate(next, true);
    next.scrollIntoView({ block: "nearest" });
  });
  // The window changes, and lines grow: pictures when they are there, texts that are unfolded.
  const sizes = new ResizeObserver(() => whenReleased(() => {
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
  }));
  sizes.observe(scroller);
  sizes.observe(holder);

  rebuild();
  return {
    node,
    patch,
    toEnd,
    atEnd: () => atEnd,
    focusLast: () => {
      const target = holder.lastElementChild;
      if (target instanceof HTMLElement) activate(target, true);
    },
  };
}

/** @param {Line} before  @param {Line} line  @returns {boolean} the same person goes on soon after */
const goesOn = (before, line) =>
  before.kind !== "system" && line.kind !== "system" && before.author?.id === line.author?.id && before.mine === line.mine && before.to === line.to &&
  line.at - before.at < FOLLOWS_MS && !before.deleted;

