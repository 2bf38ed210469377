/** REST: what is asked outside the chat. */

import { Problem } from "./problem.js";

const TIMEOUT_MS = 20_000;
const PAGE = 200; // users on a page
const MOST_PAGES = 50; // 10,000 users, the most a server has in a room

/**
 * Asks the server this page came from.
 * @param {string} method
 * @param {string} path  after `/api/v1/`
 * @param {{key?: string, body?: unknown}} [more]
 * @returns {Promise<Record<string, any>>}
 * @throws {Problem} the server's, `offline`, `server_away`, `server_wrong`
 */
async function ask(method, path, { key, body } = {}) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  /** @type {Response} */
  let response;
  /** @type {unknown} */
  let answer;
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const init = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
    response = await fetch(`/api/v1/${path}`, { ...init, cache: "no-store", credentials: "omit", redirect: "error" });
    answer = response.status === 204 ? {} : await response.json().catch(() => null);
  } catch {
    throw noAnswer();
  }
  const fields = /** @type {Record<string, any>} */ (Object(answer));
  if (response.ok) {
    if (typeof answer !== "object" || answer === null) throw new Problem("server_wrong", "no answer of a relay");
    return fields;
  }
  // A proxy's own pages (502, 504) say nothing a person could act on but: later.
  if (typeof fields.code !== "string") throw new Problem(response.status >= 500 ? "server_away" : "server_wrong");
  throw new Problem(fields.code, fields.detail, Number(response.headers.get("Retry-After")) * 1000 || undefined);
}

/** Why there is no answer. */
export const noAnswer = () => new Problem(navigator.onLine === false ? "offline" : "server_away");

/**
 * @param {Record<string, unknown>} fields
 * @param {string} [key]  for servers that let nobody create rooms without one
 * @throws {Problem} `create_key_needed`, `create_key_wrong`, `create_nobody`, and what `ask` throws
 */
export async function createRoom(fields, key) {
  try {
    return await ask("POST", "room", { body: fields, ...(key && { key }) });
  } catch (problem) {
    const { code } = /** @type {Problem} */ (problem);
    if (code === "no_key") throw new Problem("create_key_needed");
    if (code === "not_permitted") throw new Problem(key ? "create_key_wrong" : "create_nobody");
    throw problem;
  }
}

/**
 * @param {string} roomId
 * @param {string} key
 */
export const details = (roomId, key) => ask("GET", roomId, { key });

/**
 * All users who come after that one in the room's list, page by page.
 * @param {string} roomId
 * @param {string} key
 * @param {string} after
 * @param {(page: Record<string, any>[]) => Promise<void>} take
 */
export async function fetchUsers(roomId, key, after, take) {
  let last = after;
  for (let pages = 0; pages < MOST_PAGES; pages += 1) {
    const { users } = await ask("GET", `${roomId}/users${last ? `?after=${encodeURIComponent(last)}` : ""}`, { key });
    if (!Array.isArray(users)) return;
    await take(users);
    const id = users.at(-1)?.id;
    if (users.length < PAGE || typeof id !== "string" || id === last) return;
    last = id;
  }
}

/**
 * @param {string} roomId
 * @param {string} key  the owner's
 */
export const renewInvite = (roomId, key) => ask("POST", `${roomId}/invite`, { key });

/**
 * @param {string} roomId
 * @param {string} key  the owner's
 */
export const invites = (roomId, key) => ask("GET", `${roomId}/invites`, { key });

/**
 * @param {string} roomId
 * @param {string} key  the owner's
 * @param {Record<string, unknown>} body
 */
export const createInvite = (roomId, key, body) => ask("POST", `${roomId}/invites`, { key, body });

/**
 * @param {string} roomId
 * @param {string} key  the owner's
 * @param {string} id
 */
export const revokeInvite = (roomId, key, id) => ask("DELETE", `${roomId}/invites/${encodeURIComponent(id)}`, { key });
