/** What other people write, made safe for the eye. */

// Four combining marks on one letter: no writing needs more, and a hundred climb over other lines.
const PILES = /(\p{M}{4})\p{M}+/gu;
// Embeddings, overrides and isolates (Unicode TR 36, 2.11): each text stands isolated by itself already.
const TURNS = /[\u202a-\u202e\u2066-\u2069]/g;

/**
 * @param {string} text
 * @returns {string} without what turns directions around or piles marks on other lines
 */
export const safe = (text) => text.replace(TURNS, "").replace(PILES, "$1");

/**
 * @param {string} nick
 * @returns {string} a name that is never empty
 */
export const nameOf = (nick) => safe(nick).trim() || "?";

/**
 * @param {string} nick
 * @returns {string} its first letter, for the disc before a message
 */
export const initial = (nick) => (nameOf(nick).match(/[\p{L}\p{N}\p{Extended_Pictographic}]/u)?.[0] ?? "?").toUpperCase();
