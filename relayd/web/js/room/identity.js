/**
 * Who this device is in which room, kept in IndexedDB so that tabs share it and a reload comes back. Private keys are
 * WebCrypto's and cannot be read from there. What is kept goes with the room: on leaving, and when it is over.
 */

import { formatLink, parseLink } from "../wire/link.js";

/** @typedef {import("../wire/bytes.js").Bytes} Bytes */
/**
 * @typedef {object} Identity
 * @property {string} roomId
 * @property {string} session
 * @property {string} nick
 * @property {string} name  the room's
 * @property {number} endsAt  ms since 1970
 * @property {string} link  the present one
 * @property {string} ownerKey  `ro_...` or ""
 * @property {import("../seal/keys.js").OwnerKey | null} ownerPair
 * @property {import("../seal/hpke.js").UserKey | null} user
 * @property {Bytes | null} passwordKey  the stretched password, not itself
 * @property {{salt: Bytes, owner: Bytes | null, password: boolean, epoch: number} | null} access  of a sealed room, and
 *     the epoch that `link` is of
 */

const STORE = "rooms";
// A clock that is a little off must not forget a room that is still open.
const KEPT_BEYOND_MS = 3_600_000;

/** @type {Map<string, Identity>} */
const inMemory = new Map(); // where there is no IndexedDB: private windows of some browsers

/** @type {Promise<IDBDatabase | null> | null} */
let opened = null;

function open() {
  opened ??= new Promise((resolve) => {
    try {
      const request = indexedDB.open("relay", 1);
      request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "roomId" });
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => resolve(null);
      request.onblocked = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
  return opened;
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} job
 * @returns {Promise<T | null>} null where there is no database, or it failed
 */
async function inStore(mode, job) {
  const database = await open();
  if (!database) return null;
  return new Promise((resolve) => {
    try {
      const transaction = database.transaction(STORE, mode);
      const request = job(transaction.objectStore(STORE));
      transaction.oncomplete = () => resolve(request.result);
      transaction.onabort = () => resolve(null);
    } catch {
      resolve(null);
    }
  });
}

/**
 * @param {string} roomId
 * @returns {Promise<Identity | null>}
 */
export async function load(roomId) {
  return (await inStore("readonly", (store) => store.get(roomId))) ?? inMemory.get(roomId) ?? null;
}

/** Takes the keys of a voice, which may have begun a new epoch, and the link that goes with them.
 * @param {Identity} identity
 * @param {import("./voice.js").Voice} voice
 */
export function takeKeys(identity, voice) {
  if (!("secret" in voice) || !voice.secret || !identity.access) return;
  identity.link = formatLink({ ...parseLink(identity.link), secret: voice.secret });
  identity.access.epoch = voice.epoch;
}

/** @param {Identity} identity */
export async function save(identity) {
  inMemory.set(identity.roomId, identity);
  await inStore("readwrite", (store) => store.put(identity));
}

/** @param {string} roomId */
export async function forget(roomId) {
  inMemory.delete(roomId);
  await inStore("readwrite", (store) => store.delete(roomId));
}

/** Forgets the rooms that are over by now. */
export async function forgetPast() {
  const all = /** @type {Identity[] | null} */ (await inStore("readonly", (store) => store.getAll()));
  const past = (all ?? []).filter(({ endsAt }) => endsAt + KEPT_BEYOND_MS < Date.now());
  await Promise.all(past.map(({ roomId }) => forget(roomId)));
}
