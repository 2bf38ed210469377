/** Safety codes: six words that people compare aloud, to learn that nobody sits between them. */

import { labelled, u32 } from "../wire/bytes.js";
import { stretch } from "./derive.js";
import { WORDS_EVEN, WORDS_ODD } from "./words.js";

// 48 bits behind 600,000 rounds: finding another key with the same words costs more than 2^67 hashes.
const CODE_BYTES = 6;

/** The room's code: the same for everyone with the right link and password.
 * @param {EpochKeys} keys
 */
export const roomCode = (keys) => stretch(keys.roomKey, labelled("safety", keys.salt, u32(keys.epoch)), CODE_BYTES);

/** A person's code: each reads out their own.
 * @param {Bytes} cardKey
 * @param {Bytes} salt
 */
export const personCode = (cardKey, salt) => stretch(cardKey, labelled("person", salt), CODE_BYTES);

/** @param {Bytes} code */
export const codeWords = (code) => Array.from(code, (byte, at) => (at % 2 ? WORDS_ODD : WORDS_EVEN)[byte]);
