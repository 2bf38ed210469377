/** Before a room: who one wants to be, the password if there is one; or why there is no way in. */

import { field, fill, h, icon } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { freshNick } from "../lib/nicknames.js";
import { prefer, preferences } from "../lib/preferences.js";
import { inWords, problemCard } from "./problem.js";

/** @returns {HTMLElement} a page that says to wait */
export const waitingView = () => h("main", { class: "page middle-page" }, h("p", { class: "waiting", role: "status" }, h("span", { class: "spinner" }), t("join.waiting")));

/**
 * A link that does not lead into a room, and why.
 * @param {ProblemShape} problem
 * @param {{home: () => void, again: () => void}} ways
 */
export const closedDoorView = (problem, { home, again }) =>
  h("main", { class: "page middle-page" }, h("h1", { class: "unseen" }, "relayd"), problemCard(problem, "", { home, again }));

/**
 * @param {Door} door
 * @param {(nick: string, password: string, onWaiting: () => void) => Promise<void>} join
 * @returns {HTMLElement}
 */
export function joinView(door, join) {
  const nick = h("input", { type: "text", maxLength: 64, required: true, autocomplete: "nickname", value: preferences.nick || freshNick() });
  const password = h("input", { type: "password", required: true, autocomplete: "off", maxLength: 1024 });
  const shown = h("input", { type: "checkbox", onchange: () => {
    password.type = shown.checked ? "text" : "password";
  } });
  const refused = h("p", { class: "bad", role: "alert" });
  const button = h("button", { class: "primary large", "aria-live": "polite" }, t("join.join"));
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    const wanted = nick.value.trim();
    if (!wanted) return;
    prefer({ nick: wanted });
    button.disabled = true;
    fill(button, h("span", { class: "spinner" }), t("join.joining"));
    refused.textContent = "";
    try {
      await join(wanted, door.passwordNeeded ? password.value : "", () => fill(button, h("span", { class: "spinner" }), t("join.knocking")));
    } catch (problem) {
      refused.textContent = inWords(problem);
      button.disabled = false;
      fill(button, t("join.join"));
      if (door.passwordNeeded) password.select();
    }
  };
  return h(
    "main",
    { class: "page middle-page" },
    h(
      "form",
      { class: "card join", onsubmit: submit },
      h("p", { class: "eyebrow" }, t("join.invited")),
      h("h1", { dir: "auto" }, door.name),
      h(
        "p",
        { class: "about" },
        h("span", { class: door.sealed ? "sealed" : "open" }, icon(door.sealed ? "lock" : "unlock"), t(door.sealed ? "sealed" : "open")),
        h("span", null, icon("people"), t("people.count", { n: door.users })),
        h("span", null, icon("clock"), t("ends_in", { time: duration((door.endsAt - Date.now()) / 1000) })),
      ),
      field(t("nick"), nick),
      door.passwordNeeded && field(t("password"), password),
      door.passwordNeeded && h("label", { class: "check" }, shown, t("join.show_password")),
      refused,
      button,
      h("p", { class: "hint" }, t(door.sealed ? "sealed_hint" : "open_hint")),
    ),
  );
}
