/** The link to hand on: as text, to the clipboard, to another app, as a QR code. */

import { copy, h, icon } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { openDialog } from "./dialog.js";
import { later } from "./later.js";
import { toast } from "./toasts.js";

/** A link as text that is selected by a click, and a button that copies it.
 * @param {string} link
 */
export function copyableLink(link) {
  const shown = h("input", { type: "text", readOnly: true, value: link, "aria-label": t("share.link"), class: "link", dir: "ltr", onfocus: () => shown.select() });
  const copied = async () => toast(t((await copy(link)) ? "share.copied" : "share.select"));
  return { shown, button: h("button", { type: "button", class: "primary", onclick: copied }, icon("copy"), t("share.copy")) };
}

/**
 * Link, buttons and code, for the dialog and for a room that is still empty.
 * @param {Room} room
 * @param {boolean} code  show the QR code at once
 */
export function sharePanel(room, code) {
  const { link, linkIsOld, sealed, details } = room.state;
  const isOwner = room.state.role === "owner";
  if (linkIsOld) return h("p", { class: "hint" }, t(isOwner ? "share.old_mine" : "share.old"));
  const { shown, button } = copyableLink(link);
  const passOn = () => navigator.share({ title: details.name, url: link }).catch(() => undefined);
  const reveal = () => {
    more.remove();
    later(import("../lib/qr.js"), ({ picture }) => shownCode.append(picture(link, t("share.qr"))));
  };
  const more = h("button", { type: "button", onclick: reveal }, t("share.show_qr"));
  const shownCode = h("div", { class: "code-place" });
  if (code) reveal();
  return h(
    "div",
    { class: "share" },
    shown,
    h(
      "div",
      { class: "actions" },
      button,
      "share" in navigator && h("button", { type: "button", onclick: passOn }, icon("share"), t("share.send")),
      !code && more,
    ),
    shownCode,
    h("p", { class: "hint" }, t(details.protected ? "share.hint_password" : sealed ? "share.hint_sealed" : "share.hint_open")),
  );
}

/** @param {Room} room */
export const openShare = (room) => openDialog(t("share.title"), sharePanel(room, true));
