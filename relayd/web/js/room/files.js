/** Files of a room: own ones are served, those of others received. */

import { Problem } from "../problem.js";
import { newId } from "../wire/bytes.js";
import { Receiving } from "./receiving.js";
import { CHUNK_BYTES, Serving } from "./serving.js";

/** @typedef {import("../types.js").Line} Line */

export class Files {
  #inside;
  #serving;
  #receiving;
  /** @type {WeakMap<Line, {file: File, to: string | null}>} */ #offered = new WeakMap();

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
    inside.lines.onOffer = (line, offer, { epoch }) => this.#receiving.onOffer(line, offer, epoch);
    inside.lines.onDeleted = (line) => this.#letGo(line);
  }

  /**
   * @param {File} file
   * @param {string | null} to
   * @returns {string} the key of its line
   * @throws {Problem} `files_off`, `file_too_large`
   */
  offer(file, to) {
    const { lines, store, outbox } = this.#inside;
    const { settings } = store.state.details;
    if (settings?.files === false) throw new Problem("files_off");
    if (settings?.max_file && file.size > settings.max_file) throw new Problem("file_too_large");
    const id = newId();
    const { own, state } = this.#serving.prepare(file, to);
    const line = lines.makeFile(state, id, to);
    store.add(line);
    this.#offered.set(line, { file, to });
    const more = { file: { fid: own.fid, size: own.size, chunk: CHUNK_BYTES } };
    const onFailed = (/** @type {Problem} */ problem) => this.#fail(line, problem);
    this.#serving.body({ ...own, line }).then((body) => {
      const onSaid = (/** @type {{epoch: number}} */ { epoch }) => {
        lines.acknowledge(line, null, null);
        this.#serving.onSaid(own.fid, epoch);
      };
      if (body) outbox.add({ ...body }, to, { id, more, onSaid, onFailed });
    }).catch((problem) => onFailed(problem instanceof Problem ? problem : new Problem("file_changed")));
    return line.key;
  }

  /** Offers again what could not be offered.
   * @param {Line} line
   */
  offerAgain(line) {
    const offered = this.#offered.get(line);
    if (offered) this.offer(offered.file, offered.to);
  }

  /** @param {Line | undefined} line */
  accept(line) {
    if (line?.file) this.#receiving.accept(line.file.fid);
  }

  /** @param {Line | undefined} line */
  cancel(line) {
    if (!line?.file) return;
    if (!this.#serving.has(line.file.fid)) this.#receiving.cancel(line.file.fid);
    else this.#serving.withdraw(line.file.fid);
    if (line.status === "pending") this.#inside.store.remove(line);
  }

  /** @param {Line} line */
  #letGo(line) {
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
    if (line.file) this.#serving.withdraw(line.file.fid, problem);
    Object.assign(line, { status: "failed", problem });
    this.#inside.store.settle(line);
  }
}
