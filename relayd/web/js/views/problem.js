/** What went wrong, in words that say what to do. */

import { h, icon } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";

/** Codes of the protocol and of the page, and what a person is told; others show what the server says. */
const WORDS = new Map(Object.entries({
  bad_chunk: "problem.file_broken",
  blocked: "problem.blocked",
  cannot_rekey: "problem.cannot_rekey",
  closed: "problem.room_closed",
  create_key_needed: "problem.create_key_needed",
  create_key_wrong: "problem.create_key_wrong",
  create_nobody: "problem.create_nobody",
  draining: "problem.busy",
  downgrade: "problem.downgrade",
  file_broken: "problem.file_broken",
  file_changed: "problem.file_changed",
  file_gone: "problem.file_gone",
  file_too_large: "problem.file_too_large",
  files_off: "problem.files_off",
  forbidden: "problem.wrong_secret",
  idle: "problem.idle",
  denied: "problem.denied",
  kicked: "problem.kicked",
  left: "problem.left",
  link_incomplete: "problem.link_incomplete",
  link_wrong: "problem.link_wrong",
  locked: "problem.locked",
  muted: "problem.muted",
  name_reserved: "problem.name_reserved",
  name_taken: "problem.name_taken",
  no_card: "problem.no_card",
  no_commands: "problem.no_commands",
  no_places: "problem.busy",
  no_such_file: "problem.file_gone",
  no_such_room: "problem.no_such_room",
  no_such_user: "problem.no_such_user",
  no_webcrypto: "problem.no_webcrypto",
  not_connected: "problem.not_connected",
  nothing_to_edit: "problem.nothing_to_edit",
  offline: "problem.offline",
  old_browser: "problem.old_browser",
  overloaded: "problem.busy",
  password_needed: "problem.password_needed",
  password_unfit: "problem.password_unfit",
  rate_limited: "problem.rate_limited",
  rekey_refused: "problem.rekey_refused",
  restarting: "problem.restarting",
  room_closed: "problem.room_closed",
  room_full: "problem.room_full",
  rooms_frozen: "problem.rooms_frozen",
  server_away: "problem.server_away",
  server_wrong: "problem.server_wrong",
  slow_consumer: "problem.slow",
  storage_full: "problem.storage_full",
  too_large: "problem.too_long",
  too_long: "problem.too_long",
  too_many_connections: "problem.too_many_connections",
  too_many_files: "problem.too_many_files",
  unconfirmed: "problem.unconfirmed",
  unknown_suite: "problem.unknown_suite",
  wrong_password: "problem.wrong_password",
  wrong_secret: "problem.wrong_secret",
}));

/** How a room ended, by the reason that the server gives. */
const ENDINGS = new Map(Object.entries({
  empty: "ended.empty",
  expired: "ended.expired",
  shutdown: "ended.shutdown",
  terminated: "ended.terminated",
}));

/**
 * @param {unknown} problem  what was thrown
 * @param {string} [ending]  `closedBecause` of a room
 * @returns {string}
 */
export function inWords(problem, ending = "") {
  const { code, detail, retryAfterMs } = /** @type {Partial<ProblemShape>} */ (problem ?? {});
  const told = ENDINGS.get(ending) ?? WORDS.get(code ?? "");
  const text = told ? t(told) : t("problem.other", { detail: detail || code || String(problem) });
  return retryAfterMs ? `${text} ${t("problem.again_in", { time: duration(retryAfterMs / 1000) })}` : text;
}

/** Problems after which the same link may work again when the person tries once more. */
const AGAIN = new Set(["room_full", "locked", "server_away", "offline", "kicked", "denied", "left", "no_places", "overloaded", "draining", "rate_limited", "restarting", "rooms_frozen", "server_wrong"]);

/**
 * A whole page, or the foot of a chat, that says why it ends here and what can be done.
 * @param {ProblemShape} problem
 * @param {string} ending
 * @param {{again?: () => void, home?: () => void, more?: Node | null}} ways
 */
export function problemCard(problem, ending, { again, home, more = null }) {
  return h(
    "section",
    { class: "card problem", role: "alert" },
    icon(problem.code === "left" ? "leave" : problem.code === "room_closed" ? "clock" : "warn"),
    h("p", null, inWords(problem, ending)),
    h(
      "div",
      { class: "actions" },
      more,
      again && AGAIN.has(problem.code) && h("button", { type: "button", onclick: again }, t("again")),
      home && h("button", { type: "button", class: "primary", onclick: home }, t("home")),
    ),
  );
}

/**
 * Runs what may be refused; tells the person why it was.
 * @param {() => Promise<unknown> | unknown} work
 * @param {(text: string) => void} tell
 * @returns {Promise<boolean>} whether it went well
 */
export async function attempt(work, tell) {
  try {
    await work();
    return true;
  } catch (problem) {
    tell(inWords(problem));
    return false;
  }
}
