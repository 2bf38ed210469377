/** Updates elements in place, so that what stays keeps focus, selection, a key being pressed and an open menu. */

import { handlersOf, setHandler, toNodes } from "./dom.js";

/** @typedef {import("./dom.js").Child} Child */

/**
 * Gives an element the attributes, event handlers and children of another one made by the same code, and uses that up.
 * @param {HTMLElement | SVGElement} old
 * @param {HTMLElement | SVGElement} fresh
 */
export function patch(old, fresh) {
  for (const { name } of [...old.attributes]) {
    // menu.js sets it on the button that opened a menu.
    if (!fresh.hasAttribute(name) && name !== "aria-expanded") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) === value) continue;
    // The content security policy forbids style attributes.
    if (name === "style") old.style.cssText = fresh.style.cssText;
    else old.setAttribute(name, value);
  }
  const [before, now] = [handlersOf(old), handlersOf(fresh)];
  for (const name of Object.keys({ ...before, ...now })) setHandler(old, name, now[name]);
  patchChildren(old, ...fresh.childNodes);
}

/**
 * Replaces the children of an element as `fill` does, but keeps and patches those that match a new one: same tag, and
 * same `data-key` or else same first class. Children with `data-unmanaged` are ignored.
 * @param {Element} parent
 * @param {...(Child | Child[])} children
 */
export function patchChildren(parent, ...children) {
  let at = nextManaged(parent.firstChild);
  for (const child of toNodes(children)) {
    let match = at;
    while (match && keyOf(match) !== keyOf(child)) match = nextManaged(match.nextSibling);
    if (!match) {
      parent.insertBefore(child, at);
      continue;
    }
    while (at && at !== match) at = removeAndNext(at);
    if (match instanceof Text) {
      if (match.data !== child.textContent) match.data = child.textContent ?? "";
    } else patch(/** @type {HTMLElement} */ (match), /** @type {HTMLElement} */ (child));
    at = nextManaged(match.nextSibling);
  }
  while (at) at = removeAndNext(at);
}

/** @param {ChildNode} node */
function removeAndNext(node) {
  const next = nextManaged(node.nextSibling);
  node.remove();
  return next;
}

/** @param {ChildNode | null} node  @returns {ChildNode | null} the first managed one from there on */
function nextManaged(node) {
  let at = node;
  while (at instanceof HTMLElement && at.dataset.unmanaged !== undefined) at = at.nextSibling;
  return at;
}

/** @param {Node} node */
function keyOf(node) {
  if (!(node instanceof HTMLElement || node instanceof SVGElement)) return node.nodeName;
  return `${node.nodeName} ${node.dataset.key ?? node.classList[0] ?? ""}`;
}
