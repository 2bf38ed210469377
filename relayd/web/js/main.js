/** The page's beginning: texts, then whichever view the address asks for. */

import { fill } from "./lib/dom.js";
import { speak } from "./lib/i18n.js";
import { freshNick } from "./lib/nicknames.js";
import { preferences } from "./lib/preferences.js";
import { closedDoorView, joinView, waitingView } from "./views/join.js";
import { openSettings } from "./views/settings.js";
import { startView } from "./views/start.js";

/** @typedef {import("./types.js").Room} Room */

// The larger part of the page is fetched while a person reads and fills in the first view.
const engine = () => import("./room/open.js");
const chat = () => import("./views/chat.js");

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
    fill(app, startView({ create, open, settings: () => openSettings(onLanguage, null) }));
    setTimeout(() => Promise.all([engine(), chat()]).catch(() => undefined)); // who needs it will be told
    return;
  }
  fill(app, waitingView());
  const link = location.href;
  try {
    const { lookAt, openRoom } = await engine();
    const door = await lookAt(link);
    if (mine !== visit) return;
    if (door.known) return await enter(openRoom({ link, nick: door.known.nick || preferences.nick || freshNick() }), false, mine);
    document.title = `${door.name} – relayd`;
    chat().catch(() => undefined);
    fill(app, joinView(door, (nick, password) => enter(openRoom({ link, nick, ...(password && { password }) }), false, mine)));
  } catch (problem) {
    if (mine === visit) fill(app, closedDoorView(/** @type {import("./types.js").ProblemShape} */ (problem), { home, again: route }));
  }
}

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

/** @param {import("./types.js").NewRoom} options */
const create = async (options) => enter((await engine()).createRoom(options), true, visit);

/** @param {string} link  as somebody pasted it */
function open(link) {
  let url;
  try {
    url = new URL(link.includes("://") ? link : `${location.protocol}//${link}`);
  } catch {
    url = null;
  }
  if (url && /^https?:$/.test(url.protocol) && url.origin !== location.origin) location.assign(url.href);
  else {
    history.pushState(null, "", url && url.origin === location.origin && ROOM_PATH.test(url.pathname) ? url.pathname + url.hash : "/");
    if (location.pathname === "/") fill(app, closedDoorView({ code: "link_wrong", detail: "" }, { home, again: route }));
    else route();
  }
}

function home() {
  history.pushState(null, "", "/");
  route();
}

/** @param {string} language */
async function onLanguage(language) {
  await speak(language);
  route();
}

// Another room's link put into the address bar changes only what follows #, or comes with back and forward.
addEventListener("popstate", () => {
  if (location.href !== present?.room.state.link) route();
});

await speak(preferences.language);
route();
