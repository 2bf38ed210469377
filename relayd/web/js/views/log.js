/**
 * The chat's lines. Only a window of them is in the document: at its end as a rule, moved upwards as somebody reads
 * back; so ten thousand lines cost no more than a few hundred.
 */

import { h, icon } from "../lib/dom.js";
import { day } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { patch as patchNode, patchChildren } from "../lib/patch.js";
import { initial, nameOf } from "../lib/text.js";
import { LineWindow } from "./line-window.js";
import { lineView } from "./message.js";

const NEAR_PX = 80; // so near to the end one is at the end
const EDGE_PX = 200; // so near to an edge of the window more lines are added
const READERS = 100; // whose marks are shown: in a crowd they tell nothing any more
const FOLLOWS_MS = 5 * 60_000;

/**
 * @param {Room} room
 * @param {Omit<Deeds, "room" | "show">} deeds
 * @param {{tools: (line: Line) => Node[], head: Node, whenReleased?: (work: () => void) => void}} parts  `tools`: buttons
 *     for a line that has focus or pointer
 */
export function logView(room, deeds, { tools, head, whenReleased = (work) => work() }) {
  const holder = h("div", { class: "lines" });
  const earlier = h("button", { type: "button", class: "earlier", onclick: () => readBack() }, t("log.earlier"));
  const unreadCount = h("span");
  const jump = h("button", { type: "button", class: "jump", "aria-label": t("log.jump"), onclick: () => toEnd(), hidden: true }, icon("down"), unreadCount);
  const scroller = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": t("log.label"), tabIndex: -1 }, h("div", { class: "column" }, head, earlier, holder));
  const node = h("section", { class: "log-place" }, scroller, jump);
  const toolbar = h("div", { class: "tools", role: "toolbar", "aria-label": t("log.tools"), "data-unmanaged": "" });

  let atEnd = true;
  let isScheduled = false;
  /** @type {string} */
  let active = "";
  /** @type {HTMLElement | null} */
  let tabStop = null;

  const all = { ...deeds, room, show };

  /** @param {Line} line  @param {Line | undefined} before  @returns {HTMLElement} */
  const draw = (line, before) => {
    const follows = before !== undefined && goesOn(before, line);
    const made = lineView(line, all, follows);
    if (!before || new Date(before.at).toDateString() !== new Date(line.at).toDateString()) made.dataset.day = day(line.at);
    return made;
  };

  /** Updates a line in place.
   * @param {HTMLElement} node  @param {Line} line  @param {Line | undefined} before
   */
  const redraw = (node, line, before) => {
    const hadFocus = node.contains(document.activeElement);
    patchNode(node, draw(line, before));
    if (node === tabStop) node.tabIndex = 0;
    if (line.key === active) drawTools(node, line);
    if (hadFocus && !node.contains(document.activeElement)) node.focus({ preventScroll: true }); // the focused part was removed
  };

  const shown = new LineWindow(holder, draw, redraw);

  /** Draws what fits into a frame, and the rest in the next ones. */
  const advance = () => {
    const isMore = shown.advance(atEnd);
    if (isMore && !isScheduled) {
      isScheduled = true;
      requestAnimationFrame(() => whenReleased(() => {
        isScheduled = false;
        advance();
      }));
    }
    earlier.hidden = shown.first === 0;
    if (atEnd) scroller.scrollTop = scroller.scrollHeight;
    seen();
  };

  /** @param {Changes} changes */
  const patch = (changes) => {
    if (changes.placed.length || changes.changed.size || changes.removed.length) {
      shown.take(room.state.lines, changes);
      advance();
    } else if (changes.kinds.has("reads")) seen();
    unreadCount.textContent = room.state.unread ? String(Math.min(room.state.unread, 999)) : "";
  };

  /** Adds lines at an edge of the window, while what is in view stays where it is.
   * @param {Element | null} anchor  the line at that edge  @param {() => void} add
   */
  const extend = (anchor, add) => {
    const top = anchor?.getBoundingClientRect().top ?? 0;
    add();
    scroller.scrollTop += (anchor?.getBoundingClientRect().top ?? 0) - top;
    look();
    advance();
  };
  const readBack = () => extend(holder.firstElementChild, () => shown.readBack());
  const readOn = () => extend(holder.lastElementChild, () => shown.readOn());
  /** The Tab key reaches one line: the one last looked at, else the newest; arrows go on from there. */
  const stopAt = (/** @type {Element | null | undefined} */ target) => {
    if (target === tabStop || !(target instanceof HTMLElement)) return;
    if (tabStop) tabStop.tabIndex = -1;
    tabStop = target;
    tabStop.tabIndex = 0;
  };

  /** Discs of those who have read up to a line, at that line. */
  const seen = () => {
    stopAt(shown.nodes.get(active) ?? holder.lastElementChild);
    for (const old of holder.querySelectorAll(".seen")) old.remove();
    const waiting = new Map([...room.state.reads].filter(([id]) => id !== room.state.me).slice(0, READERS));
    for (let index = shown.end - 1; index >= shown.first && waiting.size; index--) {
      const { seq, key } = shown.lines[index];
      if (seq === null) continue;
      const here = [...waiting].filter(([, read]) => read >= seq).map(([id]) => id);
      for (const id of here) waiting.delete(id);
      const users = here.map((id) => room.state.users.get(id)).filter((user) => user !== undefined);
      if (users.length) shown.nodes.get(key)?.append(seenBy(users));
    }
  };

  /** @param {User[]} users */
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
    if (!shown.hasNewest) shown.showNewest();
    atEnd = true;
    advance();
  };

  const look = () => {
    const isNear = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < NEAR_PX;
    atEnd = isNear && (atEnd || shown.hasNewest); // what comes may not be drawn yet
    jump.hidden = atEnd;
  };

  /** @param {string} key */
  function show(key) {
    const target = shown.showAround(key);
    if (!target) return;
    target.scrollIntoView({ block: "center" });
    look();
    activate(target, true);
    target.classList.add("found");
    setTimeout(() => target.classList.remove("found"), 1_500);
  }

  scroller.addEventListener("scroll", () => {
    look();
    const below = scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight;
    if (atEnd && !shown.hasNewest) return;
    if (scroller.scrollTop < EDGE_PX && shown.first > 0) readBack();
    else if (below < EDGE_PX && !shown.hasNewest) readOn();
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
  // Lines, and the toolbar itself, that move at a resting pointer cause "pointerover", too: that does not take the
  // toolbar from a line that has the focus.
  let pointer = "";
  const position = (/** @type {PointerEvent} */ { screenX, screenY }) => `${screenX} ${screenY}`;
  scroller.addEventListener("pointermove", (event) => (pointer = position(event)), { passive: true });
  holder.addEventListener("pointerover", (event) => {
    if (position(event) !== pointer || !holder.contains(document.activeElement)) showTools(event);
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

  shown.take(room.state.lines, { removed: [], placed: [], changed: new Set() });
  toEnd();
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

