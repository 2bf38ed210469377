/** Menus: popovers of the browser beside the button that opened them. */

import { h, icon } from "../lib/dom.js";

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
export function openBeside(anchor, panel) {
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
export function moveFocus(event, columns) {
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
