/** The room: head, lines, people, composer, and what ties them to the store. */

import { copy, fill, h, icon, iconButton } from "../lib/dom.js";
import { duration, list, moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { patchChildren } from "../lib/patch.js";
import { preferences } from "../lib/preferences.js";
import { nameOf } from "../lib/text.js";
import { composerView } from "./composer.js";
import { ask } from "./dialog.js";
import { deleteDrafts } from "./drafts.js";
import { logView } from "./log.js";
import { later } from "./later.js";
import { openMenu } from "./menu.js";
import { gist } from "./message.js";
import { peopleView } from "./people.js";
import { deferWhilePressed } from "./pressed.js";
import { attempt, inWords, problemCard } from "./problem.js";
import { openShare, sharePanel } from "./share.js";
import { announce, toast } from "./toasts.js";

// What is fetched without being asked for, in one visit: past it, pictures have a button like other files.
const UNASKED_PICTURES = 20;
const UNASKED_BYTES = 64 * 1024 * 1024;
const MENTIONABLE = 500; // names that are looked for in each text
const SOON_S = 10 * 60; // the last minutes of a room are shown in another colour

/**
 * @param {Room} room
 * @param {{home: () => void, again: () => void, language: (language: string) => void, fresh: boolean}} ways  `fresh`: just
 *     created, so that the link is what comes next
 * @returns {{node: HTMLElement, stop: () => void, close: () => void}}  `stop` lets go of the view only, `close` of the room too
 */
export function chatView(room, { home, again, language, fresh }) {
  const { state } = room;
  const watching = new AbortController();
  const whenReleased = deferWhilePressed(watching.signal);
  const title = h("h1", { dir: "auto" });
  const about = h("p", { class: "about" });
  const banner = h("div", { class: "banner", role: "status", hidden: true });
  const notRemembered = h("p", { class: "notice", role: "status", hidden: true });
  const typists = h("p", { class: "typists", "aria-live": "off" });
  const end = h("div");
  const invitation = h("section", { class: "invitation" });

  const names = () => [...state.users.values()].filter((user) => !user.me && user.nick).map((user) => user.nick).sort((a, b) => b.length - a.length);
  /** @type {string[] | null} */
  let known = null; // names that may be mentioned, drawn up anew when people change
  const mentionable = () => (known ??= [...state.users.values()].map((user) => user.nick).filter(Boolean).sort((a, b) => b.length - a.length).slice(0, MENTIONABLE));
  const composer = composerView(room, { onSent: () => lines.toEnd(), names });
  const direct = (/** @type {User} */ user) => {
    showPeople(false);
    composer.toOne(user);
  };
  const person = (/** @type {Element} */ anchor, /** @type {User} */ user) =>
    later(import("./person.js"), ({ openPerson }) => openPerson(anchor, room, user, direct));
  const isOwner = () => state.role === "owner";
  const lobby = h("div", { class: "lobby-place" });
  /** @type {(() => void) | null} */
  let drawLobby = null;
  const people = peopleView(room, { onPerson: person, onInvite: () => openShare(room), onClose: () => showPeople(false) });
  const tell = (/** @type {string} */ text) => toast(text, "bad");
  const react = (/** @type {string} */ key, /** @type {string} */ emoji, /** @type {boolean} */ on) => void attempt(() => room.react(key, emoji, on), tell);
  const deeds = {
    person,
    react,
    names: mentionable,
  };
  const lines = logView(room, deeds, { tools: (line) => tools(line), head: invitation, whenReleased });

  /** @param {Line} line  @returns {Node[]} */
  const tools = (line) => {
    if (state.phase === "over" || line.deleted || line.status !== "sent") return [];
    const buttons = [];
    const answerable = (line.kind === "text" || line.kind === "file") && line.author;
    if (answerable && !state.muted) {
      const pick = (/** @type {MouseEvent} */ event) => {
        const anchor = /** @type {Element} */ (event.currentTarget);
        later(import("./picker.js"), ({ openPicker }) => openPicker(anchor, (emoji) => react(line.key, emoji, true)));
      };
      buttons.push(iconButton("smile", t("tools.react"), pick, { "aria-haspopup": "dialog" }), iconButton("reply", t("tools.reply"), () => composer.reply(line)));
    }
    if (line.mine && line.kind === "text") buttons.push(iconButton("edit", t("tools.edit"), () => composer.edit(line)));
    if (line.text) buttons.push(iconButton("copy", t("tools.copy"), async () => toast(t((await copy(line.text)) ? "copied" : "copy_failed"))));
    const removable = line.mine || (state.role !== "member" && line.seq !== null);
    if (removable) buttons.push(iconButton("trash", t(line.mine ? "tools.delete" : "tools.remove"), () => remove(line)));
    const { author } = line;
    if (author && !line.mine && (state.role !== "member" || state.users.has(author.id))) {
      const open = (/** @type {MouseEvent} */ event) => person(/** @type {Element} */ (event.currentTarget), author);
      buttons.push(iconButton("people", t("tools.person", { nick: nameOf(author.nick) }), open, { "aria-haspopup": "menu" }));
    }
    return buttons;
  };

  /** @param {Line} line */
  const remove = async (line) => {
    const work = () => (line.mine ? room.remove(line.key) : room.moderation.removeMessage(line));
    if (await ask(t("delete.title"), t("delete.text"), t("tools.delete"))) attempt(work, tell);
  };

  const leave = async () => {
    if (await ask(t("leave.title"), t(isOwner() ? "leave.owner" : "leave.text"), t("leave"))) room.leave();
  };

  const save = () => later(import("./save.js"), ({ saveChat }) => saveChat(room));

  const settings = () => {
    const person = { nick: state.users.get(state.me)?.nick ?? "", setNick: (/** @type {string} */ nick) => room.setNick(nick) };
    later(import("./settings.js"), ({ openSettings }) => openSettings(language, state.phase === "over" ? null : person));
  };

  const peopleButton = h("button", { type: "button", class: "pill", onclick: () => showPeople(!node.classList.contains("with-people")) });
  /** @returns {Parameters<typeof openMenu>[2]} */
  const items = () => [
    { label: t("share.title"), icon: "share", run: () => openShare(room) },
    state.sealed && { label: t("safety.title"), icon: "shield", run: () => later(import("./safety.js"), ({ openSafety }) => openSafety(room)) },
    state.role === "moderator" && state.phase !== "over" && { label: t(state.details.locked ? "owner.unlock_now" : "owner.lock_now"), icon: state.details.locked ? "unlock" : "lock", run: () => attempt(() => room.moderation.edit({ locked: !state.details.locked }), tell) },
    isOwner() && state.phase !== "over" && { label: t("owner.title"), icon: "key", run: () => later(import("./owner.js"), ({ openOwner }) => openOwner(room)) },
    { label: t("settings.title"), icon: "settings", run: settings },
    { label: t("save_chat"), icon: "download", run: save },
    state.phase !== "over" && { label: t("leave"), icon: "leave", danger: true, run: leave },
  ];
  const menu = iconButton("more", t("menu"), () => openMenu(menu, t("menu"), items()), { "aria-haspopup": "menu" });

  const node = h(
    "div",
    { class: "chat" },
    h(
      "header",
      { class: "bar" },
      h("div", { class: "title" }, title, about),
      peopleButton,
      iconButton("share", t("share.title"), () => openShare(room), { class: "only-wide" }),
      menu,
    ),
    banner,
    notRemembered,
    lobby,
    h("main", { class: "middle" }, h("div", { class: "talk" }, lines.node, h("div", { class: "foot" }, typists, end, composer.node)), people.node),
  );

  /** @param {boolean} shown */
  const showPeople = (shown) => {
    node.classList.toggle("with-people", shown);
    peopleButton.setAttribute("aria-expanded", String(shown));
    if (shown) people.focus();
    else peopleButton.focus();
  };

  const drawHead = () => {
    const left = (state.endsAt - Date.now()) / 1000;
    title.textContent = state.details.name;
    const ends = state.phase === "over" ? t("over") : t("ends_in", { time: duration(left) });
    const hint = t(state.usersLeave ? "ends_hint_leave" : "ends_hint", { time: moment(state.endsAt) });
    patchChildren(
      about,
      h("span", { class: state.sealed ? "sealed" : "open", title: t(state.sealed ? "sealed_hint" : "open_hint") }, icon(state.sealed ? "lock" : "unlock"), t(state.sealed ? "sealed" : "open")),
      h("span", { class: left < SOON_S && state.phase !== "over" ? "soon" : "", title: hint }, icon("clock"), ends),
      state.details.locked && h("span", null, icon("key"), t("door_locked")),
    );
    patchChildren(peopleButton, icon("people"), String(state.userCount));
    peopleButton.setAttribute("aria-label", t("people.count", { n: state.userCount }));
    peopleButton.title = t("people.title");
    document.title = `${state.unread ? `(${state.unread > 99 ? "99+" : state.unread}) ` : ""}${state.details.name} – relayd`;
  };

  const drawPhase = () => {
    const away = state.phase === "away" || state.phase === "connecting";
    banner.hidden = !away;
    if (away) {
      const wait = state.retryAt ? Math.ceil((state.retryAt - Date.now()) / 1000) : 0;
      const why = state.problem ? inWords(state.problem) : t("problem.server_away");
      const when = state.retryAt === null ? "" : wait > 0 ? t("away.in", { time: duration(wait) }) : t("away.now");
      patchChildren(banner, icon("warn"), h("span", null, why, " ", when), h("button", { type: "button", class: "small", onclick: () => room.retry() }, t("away.retry")));
    }
    if (state.phase === "over" && !end.hasChildNodes()) {
      const keep = state.lines.some((line) => line.kind !== "system") && h("button", { type: "button", onclick: save }, icon("download"), t("save_chat"));
      fill(end, problemCard(state.problem ?? { code: "room_closed", detail: "" }, state.closedBecause, { home, again, more: keep || null }));
    }
    notRemembered.hidden = state.remembered || state.phase === "over";
    notRemembered.textContent = t(isOwner() ? "not_remembered_owner" : "not_remembered");
    node.classList.toggle("over", state.phase === "over");
    composer.redraw();
  };

  const drawTyping = () => {
    const nicks = state.typing.map((id) => state.users.get(id)).filter((user) => user && !user.me).map((user) => nameOf(user?.nick ?? ""));
    typists.textContent = nicks.length === 0 ? "" : nicks.length > 3 ? t("typing.many") : t("typing", { n: nicks.length, names: list(nicks) });
  };

  /** While nobody else has come, the link is what the page is about. */
  const drawInvitation = () => {
    const alone = state.users.size <= 1 && !state.lines.some((line) => line.kind === "text" || line.kind === "file") && state.phase !== "over";
    if (alone === invitation.hasChildNodes()) return;
    fill(invitation, alone && [h("h2", null, t(fresh ? "invitation.title" : "invitation.alone")), h("p", null, t("invitation.text")), sharePanel(room, false)]);
  };

  const seen = () => {
    if (lines.atEnd() && !document.hidden && document.hasFocus() && state.unread) room.read();
  };

  /** @param {Changes} changes */
  const onChanges = (changes) => {
    const { kinds, news } = changes;
    if (kinds.has("users")) known = null;
    lines.patch(changes);
    if (preferences.pictures) for (const { key } of changes.placed) fetchPicture(key);
    if (kinds.has("users") || kinds.has("me") || kinds.has("details")) people.draw();
    if (kinds.has("phase") || kinds.has("me") || kinds.has("details")) drawPhase();
    if (drawLobby) drawLobby();
    else if (state.knocking.length) later(import("./lobby.js"), ({ lobbyView }) => (drawLobby ??= lobbyView(lobby, room)));
    if (kinds.has("users")) composer.redraw(); // the recipient may have changed their name, or have left
    if (kinds.has("link")) {
      history.replaceState(null, "", state.link);
      invitation.replaceChildren();
    }
    if (kinds.has("typing") || kinds.has("users")) drawTyping();
    if (news.length) {
      if (document.hidden) import("./attention.js").then(({ attract }) => attract(room, news), () => undefined);
      for (const line of news.slice(-3)) announce(t("announce", { nick: line.author ? nameOf(line.author.nick) : t("admin"), text: gist(line) }));
    }
    if (kinds.size) drawHead();
    drawInvitation();
    seen();
  };
  const unsubscribe = room.subscribe((changes) => whenReleased(() => onChanges(changes)));

  const unasked = { count: 0, bytes: 0 };
  /** @param {string} key  of a line that has just come */
  const fetchPicture = (key) => {
    const line = room.line(key);
    if (!line?.file?.image || line.file.phase !== "offered" || line.mine) return;
    if (unasked.count === UNASKED_PICTURES || unasked.bytes + line.file.size > UNASKED_BYTES) return;
    unasked.count++;
    unasked.bytes += line.file.size;
    room.accept(key, true);
  };

  const tick = setInterval(() => whenReleased(() => {
    if (state.phase !== "over") drawHead();
    if (state.phase === "away") drawPhase();
  }), 1_000);

  people.node.addEventListener("keydown", (event) => {
    if (event.key === "Escape") showPeople(false);
  });

  // Files are dropped anywhere on the room.
  node.addEventListener("dragover", (event) => {
    if (!event.dataTransfer?.types.includes("Files")) return;
    event.preventDefault();
    node.dataset.drop = composer.dropText();
    node.classList.toggle("dropping", composer.mayOffer());
  });
  for (const kind of ["dragleave", "drop"]) node.addEventListener(kind, () => node.classList.remove("dropping"));
  node.addEventListener("drop", (event) => {
    event.preventDefault();
    if (composer.mayOffer()) composer.offer(event.dataTransfer?.files ?? null);
  });

  for (const kind of ["focus", "visibilitychange"]) addEventListener(kind, seen, { signal: watching.signal, capture: true });
  addEventListener("beforeunload", (event) => {
    const isLost = composer.hasUnsentText() || state.lines.some(({ status }) => status === "pending") || !notRemembered.hidden;
    if (!isLost) return;
    event.preventDefault();
    event.returnValue = true; // older browsers ask for this instead
  }, { signal: watching.signal });

  const redraw = () => {
    drawHead();
    drawPhase();
    drawTyping();
    drawInvitation();
    people.draw();
  };
  redraw();
  for (const line of state.lines) if (preferences.pictures) fetchPicture(line.key);
  setTimeout(() => {
    lines.toEnd();
    if (!matchMedia("(pointer: coarse)").matches) composer.focus();
  });

  const stop = () => {
    unsubscribe();
    clearInterval(tick);
    watching.abort();
  };
  return {
    node,
    stop,
    close: () => {
      stop();
      room.close();
      if (state.phase === "over") deleteDrafts(state.details.id);
    },
  };
}
