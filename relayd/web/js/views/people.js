/** Who is here. */

import { h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { patchChildren } from "../lib/patch.js";
import { initial, nameOf } from "../lib/text.js";

const SHOWN = 200; // rows at most: past it one searches

/** @param {User} user */
export function disc(user) {
  const made = h("span", { class: "disc", "aria-hidden": "true" }, initial(user.nick));
  made.style.setProperty("--hue", String(user.hue));
  return made;
}

/**
 * The list; `draw` it anew when people change.
 * @param {Room} room  @param {{onPerson: (anchor: Element, user: User) => void, onInvite: () => void, onClose: () => void}} on
 */
export function peopleView(room, { onPerson, onInvite, onClose }) {
  const list = h("ul", { class: "people-list" });
  const title = h("h2", { tabIndex: -1 });
  const search = h("input", { type: "search", placeholder: t("people.search"), "aria-label": t("people.search"), oninput: () => draw() });
  const node = h(
    "aside",
    { class: "people", "aria-label": t("people.title") },
    h("header", null, title, h("button", { type: "button", class: "round only-narrow", "aria-label": t("close"), onclick: onClose }, icon("close"))),
    search,
    list,
    h("button", { type: "button", class: "wide", onclick: onInvite }, icon("share"), t("people.invite")),
  );

  /** @param {User} user */
  const row = (user) => {
    const passive = user.me && !room.state.sealed;
    const state = user.me ? t("people.me") : user.role === "owner" ? t("people.owner") : user.role === "moderator" ? t("people.moderator") : user.away ? t("people.away") : "";
    const open = (/** @type {MouseEvent} */ event) => onPerson(/** @type {Element} */ (event.currentTarget), user);
    const content = [
      disc(user),
      h("span", { class: "name" }, h("bdi", null, nameOf(user.nick)), h("span", { class: "tag" }, `#${user.tag}`)),
      h("span", { class: "state" }, state, user.muted && icon("mute"), user.muted && h("span", { class: "unseen" }, t("people.muted"))),
      room.state.unconfirmed.has(user.id) && h("span", { class: "unconfirmed" }, t("people.unconfirmed")),
    ];
    return h("li", { class: user.away ? "away" : "", "data-key": user.id }, passive ? h("div", { class: "person" }, content) : h("button", { type: "button", class: "person", "aria-haspopup": "menu", onclick: open }, content));
  };

  const draw = () => {
    const { users, userCount } = room.state;
    title.textContent = t("people.count", { n: userCount });
    search.hidden = users.size < 12;
    const wanted = search.value.trim().toLowerCase();
    const fitting = [...users.values()].filter((user) => user.nick.toLowerCase().includes(wanted));
    const more = Math.max(fitting.length - SHOWN, wanted ? 0 : userCount - Math.min(users.size, SHOWN));
    patchChildren(list, fitting.slice(0, SHOWN).map(row), more > 0 && h("li", { class: "hint" }, t("people.more", { n: more })));
  };
  draw();
  return { node, draw, focus: () => title.focus() };
}
