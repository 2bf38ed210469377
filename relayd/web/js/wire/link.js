/** Share links: `https://host/<room_id>#<invite_key>[.1[p][.<link secret>]]`. */

import { Problem } from "../problem.js";
import { decodeBase64url, encodeBase64url } from "./bytes.js";

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

/** @param {string} character  a character class  @param {number} count  repetitions, with line breaks of mails in between */
const run = (character, count) => `(?:[\\s>]*${character}){${count}}`;
const HOST = `(?:[^\\s/?#@\\\\:<>()"']{1,255}|\\[[\\da-f:.]{2,45}\\])(?::\\d{1,5})?`;
const ID = [8, 4, 4, 4, 12].map((count) => run("[\\da-f]", count)).join("[\\s>]*-");
const KEY = `ri_${run("[\\w-]", 22)}`;
const SECRET = `[\\s>]*\\.[\\s>]*1p?[\\s>]*\\.${run("[\\w-]", 22)}`;
// Without a scheme a host starts a word: what follows another scheme, or a user name, is no host.
const START = `(?:(https?:)//|(?<![^\\s<>()[\\]{}"'“”«»]))`;
const PASTED = new RegExp(`${START}(${HOST})/+(${ID})/*(?:\\?[^\\s#]*)?(?:#|%23)(${KEY}(?:${SECRET})?)([\\w.-]*)`, "iu");
const PART = new RegExp(`ri_|${ID}`, "iu");

/**
 * Finds the link to a room in pasted text. It may lack its scheme, and have other text around it.
 * @param {string} text
 * @param {string} protocol  for a link without a scheme, e.g. "https:"
 * @returns {Link}
 * @throws {Problem} `link_wrong`, `link_incomplete`, `unknown_suite`
 */
export function findLink(text, protocol) {
  const found = PASTED.exec(text);
  if (!found) throw new Problem(PART.test(text) ? "link_incomplete" : "link_wrong", "there is no link to a room");
  const [, scheme = protocol, host, id, key, rest] = found;
  const whole = (/** @type {string} */ part) => part.replace(/[\s>]/g, "");
  // What follows without a space is part of the fragment, except for punctuation and markup.
  const fragment = whole(key) + rest.replace(/[-_.]+$/, "");
  return parseLink(`${scheme.toLowerCase()}//${host}/${whole(id).toLowerCase()}#${fragment}`);
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
