/** How what is said travels: two classes with the same methods, for open and for sealed rooms. This module has no code. */

/** @typedef {import("./open-voice.js").OpenVoice | import("./sealed-voice.js").SealedVoice} Voice */
/** @typedef {{id: string, body: unknown, to: string | null, at: number}} Outgoing */
/** Something said, ready to be shown. `author` is who said it, as references name them: by card key in a sealed room.
 * @typedef {{author: string, id: string, body: unknown, at: number, epoch: number, replayed: boolean}} Said
 */

export {};
