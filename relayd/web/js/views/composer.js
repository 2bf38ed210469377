/** Where one writes: text, an answer, a new text of an old line, files; to everyone or to one person. */

import { freshId, h, icon, iconButton } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { patchChildren } from "../lib/patch.js";
import { nameOf } from "../lib/text.js";
import { later } from "./later.js";
import { gist } from "./message.js";
import { inWords } from "./problem.js";
import { toast } from "./toasts.js";
import { writingIn } from "./writing.js";

/** @typedef {import("../types.js").Room} Room */
/** @typedef {import("../types.js").Line} Line */
/** @typedef {import("../types.js").User} User */

/** Where a finger writes, Enter is a new line, as everywhere on a phone. */
const touch = matchMedia("(pointer: coarse)");
const COMPOSING = 229; // key code of a key that an input method takes; Safari tells of it in no other way

/**
 * @param {Room} room
 * @param {{onSent: () => void, names: () => string[]}} on
 */
export function composerView(room, { onSent, names }) {
  const writing = writingIn(room.state.details.id);
  writing.keepLines((key) => room.line(key));

  const context = h("div", { class: "context", id: freshId(), hidden: true });
  const refused = h("p", { class: "bad", role: "alert", hidden: true });
  const input = h("textarea", { rows: 1, "aria-describedby": context.id, enterKeyHint: touch.matches ? "enter" : "send", dir: "auto", autocomplete: "off" });
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
    input.dispatchEvent(new Event("input", { bubbles: true }));
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

  /** Whom that is for, called as they are called now.
   * @param {User | null} user
   */
  const recipient = (user) => (user ? t("direct.to", { nick: nickOf(user) }) : t("direct.all"));
  /** @param {User} user */
  const nickOf = (user) => nameOf(room.state.users.get(user.id)?.nick ?? user.nick);
  const isGone = () => writing.to !== null && !room.state.users.has(writing.to.id);
  const isShut = () => room.state.muted || room.state.phase === "over";

  /** @returns {{to?: string}} */
  const way = () => {
    if (isGone()) throw { code: "no_such_user", detail: "" };
    return writing.to ? { to: writing.to.id } : {};
  };

  const submit = () => {
    const text = (suggestions?.withEmoji(input.value) ?? input.value).trim();
    if (!text || isShut()) return;
    const { editing, replying } = writing;
    try {
      if (editing) room.edit(editing.key, text).catch(refuse);
      else room.say(text, { ...(replying && { replyTo: replying.key }), ...way() });
    } catch (problem) {
      refuse(problem);
      return;
    }
    room.typing(false);
    change(() => writing.clear());
    onSent();
  };

  /** @param {Iterable<File> | null} files */
  const offer = (files) => {
    try {
      for (const file of files ?? []) room.offerFile(file, way());
      refuse(null);
      onSent();
    } catch (problem) {
      refuse(problem);
    }
  };

  /** Changes what is written, or to whom, and shows it.
   * @param {() => void} work
   */
  const change = (work) => {
    const before = writing.to;
    work();
    if (writing.to !== before) room.typing(false);
    refuse(null);
    input.value = writing.text;
    redraw();
    grow();
  };

  const cancel = () => {
    change(() => writing.cancel());
    input.focus();
  };

  const leave = () => {
    change(() => writing.writeTo(null));
    toast(t("direct.left"));
    input.focus();
  };

  const redraw = () => {
    const { muted, phase, details, owner, users } = room.state;
    writing.to &&= users.get(writing.to.id) ?? writing.to; // called as they are called now, or were last
    const { editing, replying, to } = writing;
    const reader = editing ? editing.toUser : to;
    patchChildren(
      context,
      editing && [icon("edit"), h("span", null, t("composer.editing"))],
      (editing || to) && [reader && icon("lock"), h("span", { class: reader ? "only" : "" }, recipient(reader))],
      editing && to && editing.to !== to.id && h("span", null, t("composer.then", { recipient: recipient(to) })),
      replying && [icon("reply"), h("span", { class: "of", dir: "auto" }, h("strong", null, h("bdi", null, replying.mine ? t("you") : nameOf(replying.author?.nick ?? ""))), " ", gist(replying))],
      !editing && isGone() && h("span", { class: "bad" }, t("problem.no_such_user")),
      to && !editing && h("button", { type: "button", class: "small", onclick: leave }, t("direct.leave")),
      (editing || replying) && iconButton("close", t("cancel"), cancel),
    );
    context.hidden = !editing && !replying && !to;
    input.placeholder = reader ? t("composer.private", { nick: nickOf(reader) }) : t("composer.placeholder");
    input.setAttribute("aria-label", input.placeholder);
    const isKept = isShut() && input.value !== ""; // it cannot be sent, but read and copied
    closed.hidden = phase === "over" ? !isKept : !muted;
    closed.textContent = t(phase === "over" ? "composer.unsent" : "composer.muted");
    node.classList.toggle("shut", isShut());
    node.classList.toggle("kept", isKept);
    input.readOnly = isShut();
    input.disabled = isShut() && !isKept;
    attach.hidden = !(details.settings.files || owner) || editing !== null;
    for (const control of [attach, emoji, send]) control.disabled = isShut();
  };

  input.addEventListener("input", () => {
    writing.text = input.value;
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
    if (!writing.editing && !writing.to) room.typing(input.value !== "");
  });

  const editLast = () => {
    const own = room.state.lines.filter((line) => line.mine && line.kind === "text" && !line.deleted && line.status === "sent");
    const last = own.findLast((line) => line.to === (writing.to?.id ?? null)) ?? own.at(-1);
    if (last) edit(last);
    else refuse({ code: "nothing_to_edit" });
  };

  /** Ends one thing, the innermost; a conversation last, and only where nothing is written. */
  const escape = () => {
    if (!refused.hidden) refuse(null);
    else if (writing.editing || writing.replying) cancel();
    else if (writing.to && input.value === "") leave();
  };

  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === COMPOSING || suggestions?.key(event) || isShut()) return;
    if (event.key === "Enter" && !event.shiftKey && (!touch.matches || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!event.repeat) submit();
    } else if (event.key === "Escape" && !event.repeat) escape();
    else if (event.key === "ArrowUp" && input.value === "" && !writing.editing) {
      event.preventDefault();
      editLast();
    }
  });
  input.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (!files?.length || !mayOffer()) return;
    event.preventDefault();
    offer(files);
  });

  const mayOffer = () => !attach.hidden && !attach.disabled;
  /** @param {Line} line */
  const edit = (line) => {
    change(() => writing.edit(line));
    input.focus();
  };
  /** @param {Line} line */
  const reply = (line) => {
    change(() => writing.reply(line));
    input.focus();
  };
  /** @param {User} user */
  const toOne = (user) => {
    change(() => writing.writeTo(user));
    input.focus();
  };

  change(() => {});
  return {
    node, redraw, edit, reply, toOne, offer, mayOffer,
    focus: () => input.focus(),
    isUnsent: () => writing.isUnsent,
    dropText: () => (writing.to ? t("drop_private", { nick: nickOf(writing.to) }) : t("drop")),
  };
}
