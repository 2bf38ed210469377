/**
 * Who this device is in which room, kept in IndexedDB so that tabs share it and a reload comes back. Private keys are
 * WebCrypto's and cannot be read from there. What is kept goes with the room: on leaving, and when it is over.
 */

import { fromStored, toStored } from "../seal/user-key.js";
import { formatLink, parseLink } from "../wire/link.js";

const STORE = "rooms";
const RETENTION_MS = 25 * 3_600_000; // a room exists for a day at most; an hour more for imprecise clocks

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
  return (await stored(roomId)) ?? inMemory.get(roomId) ?? null;
}

/**
 * @param {string} roomId
 * @returns {Promise<Identity | null>}
 */
async function stored(roomId) {
  const record = /** @type {StoredIdentity | null} */ (await inStore("readonly", (store) => store.get(roomId)));
  if (!record) return null;
  try {
    return { ...record, user: record.user && (await fromStored(record.user)) };
  } catch {
    return null; // its key is unusable
  }
}

/** Takes the keys of a voice, which may have begun a new epoch, and the link that goes with them.
 * @param {Identity} identity
 * @param {Voice} voice
 */
export function takeKeys(identity, voice) {
  if (!("secret" in voice) || !voice.secret || !identity.access) return;
  identity.link = formatLink({ ...parseLink(identity.link), secret: voice.secret });
  identity.access.epoch = voice.epoch;
}

/**
 * @param {Identity} identity
 * @returns {Promise<boolean>} whether it was stored: it is read back, as browsers lose some records without an error
 */
export async function save(identity) {
  inMemory.set(identity.roomId, identity);
  const record = { ...identity, user: identity.user && toStored(identity.user) };
  await inStore("readwrite", (store) => store.put(record));
  const read = await stored(identity.roomId);
  const has = (/** @type {{privateKey: CryptoKey} | null | undefined} */ pair) => pair?.privateKey instanceof CryptoKey;
  return read !== null && (!identity.user || has(read.user)) && (!identity.ownerPair || has(read.ownerPair));
}

/** @param {string} roomId */
export async function forget(roomId) {
  inMemory.delete(roomId);
  await inStore("readwrite", (store) => store.delete(roomId));
}

/** Deletes the records of rooms that cannot exist any more.
 * @param {ClockReadings} now
 */
export async function forgetPast(now) {
  const all = /** @type {(StoredIdentity | null)[] | null} */ (await inStore("readonly", (store) => store.getAll()));
  for (const record of all ?? []) {
    if (!record) continue; // unreadable: WebKit, with an X25519 key
    // Records of relayd 0.1.0 have no such time: their rooms end within a day from now.
    if (!record.lastSeenAt) await inStore("readwrite", (store) => store.put({ ...record, lastSeenAt: now }));
    else if (hasExpired(record.lastSeenAt, now)) await forget(record.roomId);
  }
}

/**
 * Whether both clocks show that the room has ended. One alone may be wrong, the device's by days.
 * @param {ClockReadings} lastSeenAt
 * @param {ClockReadings} now
 */
const hasExpired = (lastSeenAt, now) =>
  Math.min(now.server - lastSeenAt.server, now.device - lastSeenAt.device) > RETENTION_MS;
