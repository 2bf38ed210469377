/** Where one writes: text, an answer, a correction, something for one person only, files. */

import { fill, h, icon, iconButton } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { nameOf } from "../lib/text.js";
import { later } from "./later.js";
import { gist } from "./message.js";
import { inWords } from "./problem.js";

/** @typedef {import("../types.js").Room} Room */
/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").User} User */

/** Where a finger writes, Enter is a new line, as everywhere on a phone. */
const touch = matchMedia("(pointer: coarse)");

/**
 * @param {Room} room
 * @param {{onSent: () => void, names: () => string[]}} on
 */
export function composerView(room, { onSent, names }) {
  /** @type {Line | null} */
  let replying = null;
  /** @type {Line | null} */
  let editing = null;
  /** @type {User | null} */
  let direct = null;

  const context = h("div", { class: "context", hidden: true });
  const refused = h("p", { class: "bad", role: "alert", hidden: true });
  const input = h("textarea", { rows: 1, placeholder: t("composer.placeholder"), "aria-label": t("composer.placeholder"), enterKeyHint: touch.matches ? "enter" : "send", dir: "auto", autocomplete: "off" });
  // Suggestions and emoji come when one types what they begin with.
  /** @type {ReturnType<typeof import("./complete.js").completion> | null} */
  let suggestions = null;
  let asked = false;
  const picked = h("input", { type: "file", multiple: true, hidden: true, onchange: () => {
    offer(picked.files);
    picked.value = "";
  } });
  const attach = iconButton("attach", t("composer.attach"), () => picked.click());
  const emoji = iconButton("smile", t("emoji.pick"), () => later(import("./picker.js"), ({ openPicker }) => openPicker(emoji, insert)), { "aria-haspopup": "dialog" });
  const send = h("button", { class: "round primary", title: t("composer.send"), "aria-label": t("composer.send") }, icon("send"));
  const closed = h("p", { class: "hint closed", hidden: true });
  const node = h(
    "form",
    { class: "composer", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      submit();
    } },
    context,
    refused,
    closed,
    h("div", { class: "write" }, attach, picked, input, emoji, send),
  );

  /** @param {string} text */
  const insert = (text) => {
    input.setRangeText(text, input.selectionStart, input.selectionEnd, "end");
    input.focus();
    grow();
  };

  const grow = () => {
    if (CSS.supports("field-sizing", "content")) return;
    input.style.height = "auto";
    input.style.height = `${input.scrollHeight}px`;
  };

  /** @param {unknown} problem */
  const refuse = (problem) => {
    refused.hidden = !problem;
    refused.textContent = problem ? inWords(problem) : "";
  };

  const submit = () => {
    const text = (suggestions?.withEmoji(input.value) ?? input.value).trim();
    if (editing && !text) return;
    if (!text) return;
    try {
      if (editing) room.edit(editing.key, text).catch(refuse);
      else room.say(text, { ...(replying && { replyTo: replying.key }), ...(direct && { to: direct.id }) });
    } catch (problem) {
      refuse(problem);
      return;
    }
    input.value = "";
    room.typing(false);
    replying = editing = null; // a private talk goes on; one leaves it on purpose
    refuse(null);
    redraw();
    grow();
    onSent();
  };

  /** @param {Iterable<File> | null} files */
  const offer = (files) => {
    try {
      for (const file of files ?? []) room.offerFile(file, direct ? { to: direct.id } : {});
      refuse(null);
      onSent();
    } catch (problem) {
      refuse(problem);
    }
  };

  const reset = () => {
    if (editing) input.value = "";
    replying = editing = direct = null;
    redraw();
    grow();
    input.focus();
  };

  const redraw = () => {
    const { muted, phase, details, owner } = room.state;
    const about = editing
      ? [icon("edit"), h("span", null, t("composer.editing"))]
      : [
          direct && [icon("lock"), h("span", { class: "only" }, t("direct.to", { nick: nameOf(direct.nick) }))],
          replying && [icon("reply"), h("span", { class: "of", dir: "auto" }, h("strong", null, h("bdi", null, replying.mine ? t("you") : nameOf(replying.author?.nick ?? ""))), " ", gist(replying))],
        ].flat();
    context.hidden = !editing && !replying && !direct;
    fill(context, about, iconButton("close", t("cancel"), reset));
    const shut = muted || phase === "over";
    closed.hidden = !muted || phase === "over";
    closed.textContent = t("composer.muted");
    node.classList.toggle("shut", shut);
    attach.hidden = !(details.settings.files || owner) || editing !== null;
    for (const control of [input, attach, emoji, send]) control.disabled = shut;
  };

  input.addEventListener("input", () => {
    grow();
    refuse(null);
    if (!asked && /[@:]/.test(input.value)) {
      asked = true;
      later(import("./complete.js"), ({ completion }) => {
        suggestions = completion(input, names);
        node.prepend(suggestions.node);
        suggestions.update();
      });
    }
    suggestions?.update();
    if (!editing && !direct) room.typing(input.value !== "");
  });
  input.addEventListener("keydown", (event) => {
    if (event.isComposing || suggestions?.key(event)) return;
    if (event.key === "Enter" && !event.shiftKey && (!touch.matches || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && !context.hidden) reset();
    else if (event.key === "ArrowUp" && input.value === "") {
      const own = room.state.lines.findLast((line) => line.mine && line.kind === "text" && !line.deleted && line.status === "sent");
      if (own) {
        event.preventDefault();
        edit(own);
      }
    }
  });
  input.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (!files?.length || attach.hidden) return;
    event.preventDefault();
    offer(files);
  });

  /** @param {Line} line */
  const edit = (line) => {
    editing = line;
    replying = direct = null;
    input.value = line.text;
    redraw();
    grow();
    input.focus();
  };
  /** @param {Line} line */
  const reply = (line) => {
    editing = null;
    replying = line;
    // What was said in private is answered in private.
    if (line.to) direct = line.mine ? line.toUser : line.author;
    redraw();
    input.focus();
  };
  /** @param {User} user */
  const toOne = (user) => {
    editing = replying = null;
    direct = user;
    redraw();
    input.focus();
  };

  redraw();
  return { node, redraw, edit, reply, toOne, offer, focus: () => input.focus(), mayOffer: () => !attach.hidden && !attach.disabled };
}
