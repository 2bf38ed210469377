/** What other people call themselves, their files and their messages, within bounds. */

import { Problem } from "../problem.js";
import { utf8 } from "../wire/bytes.js";

const LONGEST_NICK = 64;
const LONGEST_NAME = 255;
const LONGEST_TEXT = 65_536; // a frame of the server's has no more
// Controls, line ends and whatever turns directions around or cannot be seen; joiners belong to emoji and to Persian.
const UNSEEN = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const SPACES = /\s+/gu;
const PILES = /(\p{M}{4})\p{M}+/gu;
const SEEN = /[\p{L}\p{N}\p{P}\p{S}]/u;

/**
 * @param {unknown} text
 * @param {number} longest  characters
 */
function clean(text, longest) {
  if (typeof text !== "string") return "";
  // Bounded first: normalising is quadratic in a run of combining marks.
  const plain = text.slice(0, 8 * longest).replace(UNSEEN, "").replace(PILES, "$1").normalize("NFC");
  const short = [...plain.replace(SPACES, " ").trim()].slice(0, longest).join("");
  return SEEN.test(short) ? short : "";
}

/** @param {unknown} nick */
export const cleanNick = (nick) => clean(nick, LONGEST_NICK);

/** A file's name: never a path, nor hidden.
 * @param {unknown} name
 */
export const cleanFileName = (name) =>
  clean(name, LONGEST_NAME).replace(/^.*[/\\]/u, "").replace(/[<>:"|?*]/gu, "_").replace(/^\.+/u, "") || "file";

/** @param {string} text */
export const cleanText = (text) => text.slice(0, LONGEST_TEXT);

/** What was typed, without lone surrogates, which UTF-8 cannot say.
 * @param {string} text
 * @param {number} most  bytes of its JSON
 * @throws {Problem} `too_long`
 */
export function fitText(text, most) {
  const fitting = text.replace(/\p{Surrogate}/gu, "\ufffd");
  if (utf8(JSON.stringify(fitting)).length > most || cleanText(fitting) !== fitting) throw new Problem("too_long");
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
