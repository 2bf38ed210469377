/** What other people call themselves, their files and their messages, within bounds. */

import { safe, safeLine } from "../lib/text.js";
import { Problem } from "../problem.js";
import { utf8 } from "../wire/bytes.js";

const LONGEST_NICK = 64;
const LONGEST_ROOM_NAME = 64;
const LONGEST_NAME = 255;
const LONGEST_TEXT = 65_536; // a frame of the server's has no more
const LONGEST_EMOJI = 32;

/** @param {unknown} nick */
export const cleanNick = (nick) => safeLine(nick, LONGEST_NICK);

/** @param {unknown} name */
export const cleanRoomName = (name) => safeLine(name, LONGEST_ROOM_NAME) || "?";

/** A file's name: never a path, nor hidden.
 * @param {unknown} name
 */
export const cleanFileName = (name) =>
  safeLine(name, LONGEST_NAME).replace(/^.*[/\\]/u, "").replace(/[<>:"|?*]/gu, "_").replace(/^\.+/u, "") || "file";

/** A reaction; "" for one that is too long.
 * @param {unknown} emoji
 */
export const cleanEmoji = (emoji) =>
  typeof emoji === "string" && emoji.length <= LONGEST_EMOJI ? safeLine(emoji, LONGEST_EMOJI) : "";

/** @param {string} text */
export const cleanText = (text) => safe(text.slice(0, LONGEST_TEXT));

/** A number of people, messages or bytes; 0 for what is none.
 * @param {unknown} count
 */
export const cleanCount = (count) => (Number.isSafeInteger(count) ? Math.max(0, Number(count)) : 0);

/** What was typed, without lone surrogates, which UTF-8 cannot say.
 * @param {string} text
 * @param {number} most  bytes of its JSON
 * @throws {Problem} `too_long`
 */
export function fitText(text, most) {
  const fitting = text.replace(/\p{Surrogate}/gu, "\ufffd");
  if (utf8(JSON.stringify(fitting)).length > most || fitting.length > LONGEST_TEXT) throw new Problem("too_long");
  return fitting;
}

/** A number from 0 to 359 that is the same wherever the text is.
 * @param {string} text
 */
export function hueOf(text) {
  let hash = 0x811c9dc5; // FNV-1a
  for (const character of text) hash = Math.imul(hash ^ /** @type {number} */ (character.codePointAt(0)), 0x01000193);
  return (hash >>> 0) % 360;
}
