/** The message field: text, replies, edits and files, to everyone or to one person. */

import { freshId, h, icon, iconButton } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { patchChildren } from "../lib/patch.js";
import { nameOf } from "../lib/text.js";
import { draftsOf } from "./drafts.js";
import { later } from "./later.js";
import { gist } from "./message.js";
import { inWords } from "./problem.js";
import { toast } from "./toasts.js";

/** Where a finger writes, Enter is a new line, as everywhere on a phone. */
const touch = matchMedia("(pointer: coarse)");
/** In other chats, and in `relay join`, this is a private message; sent here it would be public. */
const PRIVATE_COMMAND = /^\/(?:msg|w|whisper|tell|query|pm|dm)\s/iu;
const IME_KEY_CODE = 229; // of keys that an input method handles; Safari marks them in no other way

/**
 * @param {Room} room
 * @param {{onSent: () => void, names: () => string[]}} on
 */
export function composerView(room, { onSent, names }) {
  const drafts = draftsOf(room.state.details.id);
  drafts.dropMissing((key) => room.line(key));

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
  const pace = h("p", { class: "hint pace", hidden: true });
  const node = h(
    "form",
    { class: "composer", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      submit();
    } },
    context,
    refused,
    closed,
    pace,
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

  /** @param {User | null} user  null: everyone */
  const recipientText = (user) => (user ? t("direct.to", { nick: nickOf(user) }) : t("direct.all"));
  /** @param {User} user  @returns {string} the present name, or the last one */
  const nickOf = (user) => nameOf(room.state.users.get(user.id)?.nick ?? user.nick);
  const hasLeft = () => drafts.recipient !== null && !room.state.users.has(drafts.recipient.id);
  const isShut = () => room.state.muted || room.state.phase === "over";

  /** @returns {{to?: string}} the recipient, as `Room` takes it
   *  @throws {ProblemShape} `no_such_user` */
  const addressee = () => {
    if (hasLeft()) throw { code: "no_such_user", detail: "" };
    return drafts.recipient ? { to: drafts.recipient.id } : {};
  };

  const submit = () => {
    const text = (suggestions?.withEmoji(input.value) ?? input.value).trim();
    if (!text || isShut()) return;
    const { editing, replyTo, recipient } = drafts;
    if (!recipient && PRIVATE_COMMAND.test(text)) {
      refuse({ code: "no_commands" });
      return;
    }
    try {
      if (editing) room.edit(editing.key, text).catch(refuse);
      else room.say(text, { ...(replyTo && { replyTo: replyTo.key }), ...addressee() });
    } catch (problem) {
      refuse(problem);
      return;
    }
    room.typing(false);
    update(() => drafts.clear());
    onSent();
  };

  /** @param {Iterable<File> | null} files */
  const offer = (files) => {
    try {
      for (const file of files ?? []) room.offerFile(file, addressee());
      refuse(null);
      onSent();
    } catch (problem) {
      refuse(problem);
    }
  };

  /** Changes the drafts and shows the current one.
   * @param {() => void} change
   */
  const update = (change) => {
    const before = drafts.recipient;
    change();
    if (drafts.recipient !== before) room.typing(false);
    refuse(null);
    input.value = drafts.text;
    redraw();
    grow();
  };

  const cancel = () => {
    update(() => drafts.cancel());
    input.focus();
  };

  const leave = () => {
    update(() => drafts.switchTo(null));
    toast(t("direct.left"));
    input.focus();
  };

  const redraw = () => {
    const { muted, phase, details, role, users } = room.state;
    drafts.recipient &&= users.get(drafts.recipient.id) ?? drafts.recipient; // with the present name
    const { editing, replyTo, recipient } = drafts;
    const reader = editing ? editing.toUser : recipient;
    patchChildren(
      context,
      editing && [icon("edit"), h("span", null, t("composer.editing"))],
      (editing || recipient) && [reader && icon("lock"), h("span", { class: reader ? "only" : "" }, recipientText(reader))],
      editing && recipient && editing.to !== recipient.id && h("span", null, t("composer.then", { recipient: recipientText(recipient) })),
      replyTo && [icon("reply"), h("span", { class: "of", dir: "auto" }, h("strong", null, h("bdi", null, replyTo.mine ? t("you") : nameOf(replyTo.author?.nick ?? ""))), " ", gist(replyTo))],
      !editing && hasLeft() && h("span", { class: "bad" }, t("problem.no_such_user")),
      recipient && !editing && h("button", { type: "button", class: "small", onclick: leave }, t("direct.leave")),
      (editing || replyTo) && iconButton("close", t("cancel"), cancel),
    );
    context.hidden = !editing && !replyTo && !recipient;
    const { slow } = details.settings;
    input.placeholder = reader ? t("composer.private", { nick: nickOf(reader) }) : t("composer.placeholder");
    input.setAttribute("aria-label", input.placeholder);
    pace.hidden = !slow || role !== "member" || isShut();
    pace.textContent = slow ? t("composer.slow", { time: duration(slow) }) : "";
    const isKept = isShut() && input.value !== ""; // unsent text stays readable
    closed.hidden = phase === "over" ? !isKept : !muted;
    closed.textContent = t(phase === "over" ? "composer.unsent" : "composer.muted");
    node.classList.toggle("shut", isShut());
    node.classList.toggle("kept", isKept);
    input.readOnly = isShut();
    input.disabled = isShut() && !isKept;
    attach.hidden = !(details.settings.files || role === "owner") || editing !== null;
    for (const control of [attach, emoji, send]) control.disabled = isShut();
  };

  input.addEventListener("input", () => {
    drafts.text = input.value;
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
    if (!drafts.editing && !drafts.recipient) room.typing(input.value !== "");
  });

  const editLast = () => {
    const own = room.state.lines.filter((line) => line.mine && line.kind === "text" && !line.deleted && line.status === "sent");
    const last = own.findLast((line) => line.to === (drafts.recipient?.id ?? null)) ?? own.at(-1);
    if (last) edit(last);
    else refuse({ code: "nothing_to_edit" });
  };

  /** Ends one thing at a time, a private conversation last and only if its draft is empty. */
  const escape = () => {
    if (!refused.hidden) refuse(null);
    else if (drafts.editing || drafts.replyTo) cancel();
    else if (drafts.recipient && input.value === "") leave();
  };

  input.addEventListener("keydown", (event) => {
    if (event.isComposing || event.keyCode === IME_KEY_CODE || suggestions?.key(event) || isShut()) return;
    if (event.key === "Enter" && !event.shiftKey && (!touch.matches || event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      if (!event.repeat) submit();
    } else if (event.key === "Escape" && !event.repeat) escape();
    else if (event.key === "ArrowUp" && input.value === "" && !drafts.editing) {
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
    update(() => drafts.edit(line));
    input.focus();
  };
  /** @param {Line} line */
  const reply = (line) => {
    update(() => drafts.reply(line));
    input.focus();
  };
  /** @param {User} user */
  const toOne = (user) => {
    update(() => drafts.switchTo(user));
    input.focus();
  };

  update(() => {});
  return {
    node, redraw, edit, reply, toOne, offer, mayOffer,
    focus: () => input.focus(),
    hasUnsentText: () => drafts.hasUnsentText,
    dropText: () => (drafts.recipient ? t("drop_private", { nick: nickOf(drafts.recipient) }) : t("drop")),
  };
}
