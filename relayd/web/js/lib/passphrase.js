/** Passphrases that can be read out over a telephone. */

import { WORDS_EVEN, WORDS_ODD } from "../seal/words.js";

// 8 bits a word: 48 bits, each guess 600,000 rounds of PBKDF2; and the link's own secret beside them.
const WORDS = 6;

/** @returns {string} six words of the PGP list, as in safety codes */
export function freshPassphrase() {
  const drawn = crypto.getRandomValues(new Uint8Array(WORDS));
  return Array.from(drawn, (byte, index) => (index % 2 ? WORDS_ODD : WORDS_EVEN)[byte].toLowerCase()).join("-");
}
