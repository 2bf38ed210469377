/** One line of the chat as an element. A change makes a new element, by which the one in the document is patched. */

import { copy, fill, h, icon } from "../lib/dom.js";
import { moment, time } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { markdown } from "../lib/markdown.js";
import { patch } from "../lib/patch.js";
import { nameOf } from "../lib/text.js";
import { fileView } from "./file.js";
import { disc } from "./people.js";
import { inWords } from "./problem.js";
import { systemText } from "./system.js";
import { toast } from "./toasts.js";

const FOLD_CHARS = 1_500; // longer texts are folded: nobody's screen belongs to one person
const FOLD_LINES = 20;
const MOST_ELEMENTS = 200; // of a text nobody has unfolded
const MOST_UNFOLDED = 1_000;
/** @type {WeakSet<Line>} long texts that the person has unfolded */
const unfolded = new WeakSet();
const ONLY_EMOJI = /^(?:[\p{Extended_Pictographic}\p{Emoji_Modifier}\u200d\ufe0f]|\s){1,16}$/u;

/**
 * @param {Line} line
 * @param {Deeds} deeds
 * @param {boolean} follows  the same person goes on: no name and disc
 * @returns {HTMLElement}
 */
export function lineView(line, deeds, follows) {
  const node = h("article", { class: classes(line, follows), tabIndex: -1 });
  node.dataset.key = line.key;
  if (line.kind === "system") return fill(node, h("p", { dir: "auto" }, systemText(line), " ", clock(line)));
  const { author } = line;
  const nick = author ? nameOf(author.nick) : t("admin");
  if (author) node.style.setProperty("--hue", String(author.hue));
  node.setAttribute("aria-label", `${line.mine ? t("you") : nick}, ${time(line.at)}`);
  const person = (/** @type {MouseEvent} */ event) => author && deeds.person(/** @type {Element} */ (event.currentTarget), author);
  const who = author && !line.mine
    ? h("button", { type: "button", class: "who", tabIndex: -1, "aria-haspopup": "menu", onclick: person }, h("bdi", null, nick), h("span", { class: "tag" }, `#${author.tag}`))
    : h("span", { class: "who" }, nick);
  return fill(
    node,
    !line.mine && author && disc(author),
    h(
      "div",
      { class: "bubble" },
      !follows && !line.mine && who,
      line.to && h("p", { class: "note" }, icon("lock"), line.mine ? t("direct.to", { nick: nameOf(line.toUser?.nick ?? "") }) : t("direct.me")),
      line.replayed && h("p", { class: "note bad" }, icon("warn"), t("replayed")),
      quote(line, deeds),
      ...content(line, deeds),
      h("footer", null, status(line), line.edited && !line.deleted && h("span", null, t("edited")), clock(line)),
      line.status === "failed" && failed(line, deeds.room),
    ),
    line.reactions.length > 0 && reactions(line, deeds),
  );
}

/** @param {Line} line  @param {boolean} follows */
function classes(line, follows) {
  const all = {
    line: true,
    [line.kind]: true,
    mine: line.mine,
    follows,
    direct: line.to !== null,
    mentions: line.mentionsMe,
    [line.status]: line.status !== "sent",
    deleted: line.deleted,
    big: line.kind === "text" && !line.replyTo && ONLY_EMOJI.test(line.text),
  };
  return Object.keys(all).filter((name) => all[/** @type {keyof typeof all} */ (name)]).join(" ");
}

/** @param {Line} line */
const clock = (line) => h("time", { dateTime: new Date(line.at).toISOString(), title: moment(line.at) }, time(line.at));

/** @param {Line} line */
function status(line) {
  if (!line.mine || line.status === "failed") return null;
  const label = t(line.status === "pending" ? "pending" : "sent");
  return h("span", { class: "status", title: label, role: "img", "aria-label": label }, icon(line.status === "pending" ? "clock" : "check"));
}

/** @param {Line} line  @param {Deeds} deeds  @returns {Node[]} */
function content(line, deeds) {
  if (line.deleted) return [h("p", { class: "gone" }, t(line.removed ? "removed" : "deleted"))];
  if (line.kind === "unknown") return [h("p", { class: "gone" }, t("unknown_kind"))];
  if (line.kind === "unreadable") return [h("p", { class: "gone", title: line.reason }, icon("warn"), t("unreadable"))];
  const file = line.file ? [fileView(line, deeds.room)] : [];
  return line.text ? [...file, text(line, deeds)] : file;
}

/** @param {Line} line  @param {Deeds} deeds */
function text(line, deeds) {
  const start = line.text.split("\n", FOLD_LINES).join("\n").slice(0, FOLD_CHARS);
  const isLong = start.length < line.text.length;
  const isFolded = isLong && !unfolded.has(line);
  const shown = isFolded ? `${start.replace(/[\ud800-\udbff]$/, "")}…` : line.text;
  const elements = isLong && !isFolded ? MOST_UNFOLDED : MOST_ELEMENTS;
  const body = h("div", { class: isFolded ? "body folded" : "body" }, markdown(shown, { copy: t("copy"), onCopy, names: deeds.names(), elements, isCut: isFolded }));
  if (!isLong) return body;
  const toggle = (/** @type {MouseEvent} */ { currentTarget }) => {
    if (isFolded) unfolded.add(line);
    else unfolded.delete(line);
    patch(/** @type {HTMLElement} */ (/** @type {Element} */ (currentTarget).parentElement), text(line, deeds));
  };
  return h("div", { class: "long" }, body, h("button", { type: "button", class: "small", "aria-expanded": String(!isFolded), onclick: toggle }, t(isFolded ? "unfold" : "fold")));
}

/** @param {string} code */
const onCopy = async (code) => toast(t((await copy(code)) ? "copied" : "copy_failed"));

/**
 * A line in a few words, for quotes and notes.
 * @param {Line} line
 */
export const gist = (line) => (line.deleted ? t(line.removed ? "removed" : "deleted") : line.text || line.file?.name || t("unknown_kind")).slice(0, 140);

/** @param {Line} line  @param {Deeds} deeds */
function quote(line, deeds) {
  if (line.replyLost) return h("p", { class: "quote lost" }, t("reply_lost"));
  const answered = line.replyTo === null ? undefined : deeds.room.line(line.replyTo);
  if (!answered) return null;
  const made = h(
    "button",
    { type: "button", class: "quote", tabIndex: -1, onclick: () => deeds.show(answered.key) },
    h("strong", null, h("bdi", null, answered.mine ? t("you") : nameOf(answered.author?.nick ?? ""))),
    h("span", { dir: "auto" }, gist(answered)),
  );
  made.style.setProperty("--hue", String(answered.author?.hue ?? 0));
  return made;
}

/** @param {Line} line  @param {Deeds} deeds */
function reactions(line, deeds) {
  return h("div", { class: "reactions" }, line.reactions.slice(0, 20).map(({ emoji, nicks, users, mine }) =>
    h("button", {
      type: "button",
      tabIndex: -1,
      "data-key": emoji,
      class: mine ? "on" : "",
      "aria-pressed": String(mine),
      title: nicks.slice(0, 20).map(nameOf).join(", "),
      onclick: () => deeds.react(line.key, emoji, !mine),
    }, emoji, h("span", null, users.length)),
  ));
}

/** @param {Line} line  @param {Room} room */
function failed(line, room) {
  return h(
    "div",
    { class: "failure" },
    h("span", null, t("failed"), " ", inWords(line.problem)),
    h("button", { type: "button", class: "small", onclick: () => room.resend(line.key) }, t("resend")),
    h("button", { type: "button", class: "small", onclick: () => room.discard(line.key) }, t("discard")),
  );
}
