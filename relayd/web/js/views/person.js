/** What can be done about a person, from their row or from a message of theirs. */

import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { nameOf } from "../lib/text.js";
import { ask } from "./dialog.js";
import { later } from "./later.js";
import { openMenu } from "./menu.js";
import { attempt } from "./problem.js";
import { toast } from "./toasts.js";

/** @param {string} text */
const tell = (text) => toast(text, "bad");

/** @param {Element} anchor  @param {Room} room  @param {User} user  @param {(user: User) => void} onDirect */
export function openPerson(anchor, room, user, onDirect) {
  const here = room.state.users.get(user.id);
  const { role } = room.state;
  const owns = role === "owner" && !user.me;
  const isModerator = here?.role === "moderator";
  const governs = owns || (role === "moderator" && !user.me && (here ?? user).role === "member");
  const items = [
    !user.me && here && { label: t("people.direct"), icon: /** @type {const} */ ("reply"), run: () => onDirect(here) },
    room.state.sealed && here && { label: t("people.safety"), icon: /** @type {const} */ ("shield"), run: () => later(import("./safety.js"), ({ openPersonSafety }) => openPersonSafety(room, here)) },
    owns && here && { label: t(isModerator ? "people.demote" : "people.promote"), icon: /** @type {const} */ ("key"), run: () => promote(room, here) },
    governs && here && { label: t(here.muted ? "people.unmute" : "people.mute"), icon: /** @type {const} */ ("mute"), run: () => attempt(() => room.moderation.mute(user.id, !here.muted), tell) },
    governs && here && { label: t("people.kick"), icon: /** @type {const} */ ("leave"), danger: true, run: () => remove(room, here) },
    governs && !here && { label: t("people.ban"), icon: /** @type {const} */ ("leave"), danger: true, run: () => ban(room, user) },
  ].filter(Boolean);
  if (items.length) openMenu(anchor, nameOf(user.nick), items);
  else toast(t("problem.no_such_user"));
}

/** Makes a member a moderator, after asking, or a moderator a member.
 * @param {Room} room  @param {User} user
 */
async function promote(room, user) {
  const on = user.role === "member";
  const sure = !on || (await ask(t("people.promote_title", { nick: nameOf(user.nick) }), t("people.promote_ask"), t("people.promote"), null, true));
  if (sure) await attempt(() => room.moderation.promote(user.id, on), tell);
}

/** Removes somebody who is here, after asking.
 * @param {Room} room  @param {User} user
 */
async function remove(room, user) {
  const nick = nameOf(user.nick);
  const box = h("input", { type: "checkbox" });
  const { sealed, canRekey } = room.state;
  const text = t(!sealed ? "people.kick_ask" : canRekey ? "people.kick_ask_rekey" : "people.kick_ask_no_rekey", { nick });
  const more = h("label", { class: "check" }, box, t("people.ban"));
  if (await ask(t("people.kick_title", { nick }), text, t("people.kick"), more)) await attempt(() => room.moderation.kick(user.id, box.checked), tell);
}

/** Bans somebody who has left, after asking.
 * @param {Room} room  @param {User} user
 */
async function ban(room, user) {
  const text = t(room.state.canRekey ? "people.ban_ask_rekey" : "people.ban_ask", { nick: nameOf(user.nick) });
  if (!(await ask(t("people.ban"), text, t("people.ban")))) return;
  if (await attempt(() => room.moderation.kick(user.id, true), tell)) toast(t("owner.saved"));
}
