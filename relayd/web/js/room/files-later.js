/** Files, whose modules are loaded when the first file is offered: most rooms never have one. */

import { Problem } from "../problem.js";
import { encodeBase64url, newId, randomBytes } from "../wire/bytes.js";
import { cleanFileName } from "./clean.js";
import { newFile } from "./offer.js";

/** @typedef {import("./files.js").Files} Files */

const MOST_FIDS = 65_536; // more than lines, so that none is forgotten while its offer is shown

export class FilesLater {
  #inside;
  /** @type {Promise<Files> | null} */ #loading = null;
  /** @type {WeakMap<Line, {offer: Offer, epoch: number}>} */ #offers = new WeakMap();
  /** @type {Set<string>} */ #fids = new Set(); // of every offer, those of this page too
  /** @type {WeakMap<Line, {file: File, to: string | null}>} */ #offered = new WeakMap();

  /** @param {import("./membership.js").Membership} inside */
  constructor(inside) {
    this.#inside = inside;
    inside.lines.onOffer = (line, offer, { epoch }) => this.#onOffer(line, offer, epoch);
    inside.lines.onDeleted = (line) => {
      if (this.#loading) this.#do((files) => files.letGo(line)).catch(() => {});
    };
  }

  /**
   * @param {File} file
   * @param {string | null} to
   * @returns {string} the key of its line
   * @throws {Problem} `files_off`, `file_too_large`
   */
  offer(file, to) {
    const { lines, store } = this.#inside;
    const { settings } = store.state.details;
    if (!settings.files) throw new Problem("files_off");
    if (settings.max_file && file.size > settings.max_file) throw new Problem("file_too_large");
    const id = newId();
    const state = newFile(encodeBase64url(randomBytes(16)), cleanFileName(file.name), file.size, file.type);
    const line = lines.makeFile(Object.assign(state, { phase: "hashing" }), id, to);
    this.#remember(state.fid);
    this.#offered.set(line, { file, to });
    store.add(line);
    this.#do((files) => files.offer(line, id, file, to)).catch(() => {
      Object.assign(line, { status: "failed", problem: new Problem("server_away") });
      store.settle(line);
    });
    return line.key;
  }

  /** Offers again what could not be offered.
   * @param {Line} line
   */
  offerAgain(line) {
    const offered = this.#offered.get(line);
    if (offered) this.offer(offered.file, offered.to);
  }

  /**
   * @param {Line | undefined} line
   * @param {boolean} unasked
   */
  accept(line, unasked) {
    const offered = line && this.#offers.get(line);
    if (!offered) return;
    this.#do((files) => files.accept(line, offered.offer, offered.epoch, unasked)).catch(() => {});
  }

  /** @param {Line | undefined} line */
  cancel(line) {
    if (line) this.#do((files) => files.cancel(line)).catch(() => {});
  }

  /** The first who names a file is believed; whoever names it again, when it cannot be theirs, offers nothing.
   * @param {Line} line
   * @param {Offer} offer
   * @param {number} epoch
   */
  #onOffer(line, offer, epoch) {
    if (this.#fids.has(offer.fid)) Object.assign(offer.state, { phase: "ended", problem: new Problem("file_gone") });
    else this.#offers.set(line, { offer, epoch });
    this.#remember(offer.fid);
  }

  /** @param {string} fid */
  #remember(fid) {
    this.#fids.add(fid);
    if (this.#fids.size > MOST_FIDS) this.#fids.delete(this.#fids.values().next().value ?? "");
  }

  /** In the order asked for: a promise keeps it.
   * @param {(files: Files) => unknown} job
   * @returns {Promise<unknown>} rejects if the modules cannot be had now
   */
  #do(job) {
    this.#loading ??= import("./files.js").then(({ Files }) => new Files(this.#inside));
    this.#loading.catch(() => {
      this.#loading = null; // the next one tries again
    });
    return this.#loading.then(job);
  }
}
