/** What happened in the room, as a sentence. */

import { duration, list } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { nameOf } from "../lib/text.js";

const NAMED = 5; // past so many names a number says more

/** @param {SystemEvent} event  @returns {string} */
function people({ nicks, count }) {
  const names = nicks.slice(0, NAMED).map(nameOf);
  return count > names.length ? t("system.and_more", { names: names.join(", "), n: count - names.length }) : list(names);
}

const UPDATED = /** @type {Record<string, string>} */ ({
  name: "system.updated.name",
  max: "system.updated.max",
  expiration: "system.updated.expiration",
  locked: "system.updated.locked",
  settings: "system.updated.settings",
});

/** @type {Record<SystemEvent["event"], (event: SystemEvent) => string>} */
const SENTENCES = {
  joined: (event) => t("system.joined", { n: event.count, names: people(event) }),
  left: (event) => t("system.left", { n: event.count, names: people(event) }),
  renamed: ({ nicks: [before, after], me }) => t(me ? "system.renamed_me" : "system.renamed", { before: nameOf(before), after: nameOf(after) }),
  muted: ({ nicks: [nick], me }) => t(me ? "system.muted_me" : "system.muted", { nick: nameOf(nick) }),
  unmuted: ({ nicks: [nick], me }) => t(me ? "system.unmuted_me" : "system.unmuted", { nick: nameOf(nick) }),
  promoted: ({ nicks: [nick], me }) => t(me ? "system.promoted_me" : "system.promoted", { nick: nameOf(nick) }),
  demoted: ({ nicks: [nick], me }) => t(me ? "system.demoted_me" : "system.demoted", { nick: nameOf(nick) }),
  updated: ({ what }) => what.map((name) => (UPDATED[name] ? t(UPDATED[name]) : name)).join(" "),
  missed: ({ count }) => (count ? t("system.missed", { n: count }) : t("system.missed_some")),
  rekeyed: () => t("system.rekeyed"),
  users_unconfirmed: (event) => t("system.users_unconfirmed", { n: event.count, names: people(event) }),
  owner_unconfirmed: ({ count }) => t("system.owner_unconfirmed", { n: count }),
  keys_confirmed: () => t("system.keys_confirmed"),
  keys_missed: () => t("system.keys_missed"),
  rekey_refused: () => t("problem.rekey_refused"),
  expiring: ({ count }) => t("system.expiring", { time: duration(count) }),
  announcement: ({ text }) => t("system.announcement", { text }),
  restarting: () => t("problem.restarting"),
  closed: () => t("problem.room_closed"),
};

/** @param {Line} line  @returns {string} */
export const systemText = ({ system }) => (system ? SENTENCES[system.event](system) : "");
