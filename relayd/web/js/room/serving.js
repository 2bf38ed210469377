/** Own files: offered once, read again for every stream that the server asks for. Nothing is stored on a server. */

import { Problem } from "../problem.js";
import { Pass } from "../seal/files.js";
import { decodeBase64url, encodeBase64url, randomBytes } from "../wire/bytes.js";
import { encodeChunk } from "../wire/chunks.js";
import { Sha256 } from "../wire/sha256.js";
import { blobType, chunksOf } from "./offer.js";

/** @typedef {{own: Own, pass: Bytes, cipher: Pass | null, next: number, upto: number, isRunning: boolean}} Stream */

export const CHUNK_BYTES = 61_440;
const HASHED_AT_ONCE = 1024 * 1024;
const BACKLOG_BYTES = 256 * 1024; // so much may wait in the socket: what is said meanwhile waits behind it
const BACKLOG_MS = 20;
const MOST_RECEIVERS = 1000; // a line names a few of them
/** @type {Map<unknown, "receiving" | "received" | "broken" | "cancelled">} */
const DELIVERIES = new Map([
  ["accepted", "receiving"], ["received", "received"], ["damaged", "broken"], ["cancelled", "cancelled"],
]);

export class Serving {
  #inside;
  #store;
  #salt;
  /** @type {Map<string, Own>} */ #own = new Map(); // by fid
  /** @type {Map<number, Stream>} */ #streams = new Map();

  /**
   * @param {import("./membership.js").Membership} inside
   * @param {Bytes | null} salt  of a sealed room
   */
  constructor(inside, salt) {
    this.#inside = inside;
    this.#store = inside.store;
    this.#salt = salt;
  }

  /** Whether this page serves that file.
   * @param {string} fid
   */
  has(fid) {
    return this.#own.has(fid);
  }

  /** Whether that very line offers a file of this page.
   * @param {Line} line
   */
  holds(line) {
    return this.#own.get(line.file?.fid ?? "")?.line === line;
  }

  /** Takes a file that is shown already.
   * @param {Line} line
   * @param {File} file
   * @param {string | null} to
   * @returns {Own}
   */
  prepare(line, file, to) {
    const state = /** @type {FileState} */ (line.file);
    if (state.image) state.url = URL.createObjectURL(file.slice(0, file.size, blobType(state)));
    const key = this.#salt ? randomBytes(32) : null;
    const own = { line, file, fid: state.fid, key, size: file.size, chunk: CHUNK_BYTES, to, epoch: 0, said: false };
    this.#own.set(own.fid, own);
    return own;
  }

  /** Hashes a file and gives the body that offers it.
   * @param {Own} own
   * @returns {Promise<Record<string, unknown> | null>} null if it was cancelled meanwhile
   * @throws {Problem} `file_changed`: it cannot be read
   */
  async body(own) {
    const { file, fid, key, size, chunk, line } = own;
    const state = /** @type {FileState} */ (line.file);
    const hash = new Sha256();
    for (let at = 0; at < size; at += HASHED_AT_ONCE) {
      hash.update(await read(file, at, Math.min(size, at + HASHED_AT_ONCE)));
      if (state.phase !== "hashing") return null;
      state.bytes = Math.min(size, at + HASHED_AT_ONCE);
      this.#store.progress(line);
    }
    const sha256 = encodeBase64url(hash.digest());
    const { name, type } = state;
    return { kind: "file", fid, name, size, type, sha256, chunk, ...(key && { key: encodeBase64url(key) }) };
  }

  /** The offer has been said.
   * @param {string} fid
   * @param {number} epoch
   */
  onSaid(fid, epoch) {
    const own = this.#own.get(fid);
    if (!own) return;
    Object.assign(own, { said: true, epoch });
    this.#setPhase(own, "serving");
  }

  /** Withdraws the offer of a line.
   * @param {Line} line
   * @param {Problem | null} [problem]
   */
  withdraw(line, problem = null) {
    const own = this.#own.get(line.file?.fid ?? "");
    if (own?.line !== line) return;
    const { fid } = own;
    if (own.said && this.#inside.isIn) this.#inside.speaker.send({ type: "cancel", fid });
    this.#end(own, problem);
  }

  /**
   * @param {Own} own
   * @param {Problem | null} [problem]
   */
  #end(own, problem = null) {
    this.#own.delete(own.fid);
    for (const [number, stream] of this.#streams) if (stream.own === own) this.#streams.delete(number);
    this.#setPhase(own, "ended", problem);
  }

  /** There is a connection (again): it serves the files of this page. */
  onCaughtUp() {
    for (const { fid, size, chunk, to, said } of this.#own.values()) {
      if (said) this.#inside.speaker.send({ type: "serve", fid, size, chunk, ...(to !== null && { to }) });
    }
  }

  /** The connection is lost, and its streams with it. */
  onShut() {
    this.#streams.clear();
  }

  /** @param {Frame} frame */
  onFrame(frame) {
    const own = this.#own.get(frame.fid);
    if (!own) return;
    if (frame.event === "send") this.#onSend(own, frame);
    else if (frame.event === "stop") this.#streams.delete(frame.stream);
    else if (frame.event === "ended") this.#end(own); // of itself: files are off, or this user is muted
    else if (frame.event === "accepted" || frame.event === "cancelled") this.#deliver(own, frame.user, frame.event);
    else if (frame.event === "received") this.#deliver(own, frame.user, frame.ok === true ? "received" : "damaged");
    else if (frame.event === "deliveries") this.#onDeliveries(own, frame.deliveries);
    // Refused when it was to be served again: nobody can have it any more. A chunk gone wrong is asked for anew.
    else if (frame.type === "error" && frame.code !== "bad_chunk") this.#end(own, new Problem(frame.code));
  }

  /** What was told while the connection was lost, perhaps.
   * @param {Own} own
   * @param {unknown} deliveries
   */
  #onDeliveries(own, deliveries) {
    if (typeof deliveries !== "object" || !deliveries) return;
    for (const [userId, delivery] of Object.entries(deliveries)) this.#deliver(own, userId, delivery);
  }

  /**
   * @param {Own} own
   * @param {Frame} frame
   */
  #onSend(own, { stream: number, from, upto }) {
    const known = this.#streams.get(number);
    const fits = [number, from, upto].every((value) => Number.isSafeInteger(value) && value >= 0);
    if (!fits || upto > chunksOf(own) || (known && known.own !== own)) return;
    const stream = known ?? { own, pass: randomBytes(16), cipher: null, next: from, upto, isRunning: false };
    stream.upto = Math.max(stream.upto, upto);
    this.#streams.set(number, stream);
    this.#run(number, stream).catch(() => this.withdraw(own.line, new Problem("file_changed")));
  }

  /** Sends what is asked for.
   * @param {number} number
   * @param {Stream} stream
   */
  async #run(number, stream) {
    if (stream.isRunning) return;
    stream.isRunning = true;
    const { own, pass } = stream;
    const { key, file, fid, size, chunk, epoch } = own;
    if (key && this.#salt) {
      stream.cipher ??= await Pass.begin({ key, fid: /** @type {Bytes} */ (decodeBase64url(fid)), epoch, salt: this.#salt }, pass);
    }
    while (stream.next < stream.upto && this.#streams.get(number) === stream) {
      const index = stream.next;
      stream.next += 1; // before anything is awaited: no index twice in a pass
      const last = index === chunksOf(own) - 1;
      const plain = await read(file, index * chunk, Math.min(size, (index + 1) * chunk));
      const data = stream.cipher ? await stream.cipher.seal(index, last, plain) : plain;
      while (this.#inside.connection.backlog > BACKLOG_BYTES) await new Promise((go) => setTimeout(go, BACKLOG_MS));
      if (this.#streams.get(number) !== stream) return;
      this.#inside.connection.send(encodeChunk({ last, stream: number, fid, pass, index, data }));
    }
    stream.isRunning = false;
  }

  /**
   * @param {Own} own
   * @param {unknown} userId
   * @param {unknown} delivery  as the relay calls it
   */
  #deliver(own, userId, delivery) {
    const state = DELIVERIES.get(delivery);
    if (!state) return;
    const { receivers } = /** @type {FileState} */ (own.line.file);
    if (typeof userId !== "string") return;
    const user = this.#inside.roster.known(userId);
    const known = receivers.find((receiver) => receiver.user.id === user.id);
    if (known) known.state = state;
    else if (receivers.length < MOST_RECEIVERS) receivers.push({ user, state });
    this.#store.change(own.line);
  }

  /**
   * @param {Own} own
   * @param {FilePhase} phase
   * @param {Problem | null} [problem]
   */
  #setPhase(own, phase, problem = null) {
    Object.assign(/** @type {object} */ (own.line.file), { phase, problem });
    this.#store.change(own.line);
  }
}

/**
 * @param {File} file
 * @param {number} from
 * @param {number} upto
 * @returns {Promise<Bytes>}
 */
async function read(file, from, upto) {
  const data = new Uint8Array(await file.slice(from, upto).arrayBuffer());
  if (data.length !== upto - from) throw new Problem("file_changed", "the file changed while it was read");
  return data;
}
