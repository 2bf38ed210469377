/** What other people write, limited to what a screen can show without harm. */

// Format characters that scripts and emoji need: these are invisible, and those around Arabic numbers are not.
const JOINERS = "\\u061c\\u180e\\u200c-\\u200f";
const VISIBLE = "\\u0600-\\u0605\\u06dd\\u070f\\u0890\\u0891\\u08e2\\u{110bd}\\u{110cd}";
// After a black flag they spell the flag of a region; anywhere else they are text that nobody sees.
const TAG = "[\\u{e0020}-\\u{e007f}]";
const FLAG_TAG = new RegExp(`(?<!\\u{1f3f4}${TAG}{0,7})${TAG}`, "gu");
// All others, overrides of the direction too (Unicode TR 36, 2.11): each text is isolated already. One of these splits a
// pile for `PILES`, but not for browsers, which take quadratic time for it.
const FORMATS = new RegExp(`(?![${JOINERS}${VISIBLE}]|${TAG})\\p{Cf}`, "gu");
const JOINERS_IN_A_ROW = new RegExp(`([${JOINERS}])[${JOINERS}]+`, "gu");
// Skin tones and Katakana's half-width sound marks belong to the letter before, too.
const MARK = `[${JOINERS}]?[\\p{M}\\p{Emoji_Modifier}\\uff9e\\uff9f]`;
// Four on one letter: no writing needs more, and a hundred climb over other lines.
const PILES = new RegExp(`((?:${MARK}){4})(?:${MARK})+`, "gu");
const LINE_ENDS = /\r\n?|[\v\f\u0085\u2028\u2029]/g;
const CONTROLS = /(?![\n\t])\p{Cc}/gu;
const UNSEEN = /[\u061c\u180e\u200e\u200f\p{Cs}\p{Co}]/gu; // in names: they make two look alike
const SEEN = /[\p{L}\p{N}\p{P}\p{S}]/u;

/** Without invisible characters, overrides of the direction and piles of marks. Applied again it changes nothing.
 * @param {string} text
 */
export const safe = (text) =>
  text.replace(LINE_ENDS, "\n").replace(CONTROLS, "").replace(FORMATS, "").replace(FLAG_TAG, "")
    .replace(JOINERS_IN_A_ROW, "$1").replace(PILES, "$1");

/** The same for a name, in one line; "" if nothing of it can be seen.
 * @param {unknown} text
 * @param {number} longest  characters
 */
export function safeLine(text, longest) {
  if (typeof text !== "string") return "";
  // Bounded before NFC, which is quadratic in a pile of marks; safe again after it, as it may make two marks of one.
  const plain = safe(safe(text.slice(0, 8 * longest)).replace(UNSEEN, "").normalize("NFC"));
  const short = [...plain.replace(/\s+/gu, " ").trim()].slice(0, longest).join("").trimEnd();
  return SEEN.test(short) ? short : "";
}

/**
 * @param {string} nick
 * @returns {string} a name that is never empty
 */
export const nameOf = (nick) => nick || "?";

/**
 * @param {string} nick
 * @returns {string} its first letter, for the disc before a message
 */
export const initial = (nick) => (nick.match(/[\p{L}\p{N}\p{Extended_Pictographic}]/u)?.[0] ?? "?").toUpperCase();
