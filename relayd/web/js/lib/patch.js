/** Changing what is shown in place: what is there before and after keeps focus, selection, a key held down, an open menu. */

import { flat, handlersOf, listen } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * Makes an element look and act like another, which was made by the same code and is used up by this.
 * @param {HTMLElement | SVGElement} old
 * @param {HTMLElement | SVGElement} fresh
 */
export function patch(old, fresh) {
  for (const { name } of [...old.attributes]) {
    // That a menu is open beside it is noted there by the menu.
    if (!fresh.hasAttribute(name) && name !== "aria-expanded") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value) continue;
    // The security policy forbids styles as attributes.
    if (name === "style") old.style.cssText = fresh.style.cssText;
    else old.setAttribute(name, value);
  }
  const [before, now] = [handlersOf(old), handlersOf(fresh)];
  for (const name of Object.keys({ ...before, ...now })) listen(old, name, now[name]);
  patchChildren(old, ...fresh.childNodes);
}

/**
 * Puts children in place of those that are there, as `fill` does; those that are the same part of it stay and are patched.
 * A part is known by its tag and its `data-key`, or else its first class. What has `data-apart` belongs to somebody else.
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function patchChildren(parent, ...children) {
  let at = next(parent.firstChild);
  for (const child of flat(children)) {
    let same = at;
    while (same && partOf(same) !== partOf(child)) same = next(same.nextSibling);
    if (!same) {
      parent.insertBefore(child, at);
      continue;
    }
    while (at && at !== same) at = removed(at);
    if (same instanceof Text) {
      if (same.data !== child.textContent) same.data = child.textContent ?? "";
    } else patch(/** @type {HTMLElement} */ (same), /** @type {HTMLElement} */ (child));
    at = next(same.nextSibling);
  }
  while (at) at = removed(at);
}

/** @param {ChildNode} node  @returns {ChildNode | null} what comes behind it */
function removed(node) {
  const behind = next(node.nextSibling);
  node.remove();
  return behind;
}

/** @param {ChildNode | null} node  @returns {ChildNode | null} the first from there on that belongs to this */
function next(node) {
  let at = node;
  while (at instanceof HTMLElement && at.dataset.apart !== undefined) at = at.nextSibling;
  return at;
}

/** @param {Node} node */
function partOf(node) {
  if (!(node instanceof HTMLElement || node instanceof SVGElement)) return node.nodeName;
  return `${node.nodeName} ${node.dataset.key ?? node.classList[0] ?? ""}`;
}
