/** Files of others: asked for piece by piece, as fast as they are put away, and believed only when whole. */

import { Problem, waitMs } from "../problem.js";
import { Pass } from "../seal/files.js";
import { TAG_BYTES } from "../seal/bodies.js";
import { decodeBase64url, encodeBase64url } from "../wire/bytes.js";
import { decodeChunk } from "../wire/chunks.js";
import { Sha256 } from "../wire/sha256.js";
import { blobType, chunksOf } from "./offer.js";
import { Serial } from "./serial.js";
import { Turns } from "./turns.js";
import { Verdicts } from "./verdicts.js";

const SMALLEST_WINDOW = 2;
const LARGEST_WINDOW = 8;
const WINDOW_S = 0.25; // so long may chat have to wait behind a file
const GRANT_EVERY = 2;
const MOST_KNOWN = 2000; // offers; the oldest can no longer be accepted
const FRESH = 64; // chunks kept apart before they become a part
const PATIENCE_MS = 60_000; // for a sender who may be on the way back
const AGAIN_MS = 2000;

export class Receiving {
  #inside;
  #store;
  #salt;
  #turns;
  #verdicts;
  /** @type {Map<string, Coming>} */ #coming = new Map(); // by fid: accepted, and not at an end
  /** @type {Map<string, Coming>} */ #known = new Map(); // by fid: every offer, with what came of it

  /**
   * @param {import("./membership.js").Membership} inside
   * @param {Bytes | null} salt  of a sealed room
   */
  constructor(inside, salt) {
    this.#inside = inside;
    this.#store = inside.store;
    this.#salt = salt;
    this.#verdicts = new Verdicts(inside);
    this.#turns = new Turns(inside, (coming) => this.#ask(coming), (coming) => this.#giveWay(coming));
  }

  /** Somebody offers a file.
   * @param {Line} line
   * @param {Offer} offer
   * @param {number} epoch
   */
  onOffer(line, offer, epoch) {
    // The first offer of a name counts: nobody else may speak for it.
    if (this.#known.has(offer.fid)) return;
    this.#known.set(offer.fid, { line, offer, epoch, ...nothing() });
    for (const [fid, { line: old }] of this.#known) {
      if (this.#known.size <= MOST_KNOWN) break;
      if (!this.#coming.has(fid) && old !== line) this.#known.delete(fid);
    }
  }

  /**
   * @param {Line} line
   * @param {boolean} unasked  nobody has pressed a button for it
   */
  accept(line, unasked) {
    const coming = this.#known.get(line.file?.fid ?? "");
    if (coming?.line !== line) return;
    const { phase } = stateOf(coming);
    if (phase === "waiting" && !unasked) coming.unasked = false;
    else if (["offered", "failed", "cancelled"].includes(phase)) {
      Object.assign(coming, phase === "failed" ? nothing() : {}, { unasked });
      this.#coming.set(coming.offer.fid, coming);
      this.#setPhase(coming, "waiting");
      this.#turns.add(coming);
    }
    this.#turns.fill();
  }

  /** @param {Line} line */
  cancel(line) {
    const coming = this.#coming.get(line.file?.fid ?? "");
    if (coming?.line !== line) return;
    this.#sendCancel(coming);
    this.#end(coming, "cancelled");
  }

  /** There is a connection (again): what is missing is asked for. */
  onCaughtUp() {
    this.#verdicts.onCaughtUp();
    for (const coming of this.#turns.active) this.#ask(coming);
    this.#turns.fill();
  }

  /** The connection is lost. */
  onShut() {
    for (const coming of this.#turns.active) if (coming.index) this.#setPhase(coming, "paused");
  }

  /** @param {Frame} frame */
  onFrame(frame) {
    const coming = this.#coming.get(frame.fid);
    if (!coming) {
      const known = this.#known.get(frame.fid);
      if (known && frame.event === "ended" && stateOf(known).phase !== "done") this.#setPhase(known, "ended");
      return;
    }
    if (frame.event === "paused") this.#setPhase(coming, "paused");
    else if (frame.event === "ended") this.#end(coming, "ended");
    else if (frame.code === "no_such_file") this.#onNoSuchFile(coming);
    else if (frame.code === "too_many_files" || frame.code === "rate_limited") {
      setTimeout(() => this.#askAgain(coming), waitMs(frame.retry_after_ms) || AGAIN_MS);
    } else if (frame.type === "error") this.#end(coming, "failed", new Problem(frame.code));
  }

  /** @param {ArrayBuffer} buffer */
  onChunk(buffer) {
    const chunk = decodeChunk(buffer);
    const coming = chunk && this.#coming.get(chunk.fid);
    if (!chunk || !coming) return;
    coming.serial.run(() => this.#take(coming, chunk)).catch((error) => {
      const problem = error instanceof Problem ? error : new Problem("storage_full", String(error));
      this.#sendCancel(coming);
      this.#end(coming, "failed", problem);
    });
  }

  /** Others wait, and nothing comes of this one.
   * @param {Coming} coming
   */
  #giveWay(coming) {
    this.#sendCancel(coming);
    this.#setPhase(coming, "waiting");
  }

  /** @param {Coming} coming */
  #sendCancel({ offer: { fid } }) {
    if (this.#inside.isIn) this.#inside.speaker.send({ type: "cancel", fid });
  }

  /** @param {Coming} coming */
  #ask(coming) {
    coming.beganAt = Date.now();
    coming.beganWith = stateOf(coming).bytes;
    coming.upto = this.#window(coming);
    this.#inside.speaker.send({ type: "accept", fid: coming.offer.fid, from: coming.index, upto: coming.upto });
  }

  /** @param {Coming} coming */
  #askAgain(coming) {
    if (this.#inside.isIn && this.#turns.active.has(coming)) this.#ask(coming);
  }

  /** Up to where there is room: what comes in a quarter of a second.
   * @param {Coming} coming
   */
  #window({ index, offer, line }) {
    const wanted = Math.ceil(((line.file?.rate ?? 0) * WINDOW_S) / offer.chunk) || LARGEST_WINDOW;
    const window = Math.min(LARGEST_WINDOW, Math.max(SMALLEST_WINDOW, wanted));
    return Math.min(chunksOf(offer), index + window);
  }

  /** The sender may be on the way back, or gone for good.
   * @param {Coming} coming
   */
  #onNoSuchFile(coming) {
    coming.lostAt ||= Date.now();
    const isGone = !this.#inside.roster.users.has(coming.line.author?.id ?? "");
    if (isGone || Date.now() - coming.lostAt > PATIENCE_MS) this.#end(coming, "ended", new Problem("file_gone"));
    else setTimeout(() => this.#askAgain(coming), AGAIN_MS);
  }

  /**
   * @param {Coming} coming
   * @param {Chunk} chunk
   */
  async #take(coming, chunk) {
    const { offer } = coming;
    // Still under way when it was cancelled, or from before a stream of its own began.
    if (!this.#turns.active.has(coming) || chunk.index < coming.index) return;
    coming.heardAt = Date.now();
    const last = coming.index === chunksOf(offer) - 1;
    const size = last ? offer.size - coming.index * offer.chunk : offer.chunk;
    const fits = chunk.index === coming.index && chunk.last === last;
    if (!fits || chunk.data.length !== size + (offer.key ? TAG_BYTES : 0)) throw new Problem("file_broken");
    const data = await this.#open(coming, chunk);
    if (!this.#turns.active.has(coming)) return; // cancelled meanwhile
    coming.hash.update(data);
    coming.fresh.push(data);
    coming.index += 1;
    coming.lostAt = 0;
    if (coming.fresh.length >= FRESH) coming.parts.push(new Blob(coming.fresh.splice(0)));
    this.#count(coming, data.length);
    if (last) this.#finish(coming);
    else if (coming.index % GRANT_EVERY === 0) this.#grant(coming);
  }

  /**
   * @param {Coming} coming
   * @param {Chunk} chunk
   */
  async #open(coming, { stream, pass, index, last, data }) {
    const { key, fid } = coming.offer;
    if (!key || !this.#salt) return data;
    const name = `${stream} ${pass}`;
    if (coming.pass !== name) {
      const offer = { key, fid: /** @type {Bytes} */ (decodeBase64url(fid)), epoch: coming.epoch, salt: this.#salt };
      Object.assign(coming, { pass: name, cipher: await Pass.begin(offer, pass) });
    }
    const opened = await coming.cipher?.open(index, last, data);
    if (!opened) throw new Problem("file_broken", "a chunk could not be opened");
    return opened;
  }

  /**
   * @param {Coming} coming
   * @param {number} bytes
   */
  #count(coming, bytes) {
    const state = stateOf(coming);
    state.bytes += bytes;
    state.phase = "receiving";
    const seconds = (Date.now() - coming.beganAt) / 1000;
    if (seconds > WINDOW_S) state.rate = (state.bytes - coming.beganWith) / seconds;
    this.#store.progress(coming.line);
  }

  /** @param {Coming} coming */
  #grant(coming) {
    const upto = this.#window(coming);
    if (upto <= coming.upto || !this.#inside.isIn) return;
    coming.upto = upto;
    this.#inside.speaker.send({ type: "grant", fid: coming.offer.fid, upto });
  }

  /** @param {Coming} coming */
  #finish(coming) {
    const { offer, parts, fresh, hash } = coming;
    const ok = encodeBase64url(hash.digest()) === offer.sha256;
    this.#verdicts.tell(offer.fid, ok, chunksOf(offer) - 1);
    if (ok) stateOf(coming).url = URL.createObjectURL(new Blob([...parts, ...fresh], { type: blobType(offer.state) }));
    this.#end(coming, ok ? "done" : "failed", ok ? null : new Problem("file_broken", "it is not the file offered"));
  }

  /**
   * @param {Coming} coming
   * @param {FilePhase} phase
   * @param {Problem | null} [problem]
   */
  #end(coming, phase, problem = null) {
    this.#coming.delete(coming.offer.fid);
    // What was cancelled goes on from where it stopped; everything else is let go.
    if (phase !== "cancelled") Object.assign(coming, { parts: [], fresh: [] });
    if (phase === "failed") stateOf(coming).bytes = 0;
    this.#setPhase(coming, phase, problem);
    this.#turns.remove(coming);
  }

  /**
   * @param {Coming} coming
   * @param {FilePhase} phase
   * @param {Problem | null} [problem]
   */
  #setPhase(coming, phase, problem = null) {
    Object.assign(stateOf(coming), { phase, problem });
    this.#store.change(coming.line);
  }
}

/** @param {Coming} coming */
const stateOf = (coming) => coming.offer.state;

/** What has come of a file before anything has. */
const nothing = () => ({
  index: 0, upto: 0, parts: [], fresh: [], hash: new Sha256(), pass: "", cipher: null, serial: new Serial(), beganAt: 0,
  beganWith: 0, lostAt: 0, turnAt: 0, heardAt: 0, unasked: false,
});
