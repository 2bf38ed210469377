/** The ways into a room: what is behind a link, a room of one's own, somebody else's. */

import * as api from "../api.js";
import { Problem } from "../problem.js";
import { newSealedRoom, readAccess, requireSecret, RoomKeys, roomIsSealed, unlock } from "../seal/keys.js";
import { derivePasswordKey } from "../seal/derive.js";
import { newUserKey } from "../seal/user-key.js";
import { formatLink, isSealed, parseLink } from "../wire/link.js";
import { endOf } from "./about.js";
import { cleanCount, cleanNick, cleanRoomName } from "./clean.js";
import * as identities from "./identity.js";
import { OpenVoice } from "./open-voice.js";
import { Room } from "./room.js";
import { SealedVoice } from "./sealed-voice.js";

/** What is behind a link, before anything is joined.
 * @param {string} text
 * @returns {Promise<Door>}
 * @throws {Problem}
 */
export const lookAt = (text) => coded(() => look(text));

/** @param {string} text */
async function look(text) {
  const link = ownLink(text);
  const identity = await recall(link);
  const known = identity && { nick: identity.nick, owner: identity.ownerKey !== "" };
  /** @type {Record<string, any>} */
  let details;
  try {
    details = await api.details(link.roomId, identity?.ownerKey || link.inviteKey);
  } catch (problem) {
    // The invite may have been renewed since; the session may still be good.
    if (!identity || !(problem instanceof Problem) || problem.code !== "no_such_room") throw problem;
    return { ...doorOf(link, identity), endsAt: identity.endsAt, sealed: identity.access !== null, known };
  }
  const access = readAccess(details);
  const sealed = roomIsSealed(link, access);
  if (sealed) needWebCrypto();
  if (access && !known) requireSecret(link, access);
  return { ...doorOf(link, details), sealed, passwordNeeded: details.protected === true && !known, known };
}

/** Makes a room and joins it as its owner.
 * @param {NewRoom} wanted
 * @returns {Promise<Room>}
 * @throws {Problem}
 */
export const createRoom = (wanted) => coded(() => make(wanted));

/** @param {NewRoom} wanted */
async function make({ nick, name, max, expires, password, sealed = true, createKey }) {
  if (sealed) needWebCrypto();
  const made = sealed ? await newSealedRoom(password) : null;
  const created = await api.createRoom({
    ...(name && { name }),
    ...(max && { max }),
    ...(expires && { expiration_date: expires }),
    ...(made && { access: made.access }),
  }, createKey);
  const { id: roomId, invite_key: inviteKey, owner_key: ownerKey } = created;
  const link = { origin: location.origin, roomId, inviteKey, password: made?.keys.password ?? false, secret: made?.secret ?? null };
  const identity = newIdentity(link, nick);
  const user = made && (await newUserKey());
  Object.assign(identity, {
    ownerKey, ownerPair: made?.owner ?? null, user, passwordKey: made?.passwordKey ?? null, access: made && accessOf(made.keys),
  });
  // Before joining: should that fail, the room's owner key must not be lost.
  await identities.save(identity);
  const voice = made && user ? new SealedVoice(made.keys, user, made.owner) : new OpenVoice();
  return enter(identity, voice, ownerKey, () => {});
}

/** Joins: again, if this device has been in that room, else as a newcomer.
 * @param {Entry} entry
 * @returns {Promise<Room>}
 * @throws {Problem}
 */
export const openRoom = (entry) => coded(() => open(entry));

/** @param {Entry} entry */
async function open({ link: text, nick, password, onWaiting = () => {} }) {
  const link = ownLink(text);
  // Two tabs opened at once are one person: the second finds what the first has become.
  return oneAtATime(link.roomId, async () => {
    const identity = await recall(link);
    return identity ? reenter(identity, nick, onWaiting) : comeIn(link, nick, password, onWaiting);
  });
}

/**
 * @param {Identity} identity
 * @param {string} nick
 * @param {() => void} onWaiting
 */
async function reenter(identity, nick, onWaiting) {
  identity.nick = cleanNick(nick) || identity.nick;
  try {
    const key = identity.ownerKey || parseLink(identity.link).inviteKey;
    return await enter(identity, await voiceOf(identity), key, onWaiting);
  } catch (problem) {
    // Who they were is gone; whoever comes again by the link is a newcomer, and is asked first.
    const gone = problem instanceof Problem && ["no_such_room", "forbidden", "wrong_secret"].includes(problem.code);
    if (gone && !identity.ownerKey) await identities.forget(identity.roomId);
    // No password was typed that could have been wrong.
    throw gone && problem.code === "forbidden" ? new Problem("wrong_secret", problem.detail) : problem;
  }
}

/**
 * @param {Link} link
 * @param {string} nick
 * @param {string | undefined} password
 * @param {() => void} onWaiting
 */
async function comeIn(link, nick, password, onWaiting) {
  const access = readAccess(await api.details(link.roomId, link.inviteKey));
  const identity = newIdentity(link, nick);
  if (!roomIsSealed(link, access) || !access) return enter(identity, new OpenVoice(), link.inviteKey, onWaiting);
  needWebCrypto();
  const passwordKey = access.password && password !== undefined ? await derivePasswordKey(password, access.salt) : null;
  const keys = await unlock(link, access, passwordKey);
  const user = await newUserKey();
  Object.assign(identity, { user, passwordKey, access: accessOf(keys), inviteEpoch: keys.epoch });
  return enter(identity, new SealedVoice(keys, user, null), link.inviteKey, onWaiting).catch((problem) => {
    const code = problem instanceof Problem && ["forbidden", "wrong_secret"].includes(problem.code);
    throw code ? new Problem(access.password ? "wrong_password" : "wrong_secret", problem.detail) : problem;
  });
}

/**
 * @param {Identity} identity
 * @param {Voice} voice
 * @param {string} key
 * @param {() => void} onWaiting
 */
async function enter(identity, voice, key, onWaiting) {
  const room = new Room(identity, voice, key);
  await room.join(onWaiting);
  if (identity.lastSeenAt) await identities.forgetPast(identity.lastSeenAt);
  return room;
}

/** The voice of somebody who has been in the room.
 * @param {Identity} identity
 */
async function voiceOf({ access, link, passwordKey, user, ownerPair }) {
  if (!access || !user) return new OpenVoice();
  needWebCrypto();
  const keys = await RoomKeys.make({ ...access, check: null }, passwordKey, parseLink(link).secret);
  return new SealedVoice(keys, user, ownerPair);
}

/** Who this device is in the room of a link.
 * @param {Link} link
 * @throws {Problem} `downgrade`: the link is sealed, and what is known of the room has no keys
 */
async function recall(link) {
  const identity = await identities.load(link.roomId);
  if (identity && isSealed(link) && !(identity.access && identity.user)) {
    throw new Problem("downgrade", "the link is of a sealed room, but this device knows it as an open one");
  }
  return identity;
}

/** @param {RoomKeys} keys */
const accessOf = (keys) => ({ salt: keys.salt, owner: keys.owner, password: keys.password, epoch: keys.epoch });

/**
 * @param {Link} link
 * @param {string} nick
 * @returns {Identity}
 */
const newIdentity = (link, nick) => ({
  roomId: link.roomId, session: "", nick: cleanNick(nick), name: "", endsAt: Date.now() + 86_400_000,
  link: formatLink(link), ownerKey: "", ownerPair: null, user: null, passwordKey: null, access: null, lastSeenAt: null, inviteEpoch: 0,
});

/**
 * @param {Link} link
 * @param {Record<string, any>} details
 */
const doorOf = (link, details) => ({
  id: link.roomId,
  name: cleanRoomName(details.name),
  passwordNeeded: false,
  locked: details.locked === true,
  users: cleanCount(details.users),
  max: cleanCount(details.max),
  endsAt: endOf(details),
});

/**
 * @param {string} text
 * @returns {Link}
 * @throws {Problem} `link_elsewhere`: of another server, whose page has to be opened
 */
function ownLink(text) {
  const link = parseLink(text);
  if (link.origin !== location.origin) throw new Problem("link_elsewhere", "a link of another server");
  if (isSealed(link)) needWebCrypto();
  return link;
}

function needWebCrypto() {
  if (!globalThis.crypto?.subtle) throw new Problem("no_webcrypto", "sealing needs https (or localhost)");
}

/** Whatever goes wrong has a code.
 * @template T
 * @param {() => Promise<T>} job
 * @returns {Promise<T>}
 * @throws {Problem} `old_browser`, `internal`, and those of the job
 */
async function coded(job) {
  try {
    return await job();
  } catch (error) {
    if (error instanceof Problem) throw error;
    const isOld = error instanceof DOMException && error.name === "NotSupportedError";
    throw new Problem(isOld ? "old_browser" : "internal", String(error));
  }
}

/**
 * @template T
 * @param {string} roomId
 * @param {() => Promise<T>} job
 * @returns {Promise<T>}
 */
async function oneAtATime(roomId, job) {
  if (!navigator.locks) return job();
  return navigator.locks.request(`relay ${roomId}`, job);
}
