/** Short notes at the edge of the screen, and what a screen reader is told. */

import { h } from "../lib/dom.js";

const SHOWN_MS = 6_000;

/** @param {string} text  @param {"info" | "bad"} [kind] */
export function toast(text, kind = "info") {
  const shelf = /** @type {HTMLElement} */ (document.getElementById("toasts"));
  const note = h("p", { class: `toast ${kind}`, role: kind === "bad" ? "alert" : "status", dir: "auto" }, text);
  // A modal dialog is above everything else, the shelf too: so the note goes into it.
  (document.querySelector("dialog[open]") ?? shelf).append(note);
  setTimeout(() => note.remove(), SHOWN_MS);
}

/** @param {string} text  read out, not shown */
export function announce(text) {
  const region = /** @type {HTMLElement} */ (document.getElementById("live"));
  region.append(h("p", null, text.slice(0, 500)));
  while (region.childElementCount > 5) region.firstChild?.remove();
}
