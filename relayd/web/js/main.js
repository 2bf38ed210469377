/** The page's beginning: texts, then whichever view the address asks for. */

import { copyFields, fill } from "./lib/dom.js";
import { speak, t } from "./lib/i18n.js";
import { freshNick } from "./lib/nicknames.js";
import { preferences } from "./lib/preferences.js";
import { later } from "./views/later.js";

// Each view is fetched when it is due, and what makes and shows rooms while a person reads the first one.
const engine = () => import("./room/open.js");
const chat = () => import("./views/chat.js");
const doors = () => import("./views/join.js");
const ahead = () => void Promise.all([engine(), chat()]).catch(() => undefined); // who needs them will be told

const ROOM_PATH = /^\/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

const app = /** @type {HTMLElement} */ (document.getElementById("app"));

/** @type {{room: Room, close: () => void} | null} the room one is in */
let present = null;
let visit = 0; // which call of `route` is the latest: an answer for an older one comes too late

/** Shows what the address asks for. */
async function route() {
  const mine = ++visit;
  present?.close();
  present = null;
  document.title = "relayd";
  if (!ROOM_PATH.test(location.pathname)) {
    const { startView } = await import("./views/start.js");
    if (mine === visit) fill(app, startView({ create, open, settings }));
    return ahead();
  }
  const { waitingView, joinView } = await doors();
  if (mine !== visit) return;
  fill(app, waitingView());
  ahead();
  const link = location.href;
  try {
    const { lookAt, openRoom } = await engine();
    const door = await lookAt(link);
    if (mine !== visit) return;
    if (door.known) return await enter(openRoom({ link, nick: door.known.nick || preferences.nick || freshNick() }), false, mine);
    document.title = `${door.name} – relayd`;
    fill(app, joinView(door, (nick, password, onWaiting) => enter(openRoom({ link, nick, onWaiting, ...(password && { password }) }), false, mine)));
  } catch (problem) {
    if (mine === visit) closedDoor(/** @type {ProblemShape} */ (problem));
  }
}

/** @param {ProblemShape} problem */
const closedDoor = async (problem) => fill(app, (await doors()).closedDoorView(problem, { home, again: route }));

const settings = () => later(import("./views/settings.js"), ({ openSettings }) => openSettings(onLanguage, null));

/**
 * Into a room, once it has been joined.
 * @param {Promise<Room>} joining  @param {boolean} fresh  @param {number} mine  the `visit` it belongs to
 */
async function enter(joining, fresh, mine) {
  const [room, { chatView }] = await Promise.all([joining, chat()]);
  if (mine !== visit) return room.close();
  if (location.href !== room.state.link) history[fresh ? "pushState" : "replaceState"](null, "", room.state.link);
  show(room, fresh, chatView);
}

/** @param {Room} room  @param {boolean} fresh  @param {typeof import("./views/chat.js").chatView} chatView */
function show(room, fresh, chatView) {
  const view = chatView(room, { home, again: route, fresh, language: async (language) => {
    await speak(language);
    view.stop();
    show(room, false, chatView);
  } });
  present = { room, close: view.close };
  fill(app, view.node);
}

/** @param {NewRoom} options */
const create = async (options) => enter((await engine()).createRoom(options), true, visit);

/**
 * Opens the room of a pasted link. Asks before it opens a page of another host.
 * @param {string} text
 * @throws {ProblemShape} the text contains no complete link
 */
async function open(text) {
  const { findLink, formatLink } = await import("./wire/link.js");
  const url = new URL(formatLink(findLink(text, location.protocol)));
  if (url.host !== location.host) {
    const { ask } = await import("./views/dialog.js");
    const { host } = url;
    if (await ask(t("elsewhere.title"), t("elsewhere.text", { host }), t("elsewhere.open", { host }))) location.assign(url.href);
  } else if (url.protocol === "https:" && location.protocol === "http:") location.assign(url.href);
  else {
    history.pushState(null, "", url.pathname + url.hash);
    route();
  }
}

function home() {
  history.pushState(null, "", "/");
  route();
}

/** @param {string} language */
async function onLanguage(language) {
  await speak(language);
  const before = app.firstElementChild;
  await route();
  if (before && app.firstElementChild) copyFields(before, app.firstElementChild);
}

// Another room's link put into the address bar changes only what follows #, or comes with back and forward.
addEventListener("popstate", () => {
  if (location.href !== present?.room.state.link) route();
});

try {
  await speak(preferences.language);
  route();
} catch {
  app.textContent = "Half of this page is missing: the server did not answer. Please load it again.";
}
