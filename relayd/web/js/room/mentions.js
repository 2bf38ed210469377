/** Who is called by name. */

const MOST_LOOKS = 100; // at places in a text, and at longer nicks: a text of one nick again and again must not take long

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
  /** @type {string[] | undefined} */
  let longer; // nicks that begin like this user's
  let at = plain.indexOf(`@${mine}`);
  for (let looks = 0; at >= 0 && looks < MOST_LOOKS; looks += 1, at = plain.indexOf(`@${mine}`, at + 1)) {
    if (/[\p{L}\p{N}_]$/u.test(plain.slice(Math.max(0, at - 2), at)) || !calls(at, mine)) continue;
    longer ??= [...roster.users.values()].map(({ nick }) => nick.toLowerCase())
      .filter((nick) => nick.length > mine.length && nick.startsWith(mine)).slice(0, MOST_LOOKS);
    const place = at;
    if (!longer.some((nick) => calls(place, nick))) return true;
  }
  return false;
}
