/** Codes that two people read out to each other, to know that nobody sits between them. */

import { fill, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { nameOf } from "../lib/text.js";
import { openDialog } from "./dialog.js";
import { inWords } from "./problem.js";

/** @param {string[]} words */
const code = (words) => h("ol", { class: "words", lang: "en" }, words.map((word) => h("li", null, word)));

/** @param {string} title  @param {string} hint  @param {() => Promise<string[]>} ask */
function part(title, hint, ask) {
  const place = h("div", { "aria-live": "polite" }, h("p", { class: "hint" }, t("safety.working")));
  ask().then(
    (words) => fill(place, code(words)),
    (problem) => fill(place, h("p", null, inWords(problem))),
  );
  return h("section", null, h("h3", { dir: "auto" }, title), place, h("p", { class: "hint" }, hint));
}

/** @param {Room} room */
export function openSafety(room) {
  openDialog(
    t("safety.title"),
    part(t("safety.room"), t("safety.room_hint"), () => room.safetyCode()),
    part(t("safety.mine"), t("safety.mine_hint"), () => room.personCode(room.state.me)),
  );
}

/** @param {Room} room  @param {User} user */
export function openPersonSafety(room, user) {
  const nick = nameOf(user.nick);
  openDialog(t("safety.title"), part(t("safety.of", { nick }), t("safety.of_hint", { nick }), () => room.personCode(user.id)));
}
