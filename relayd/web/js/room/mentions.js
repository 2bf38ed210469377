/** Who is called by name. */

/**
 * Whether a text calls this user by `@nick`; not where it calls somebody whose longer nick begins so.
 * @param {string} text
 * @param {import("./roster.js").Roster} roster
 */
export function mentions(text, roster) {
  const mine = roster.me.nick.toLowerCase();
  if (!mine || !text.includes("@")) return false;
  const plain = text.toLowerCase();
  /** @param {number} at @param {string} nick */
  const calls = (at, nick) =>
    plain.startsWith(`@${nick}`, at) && !/^[\p{L}\p{N}_]/u.test(plain.slice(at + 1 + nick.length));
  for (let at = plain.indexOf(`@${mine}`); at >= 0; at = plain.indexOf(`@${mine}`, at + 1)) {
    if (/[\p{L}\p{N}_]$/u.test(plain.slice(Math.max(0, at - 2), at)) || !calls(at, mine)) continue;
    const longer = [...roster.users.values()].some(
      ({ nick }) => nick.length > mine.length && calls(at, nick.toLowerCase()),
    );
    if (!longer) return true;
  }
  return false;
}
