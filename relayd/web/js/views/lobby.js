/** Who waits to be let in, for those who may let them in. */

import { fill, h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { patchChildren } from "../lib/patch.js";
import { nameOf } from "../lib/text.js";
import { disc } from "./people.js";
import { attempt } from "./problem.js";
import { announce, toast } from "./toasts.js";

/** @param {string} text */
const tell = (text) => toast(text, "bad");

/**
 * A list above the chat.
 * @param {Element} place  @param {Room} room
 * @returns {() => void} draws it again
 */
export function lobbyView(place, room) {
  const node = h("ul", { class: "lobby", "aria-label": t("lobby.title"), hidden: true });
  /** @type {Set<string>} */
  let shown = new Set();

  /** @param {User} user */
  const row = (user) => {
    const nick = nameOf(user.nick);
    const answer = (/** @type {boolean} */ on) => () => attempt(() => room.moderation.admit(user.id, on), tell);
    return h(
      "li",
      { "data-key": user.id },
      disc(user),
      h("span", { class: "name" }, t("lobby.knocks", { nick })),
      h("button", { type: "button", class: "small primary", "aria-label": t("lobby.admit_who", { nick }), onclick: answer(true) }, t("lobby.admit")),
      h("button", { type: "button", class: "small", "aria-label": t("lobby.deny_who", { nick }), onclick: answer(false) }, t("lobby.deny")),
    );
  };

  const draw = () => {
    const { knocking, role, phase } = room.state;
    const users = role === "member" || phase === "over" ? [] : knocking;
    for (const user of users) if (!shown.has(user.id)) announce(t("lobby.knocks", { nick: nameOf(user.nick) }));
    shown = new Set(users.map(({ id }) => id));
    node.hidden = users.length === 0;
    patchChildren(node, users.map(row));
  };
  fill(place, node);
  draw();
  return draw;
}
