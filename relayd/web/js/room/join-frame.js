/** The frame by which a client asks to be let in. */

/**
 * @param {Identity} identity
 * @param {Voice} voice
 * @param {string} key  invite or owner key
 * @param {Frame | null | undefined} since  what was heard last, for somebody who comes back
 * @returns {Frame}
 */
export function joinFrame({ session, nick, ownerKey }, voice, key, since) {
  const [profile, proof] = [voice.joinProfile(nick), voice.proof];
  // With a session alone: with the key too, somebody thrown out while away would silently be somebody else. An
  // owner cannot be thrown out, and the owner's key makes nobody else.
  const right = session && !ownerKey ? {} : { key };
  return { type: "join", ...right, ...(session && { session }), ...(profile && { profile }), ...(proof && { proof }), ...(since && { since }) };
}
