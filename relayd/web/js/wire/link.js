/** Share links: `https://host/<room_id>#<invite_key>[.1[p][.<link secret>]]`. */

import { Problem } from "../problem.js";
import { decodeBase64url, encodeBase64url } from "./bytes.js";

/**
 * @typedef {object} Link
 * @property {string} origin
 * @property {string} roomId
 * @property {string} inviteKey
 * @property {boolean} password  a password is needed beside, or instead of, the secret
 * @property {import("./bytes.js").Bytes | null} secret  16 bytes
 */

const ROOM_ID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const LONGEST = 2048;

/**
 * Reads a link as somebody pasted it.
 * @param {string} text
 * @returns {Link}
 * @throws {Problem} `link_wrong`, `link_incomplete`, `unknown_suite`
 */
export function parseLink(text) {
  const trimmed = text.trim();
  /** @type {URL} */
  let url;
  try {
    if (trimmed.length > LONGEST) throw new TypeError();
    url = new URL(trimmed);
  } catch {
    throw new Problem("link_wrong", "that is no address");
  }
  const roomId = url.pathname.slice(1);
  const plain = /^https?:$/.test(url.protocol) && !url.username && !url.password && !url.search;
  if (!plain || !ROOM_ID.test(roomId)) throw new Problem("link_wrong", "that is no link to a room");
  return { origin: url.origin, roomId, ...parseFragment(url.hash.slice(1)) };
}

/**
 * Reads what follows `#`. A marked link is never taken for an open one.
 * @param {string} fragment
 * @throws {Problem} `link_incomplete`, `unknown_suite`
 */
export function parseFragment(fragment) {
  const [inviteKey, marker, secretText, ...rest] = fragment.split(".");
  if (!/^ri_/.test(inviteKey) || !decodeBase64url(inviteKey.slice(3), 16)) {
    throw new Problem("link_incomplete", "the link has no invite key after the #");
  }
  if (marker === undefined) return { inviteKey, password: false, secret: null };
  if (!/^1p?$/.test(marker)) throw new Problem("unknown_suite", "a kind of sealed room that this page does not know");
  const password = marker === "1p";
  if (password && secretText === undefined) return { inviteKey, password, secret: null };
  const secret = decodeBase64url(secretText, 16);
  if (rest.length || !secret?.some(Boolean)) throw new Problem("link_incomplete", "the link's sealed part is damaged");
  return { inviteKey, password, secret };
}

/** Whether the link promises a sealed room.
 * @param {{password: boolean, secret: Uint8Array | null}} link
 */
export const isSealed = (link) => link.password || link.secret !== null;

/** The link as it is shared: a secret.
 * @param {Link} link
 */
export function formatLink(link) {
  const marker = link.password ? ".1p" : ".1";
  const secret = link.secret ? `.${encodeBase64url(link.secret)}` : "";
  return `${link.origin}/${link.roomId}#${link.inviteKey}${isSealed(link) ? marker + secret : ""}`;
}
