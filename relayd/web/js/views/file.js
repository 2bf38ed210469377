/** A file in the chat: what it is, how far it has come, what can be done. */

import { h, icon } from "../lib/dom.js";
import { duration, list, size } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { nameOf } from "../lib/text.js";
import { openDialog } from "./dialog.js";
import { inWords } from "./problem.js";

/** @type {Record<FilePhase, string>} */
const WORDS = {
  offered: "",
  waiting: "file.waiting",
  receiving: "",
  paused: "file.paused",
  done: "",
  failed: "file.failed",
  cancelled: "file.cancelled",
  ended: "file.ended",
  hashing: "file.hashing",
  serving: "file.serving",
};

// Of 4 bytes each: no camera's picture is larger, and browsers decode in one piece.
const MOST_PIXELS = 40_000_000;

/** @type {WeakSet<FileState>} pictures that have been decoded and are not too large */
const shown = new WeakSet();

const UNDER_WAY = new Set(["waiting", "receiving", "paused", "hashing"]);

/**
 * @param {Line} line
 * @param {Room} room
 */
export function fileView(line, room) {
  const file = /** @type {FileState} */ (line.file);
  const { name } = file;
  return h(
    "div",
    { class: "file" },
    file.url && file.image && picture(file, name),
    h(
      "div",
      { class: "file-row" },
      icon("file"),
      h("div", { class: "file-name" }, h("bdi", null, name), h("span", { class: "hint" }, about(file))),
      button(line.key, file, room),
    ),
    UNDER_WAY.has(file.phase) && h("progress", { max: Math.max(file.size, 1), value: file.bytes, "aria-label": name }),
    line.mine && receivers(file),
  );
}

/**
 * A picture, once it is known how large it is: a small file can be an image that fills a machine's memory.
 * @param {FileState} file  @param {string} name
 */
function picture(file, name) {
  const image = h("img", { src: file.url, alt: name, decoding: "async" });
  const open = () => openDialog(name, h("img", { src: file.url, alt: name, class: "whole" }), save(file));
  const place = h("button", { type: "button", class: "picture", hidden: true, onclick: open, "aria-label": t("file.enlarge", { name }) });
  const show = () => {
    if (image.naturalWidth * image.naturalHeight > MOST_PIXELS) return;
    shown.add(file);
    place.append(image);
    place.hidden = false;
  };
  if (shown.has(file)) show();
  else image.addEventListener("load", show, { once: true });
  return place;
}

/** @param {FileState} file */
const save = (file) => h("a", { class: "button", href: file.url, download: file.name }, icon("download"), t("file.save"));

/** @param {FileState} file  @returns {string} */
function about(file) {
  const parts = [UNDER_WAY.has(file.phase) && file.bytes ? t("file.of", { done: size(file.bytes), size: size(file.size) }) : size(file.size)];
  if (file.phase === "receiving" && file.rate) {
    parts.push(t("file.rate", { rate: size(file.rate) }), t("file.left", { time: duration((file.size - file.bytes) / file.rate) }));
  }
  if (WORDS[file.phase]) parts.push(t(WORDS[file.phase]));
  if (file.problem) parts.push(inWords(file.problem));
  return parts.join(" · ");
}

/** @param {string} key  @param {FileState} file  @param {Room} room */
function button(key, file, room) {
  const get = (/** @type {string} */ label) => h("button", { type: "button", onclick: () => room.accept(key) }, icon("download"), label);
  const stop = (/** @type {string} */ label) => h("button", { type: "button", onclick: () => room.cancel(key) }, label);
  switch (file.phase) {
    case "offered":
      return get(t("file.get"));
    case "failed":
    case "cancelled":
      return get(t("file.resume"));
    case "waiting":
    case "receiving":
    case "paused":
    case "hashing":
      return stop(t("file.stop"));
    case "serving":
      return stop(t("file.withdraw"));
    default:
      return file.url && save(file);
  }
}

/** @param {FileState} file */
function receivers(file) {
  const have = file.receivers.filter(({ state }) => state === "received").map(({ user }) => nameOf(user.nick));
  const fetching = file.receivers.filter(({ state }) => state === "receiving").map(({ user }) => nameOf(user.nick));
  const broken = file.receivers.filter(({ state }) => state === "broken").map(({ user }) => nameOf(user.nick));
  const told = [
    have.length && t("file.received", { names: list(have.slice(0, 10)) }),
    fetching.length && t("file.fetching", { names: list(fetching.slice(0, 10)) }),
    broken.length && t("file.broken_at", { names: list(broken.slice(0, 10)) }),
  ].filter(Boolean);
  return told.length > 0 && h("p", { class: "hint", dir: "auto" }, told.join(" "));
}
