/** What senders are told of their files once these are here: until the relay has heard it, whatever becomes of the line. */

const PATIENCE_MS = 10_000; // for a sender who is on the way back
const AGAIN_MS = 2000;

export class Verdicts {
  #inside;
  /** @type {Set<Verdict>} */ #untold = new Set();

  /** @param {import("./membership.js").Membership} inside */
  constructor(inside) {
    this.#inside = inside;
  }

  /**
   * @param {string} fid
   * @param {boolean} ok
   * @param {number} last
   */
  tell(fid, ok, last) {
    this.#tell({ fid, ok, last, until: 0 });
  }

  /** There is a connection again. */
  onCaughtUp() {
    for (const verdict of this.#untold) {
      verdict.until = Date.now() + PATIENCE_MS;
      this.#tellAgain(verdict);
    }
  }

  /** @param {Verdict} verdict */
  #tell(verdict) {
    const { fid, ok, until } = verdict;
    this.#untold.delete(verdict);
    this.#inside.speaker.command({ type: "done", fid, ok }).catch(({ code }) => {
      if (code === "not_connected" || code === "unconfirmed") this.#untold.add(verdict);
      else if (code === "no_such_file" && Date.now() < until) setTimeout(() => this.#tellAgain(verdict), AGAIN_MS);
    });
  }

  /** A relay that has started anew since knows nothing of who has accepted what.
   * @param {Verdict} verdict
   */
  #tellAgain(verdict) {
    const { fid, last } = verdict;
    if (this.#inside.isIn) this.#inside.speaker.send({ type: "accept", fid, from: last, upto: last });
    this.#tell(verdict);
  }
}
