/** The room's invites: links of which each can be limited and revoked by itself. */

import { field, fill, h } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { openDialog } from "./dialog.js";
import { attempt } from "./problem.js";
import { copyableLink } from "./share.js";

const LIFETIMES_S = [900, 3600, 14_400, 43_200];

/** @param {Room} room */
export function openInvites(room) {
  const list = h("ul", { class: "invites" });
  const refused = h("p", { class: "bad", role: "alert" });
  const label = h("input", { type: "text", maxLength: 64 });
  const uses = h("input", { type: "number", min: "1", max: "1000", placeholder: t("invites.unlimited") });
  const expires = h("select", null, h("option", { value: "" }, t("invites.with_room")), LIFETIMES_S.map((seconds) => h("option", { value: seconds }, duration(seconds))));
  const made = h("div", { class: "made", hidden: true });
  /** @param {string} text */
  const tell = (text) => {
    refused.textContent = text;
  };

  /** @param {Invitation} invite */
  const row = (invite) => {
    const name = invite.label || invite.id;
    const left = invite.uses === null ? t("invites.unlimited") : t("invites.uses_left", { n: invite.usesLeft ?? 0, uses: invite.uses });
    const until = invite.expiresAt === null ? "" : t("ends_in", { time: duration((invite.expiresAt - Date.now()) / 1000) });
    const revoke = async () => {
      if (await attempt(() => room.moderation.revokeInvite(invite.id), tell)) draw();
    };
    return h(
      "li",
      null,
      h("span", { class: "name", dir: "auto" }, name),
      h("span", { class: "hint" }, [left, until].filter(Boolean).join(" · ")),
      h("button", { type: "button", class: "small danger", "aria-label": t("invites.revoke_this", { name }), onclick: revoke }, t("invites.revoke")),
    );
  };

  const draw = () => attempt(async () => {
    const invites = await room.moderation.invites();
    fill(list, invites.length ? invites.map(row) : [h("li", { class: "hint" }, t("invites.none"))]);
  }, tell);

  const create = async (/** @type {Event} */ event) => {
    event.preventDefault();
    tell("");
    await attempt(async () => {
      const link = await room.moderation.createInvite({
        uses: uses.value ? Number(uses.value) : null,
        expires: expires.value ? Number(expires.value) : null,
        label: label.value.trim(),
      });
      const { shown, button } = copyableLink(link);
      made.hidden = false;
      fill(made, shown, button);
      shown.focus();
      await draw();
    }, tell);
  };

  openDialog(
    t("invites.title"),
    h("p", { class: "hint" }, t("invites.text")),
    list,
    h("hr"),
    h("form", { onsubmit: create }, field(t("invites.label"), label), field(t("invites.uses"), uses), field(t("invites.expires"), expires), refused, h("div", { class: "actions" }, h("button", { class: "primary" }, t("invites.create")))),
    made,
  );
  draw();
}
