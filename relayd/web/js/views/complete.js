/** Suggestions while one types: `@` names who is here, `:` an emoji. For a screen reader it is a text field with a list of
 * its own: what is chosen there is told by `aria-activedescendant`. */

import { fill, freshId, h } from "../lib/dom.js";
import { suggest, withEmoji } from "../lib/emoji.js";
import { t } from "../lib/i18n.js";
import { nameOf } from "../lib/text.js";

const MOST = 6;

/** @typedef {{shown: string, inserted: string}} Choice */

/**
 * @param {HTMLTextAreaElement} input
 * @param {() => string[]} names  of those who are here
 */
export function completion(input, names) {
  const list = h("ul", { class: "suggestions", role: "listbox", id: freshId(), "aria-label": t("composer.suggestions"), hidden: true });
  input.setAttribute("aria-controls", list.id);
  input.setAttribute("aria-autocomplete", "list");
  /** @type {Choice[]} */
  let choices = [];
  let chosen = 0;
  let from = 0;

  /** @returns {Choice[]} */
  const find = () => {
    const before = input.value.slice(0, input.selectionStart);
    const match = before.slice(-80).match(/(?:^|[\s(])([@:])([^\s@:]*)$/);
    if (!match || input.selectionStart !== input.selectionEnd) return [];
    const [, mark, start] = match;
    from = before.length - start.length - 1;
    const wanted = start.toLowerCase();
    if (mark === ":") return wanted.length < 2 ? [] : suggest(wanted).map(([name, emoji]) => ({ shown: `${emoji} :${name}:`, inserted: `${emoji} ` }));
    return names().filter((name) => name.toLowerCase().startsWith(wanted)).map((name) => ({ shown: nameOf(name), inserted: `@${name} ` }));
  };

  const draw = () => {
    list.hidden = choices.length === 0;
    fill(list, choices.map(({ shown }, index) =>
      h("li", { role: "option", id: `${list.id}-${index}`, "aria-selected": String(index === chosen), onpointerdown: (/** @type {Event} */ event) => {
        event.preventDefault();
        take(index);
      } }, h("bdi", null, shown)),
    ));
    if (list.hidden) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", `${list.id}-${chosen}`);
  };

  const update = () => {
    choices = find().slice(0, MOST);
    chosen = 0;
    draw();
  };

  const close = () => {
    choices = [];
    draw();
  };

  /** @param {number} index */
  const take = (index) => {
    input.setRangeText(choices[index].inserted, from, input.selectionStart, "end");
    close();
    input.dispatchEvent(new Event("input", { bubbles: true }));
  };

  /**
   * @param {KeyboardEvent} event
   * @returns {boolean} whether the key was for the list
   */
  const key = (event) => {
    if (!choices.length) return false;
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step) {
      chosen = (chosen + step + choices.length) % choices.length;
      draw();
    } else if (event.key === "Enter" || event.key === "Tab") take(chosen);
    else if (event.key === "Escape") close();
    else return false;
    event.preventDefault();
    return true;
  };

  input.addEventListener("blur", close);
  return { node: list, update, key, withEmoji };
}
