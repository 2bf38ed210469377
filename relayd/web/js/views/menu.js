/** Menus and the emoji picker: popovers of the browser beside the button that opened them. */

import { fill, h, icon } from "../lib/dom.js";
import { ALL, QUICK } from "../lib/emoji.js";
import { t } from "../lib/i18n.js";

/**
 * @typedef {object} Item
 * @property {string} label
 * @property {Parameters<typeof icon>[0]} icon
 * @property {() => void} run
 * @property {boolean} [danger]
 */

const GAP = 6; // pixels between button and menu, and to the edge of the window

/**
 * @param {Element} anchor
 * @param {HTMLElement} panel  shown as a popover, removed when it closes
 */
function openBeside(anchor, panel) {
  panel.popover = "auto";
  (anchor.closest("dialog, aside, main, header") ?? document.body).append(panel);
  panel.addEventListener("toggle", (event) => {
    if (/** @type {ToggleEvent} */ (event).newState === "open") return;
    if (panel.contains(document.activeElement) && anchor instanceof HTMLElement) anchor.focus();
    anchor.removeAttribute("aria-expanded");
    panel.remove();
  });
  panel.showPopover();
  anchor.setAttribute("aria-expanded", "true");
  const at = anchor.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = panel;
  const below = at.bottom + GAP + height <= innerHeight || at.top < height + GAP;
  const top = below ? Math.min(at.bottom + GAP, innerHeight - height - GAP) : at.top - height - GAP;
  panel.style.top = `${Math.max(GAP, top)}px`;
  panel.style.left = `${Math.max(GAP, Math.min(at.right - width, innerWidth - width - GAP))}px`;
}

/** @param {KeyboardEvent} event  @param {number} columns */
function moveFocus(event, columns) {
  const steps = /** @type {Record<string, number>} */ ({ ArrowDown: columns, ArrowUp: -columns, ArrowRight: 1, ArrowLeft: -1 });
  const step = steps[event.key];
  if (!step || event.target instanceof HTMLInputElement) return;
  const buttons = [.../** @type {HTMLElement} */ (event.currentTarget).querySelectorAll("button")];
  const at = buttons.indexOf(/** @type {HTMLButtonElement} */ (document.activeElement));
  buttons[(at + step + buttons.length) % buttons.length]?.focus();
  event.preventDefault();
}

/** @param {Element} anchor  @param {string} label  @param {(Item | null | undefined | false)[]} items */
export function openMenu(anchor, label, items) {
  const panel = h("div", { class: "menu", role: "menu", "aria-label": label, onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, 1) });
  for (const item of items) {
    if (!item) continue;
    const run = () => {
      panel.hidePopover();
      item.run();
    };
    panel.append(h("button", { type: "button", role: "menuitem", class: item.danger ? "danger" : "", onclick: run }, icon(item.icon), item.label));
  }
  openBeside(anchor, panel);
  panel.querySelector("button")?.focus();
}

/** @param {Element} anchor  @param {(emoji: string) => void} pick */
export function openPicker(anchor, pick) {
  /** @param {[string, string]} entry */
  const button = ([emoji, name]) => h("button", { type: "button", title: `:${name}:`, "aria-label": name.replace(/_/g, " "), onclick: () => {
    panel.hidePopover();
    pick(emoji);
  } }, emoji);
  const names = new Map(ALL);
  const quick = h("div", { class: "grid" }, QUICK.map((emoji) => button([emoji, names.get(emoji) ?? emoji])));
  const all = h("div", { class: "grid all" }, ALL.map(button));
  const search = h("input", { type: "search", placeholder: t("emoji.search"), "aria-label": t("emoji.search"), oninput: () => {
    const wanted = search.value.trim().toLowerCase().replace(/[\s:]+/g, "_").replace(/^_|_$/g, "");
    quick.hidden = wanted !== "";
    fill(all, ALL.filter(([, name]) => name.includes(wanted)).map(button));
  } });
  const panel = h("div", { class: "picker", role: "dialog", "aria-label": t("emoji.pick"), onkeydown: (/** @type {KeyboardEvent} */ event) => moveFocus(event, 1) }, quick, search, all);
  openBeside(anchor, panel);
  panel.querySelector("button")?.focus();
}
