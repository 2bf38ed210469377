/** Elements without HTML strings: nothing that people write can become markup. */

import { PATHS } from "./icons.js";

/** @typedef {Node | string | number | null | undefined | false} Child */

/**
 * An element with properties and children.
 * `onclick` and the like are listeners, `class` and whatever has a dash are attributes, the rest are properties of the
 * element; null, undefined and false leave out.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {Record<string, any> | null} [props]
 * @param {...(Child | Child[])} children
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function h(tag, props, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) setHandler(made, name.slice(2), value);
    else if (name in made && name !== "list") Reflect.set(made, name, value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  fill(made, ...children);
  return made;
}

/** @typedef {Record<string, ((event: any) => void) | undefined>} Handlers  by kind of event */

/** @type {WeakMap<Element, Handlers>} event handlers, so that patch.js can replace them */
const handlers = new WeakMap();

/** @param {Element} element  @returns {Readonly<Handlers>} */
export const handlersOf = (element) => handlers.get(element) ?? {};

/**
 * Sets the one handler that an element has for a kind of event.
 * @param {Element} element
 * @param {string} kind
 * @param {((event: any) => void) | undefined} handler
 */
export function setHandler(element, kind, handler) {
  const known = handlersOf(element);
  if (!(kind in known)) element.addEventListener(kind, (event) => handlersOf(element)[kind]?.(event));
  handlers.set(element, { ...known, [kind]: handler });
}

/** @param {(Child | Child[])[]} children  @returns {ChildNode[]} */
export const toNodes = (children) =>
  children.flat().filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => /** @type {ChildNode} */ (child instanceof Node ? child : new Text(String(child))));

/**
 * Puts children in place of those that are there.
 * @template {Element} Parent
 * @param {Parent} parent
 * @param {...(Child | Child[])} children
 * @returns {Parent}
 */
export function fill(parent, ...children) {
  parent.replaceChildren(...toNodes(children));
  return parent;
}

/**
 * A line drawing from `icons.js`, hidden from screen readers: what it means is said beside it.
 * @param {keyof typeof PATHS} name
 * @returns {SVGSVGElement}
 */
export function icon(name) {
  const drawn = svg("svg", { viewBox: "0 0 24 24", "aria-hidden": "true", class: "icon" });
  drawn.append(svg("path", { d: PATHS[name] }));
  return /** @type {SVGSVGElement} */ (drawn);
}

/**
 * @param {string} tag
 * @param {Record<string, string>} attributes
 * @returns {SVGElement}
 */
export function svg(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/**
 * A button with a picture and no words on it: its label is what a screen reader says and a pointer shows.
 * @param {keyof typeof PATHS} name
 * @param {string} label
 * @param {(event: MouseEvent) => void} onclick
 * @param {Record<string, any>} [props]
 */
export function iconButton(name, label, onclick, props = {}) {
  return h("button", { type: "button", title: label, "aria-label": label, "data-key": name, onclick, ...props, class: `round ${props.class ?? ""}` }, icon(name));
}

let last = 0;

/** @returns {string} an id for an element, to be named by a label */
export const freshId = () => `i${++last}`;

/**
 * A labelled field, with a hint below it.
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint]
 */
export function field(label, control, hint) {
  control.id ||= freshId();
  const told = hint ? h("p", { class: "hint", id: freshId() }, hint) : null;
  if (told) control.setAttribute("aria-describedby", told.id);
  return h("div", { class: "field" }, h("label", { htmlFor: control.id }, label), control, told);
}

/**
 * Copies the state of the fields of one form into another of the same structure, e.g. the same form in another language.
 * @param {Element} from
 * @param {Element} to
 */
export function copyFields(from, to) {
  const FIELDS = "input, select, textarea, details";
  const before = from.querySelectorAll(FIELDS);
  for (const [index, field] of to.querySelectorAll(FIELDS).entries()) {
    const old = before[index];
    if (field instanceof HTMLDetailsElement && old instanceof HTMLDetailsElement) field.open = old.open;
    else if (field instanceof HTMLInputElement && old instanceof HTMLInputElement) Object.assign(field, { checked: old.checked, value: old.value });
    else if ("value" in field && "value" in old) field.value = old.value;
    field.dispatchEvent(new Event("change"));
  }
}

/**
 * Text into the clipboard, also where the page has no right to write there (plain http).
 * @param {string} text
 * @returns {Promise<boolean>} whether it is there
 */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = h("textarea", { value: text, class: "unseen" });
    (document.querySelector("dialog[open]") ?? document.body).append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    return done;
  }
}
