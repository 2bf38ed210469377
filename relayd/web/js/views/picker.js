/** The emoji picker. */

import { fill, h } from "../lib/dom.js";
import { ALL, QUICK } from "../lib/emoji.js";
import { t } from "../lib/i18n.js";
import { moveFocus, openBeside } from "./menu.js";

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
