/** The owner's desk: the room's name, size, door and end. */

import { field, h } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { ask, openDialog } from "./dialog.js";
import { later } from "./later.js";
import { attempt } from "./problem.js";
import { toast } from "./toasts.js";

const HOURS = [1, 2, 4, 8, 12, 24];
const SLOW_S = [0, 5, 10, 30, 60, 300, 900, 3600];

/** The intervals to choose from, with the present one. @param {number} seconds */
const slowChoices = (seconds) => [...new Set([...SLOW_S, seconds])].sort((a, b) => a - b);

/** @param {Room} room */
export function openOwner(room) {
  const { details } = room.state;
  const name = h("input", { type: "text", maxLength: 64, required: true, value: details.name });
  const max = h("input", { type: "number", min: "1", max: "10000", required: true, value: String(details.max) });
  const locked = h("input", { type: "checkbox", checked: details.locked });
  const files = h("input", { type: "checkbox", checked: details.settings.files });
  const lobby = h("input", { type: "checkbox", checked: details.settings.lobby });
  const slow = h("select", null, slowChoices(details.settings.slow).map((seconds) => h("option", { value: seconds, selected: seconds === details.settings.slow }, seconds ? duration(seconds) : t("owner.slow_off"))));
  const refused = h("p", { class: "bad", role: "alert" });
  /** @param {string} text */
  const tell = (text) => {
    refused.textContent = text;
  };
  /** @param {() => Promise<unknown>} work  @param {string} done */
  const run = async (work, done) => {
    if (await attempt(work, tell)) {
      dialog.close();
      toast(done);
    }
  };
  const save = (/** @type {Event} */ event) => {
    event.preventDefault();
    const now = room.state.details;
    const changes = {
      ...(name.value.trim() !== now.name && { name: name.value.trim() }),
      ...(Number(max.value) !== now.max && { max: Number(max.value) }),
      ...(locked.checked !== now.locked && { locked: locked.checked }),
    };
    const settings = {
      ...(files.checked !== now.settings.files && { files: files.checked }),
      ...(lobby.checked !== now.settings.lobby && { lobby: lobby.checked }),
      ...(Number(slow.value) !== now.settings.slow && { slow: Number(slow.value) }),
    };
    if (Object.keys(settings).length) Object.assign(changes, { settings });
    if (Object.keys(changes).length) run(() => room.moderation.edit(changes), t("owner.saved"));
    else dialog.close();
  };
  const renew = async () => {
    if (await ask(t("owner.renew"), t("owner.renew_ask"), t("owner.renew"))) run(() => room.moderation.renewInvite(), t("owner.renewed"));
  };
  const invites = () => {
    dialog.close();
    later(import("./invites.js"), ({ openInvites }) => openInvites(room));
  };
  const end = async () => {
    if (await ask(t("owner.end"), t("owner.end_ask"), t("owner.end"))) run(() => room.moderation.close(), t("owner.ended"));
  };
  const left = (room.state.endsAt - Date.now()) / 1000;
  const skewMs = room.state.endsAt - Date.parse(details.expiration_date); // this device's clock may be days off
  const longest = (Date.parse(details.date) + skewMs + 24 * 3_600_000 - Date.now()) / 3_600_000;
  const until = h("select", null, HOURS.filter((hours) => hours < longest).map((hours) => h("option", { value: hours }, duration(hours * 3600))),
    h("option", { value: longest, selected: true }, t("owner.longest")));
  const dialog = openDialog(
    t("owner.title"),
    h(
      "form",
      { onsubmit: save },
      field(t("room_name"), name),
      field(t("max"), max),
      h("label", { class: "check" }, locked, t("owner.lock")),
      h("label", { class: "check" }, files, t("owner.files")),
      h("label", { class: "check" }, lobby, t("owner.lobby")),
      field(t("owner.slow"), slow),
      refused,
      h("div", { class: "actions" }, h("button", { class: "primary" }, t("save"))),
    ),
    h("hr"),
    h(
      "div",
      { class: "inline" },
      field(t("owner.extend", { left: duration(left) }), until),
      h("button", { type: "button", onclick: () => run(() => room.moderation.extend(Number(until.value)), t("owner.extended")) }, t("owner.set")),
    ),
    h(
      "div",
      { class: "actions spread" },
      h("button", { type: "button", onclick: invites }, t("invites.title")),
      h("button", { type: "button", onclick: renew }, t("owner.renew")),
      h("button", { type: "button", class: "danger", onclick: end }, t("owner.end")),
    ),
  );
}
