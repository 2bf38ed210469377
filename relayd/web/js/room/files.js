/** Files of a room: own ones are served, those of others received. */

import { Problem } from "../problem.js";
import { Receiving } from "./receiving.js";
import { CHUNK_BYTES, Serving } from "./serving.js";

export class Files {
  #inside;
  #serving;
  #receiving;

  /** @param {import("./membership.js").Membership} inside */
  constructor(inside) {
    const salt = "salt" in inside.voice ? inside.voice.salt : null;
    this.#inside = inside;
    this.#serving = new Serving(inside, salt);
    this.#receiving = new Receiving(inside, salt);
    inside.onChunk = (chunk) => this.#receiving.onChunk(chunk);
    inside.onFileFrame = (frame) => (this.#serving.has(frame.fid) ? this.#serving : this.#receiving).onFrame(frame);
    inside.onCaughtUp = () => {
      this.#serving.onCaughtUp();
      this.#receiving.onCaughtUp();
    };
    inside.onShut = () => {
      this.#serving.onShut();
      this.#receiving.onShut();
    };
  }

  /** Offers a file whose line is shown already.
   * @param {Line} line
   * @param {string} id
   * @param {File} file
   * @param {string | null} to
   */
  async offer(line, id, file, to) {
    const { lines, outbox } = this.#inside;
    const own = this.#serving.prepare(line, file, to);
    const more = { file: { fid: own.fid, size: own.size, chunk: CHUNK_BYTES } };
    const onFailed = (/** @type {Problem} */ problem) => this.#fail(line, problem);
    const onSaid = (/** @type {{epoch: number}} */ { epoch }) => {
      lines.acknowledge(line, null, null);
      this.#serving.onSaid(own.fid, epoch);
    };
    try {
      const body = await this.#serving.body(own);
      if (body) outbox.add(body, to, { id, more, onSaid, onFailed });
    } catch (error) {
      onFailed(error instanceof Problem ? error : new Problem("file_changed"));
    }
  }

  /** Receives what somebody else offers.
   * @param {Line} line
   * @param {Offer} offer
   * @param {number} epoch
   * @param {boolean} unasked  nobody has pressed a button for it
   */
  accept(line, offer, epoch, unasked) {
    this.#receiving.onOffer(line, offer, epoch);
    this.#receiving.accept(line, unasked);
  }

  /** Ends what that very line began: another may name the same file.
   * @param {Line} line
   */
  cancel(line) {
    if (this.#serving.holds(line)) this.#serving.withdraw(line);
    else this.#receiving.cancel(line);
    if (line.status === "pending") this.#inside.store.remove(line);
  }

  /** Its author takes a line back.
   * @param {Line} line
   */
  letGo(line) {
    this.cancel(line);
    if (!line.file?.url) return;
    URL.revokeObjectURL(line.file.url);
    line.file.url = "";
  }

  /**
   * @param {Line} line
   * @param {Problem} problem
   */
  #fail(line, problem) {
    this.#serving.withdraw(line, problem);
    Object.assign(line, { status: "failed", problem });
    this.#inside.store.settle(line);
  }
}
