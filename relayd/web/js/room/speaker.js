/** What a member sends: sealed if need be, one after the other, within the bounds of a frame. */

import { Problem } from "../problem.js";
import { newId, utf8 } from "../wire/bytes.js";
import { Answers } from "./answers.js";

const MAX_FRAME_BYTES = 65_536; // `max_message` of a server as it comes

export const CARD = "card"; // the id of `profile` frames

export class Speaker {
  answers = new Answers();
  isOpen = false; // what is said now goes out at once
  #connection;
  #serial;
  #voice;
  #identity;
  #state;
  #clock;

  /**
   * @param {import("./connection.js").Connection} connection
   * @param {import("./serial.js").Serial} serial
   * @param {Voice} voice
   * @param {Identity} identity
   * @param {RoomState} state
   * @param {import("./clock.js").Clock} clock
   */
  constructor(connection, serial, voice, identity, state, clock) {
    this.#connection = connection;
    this.#serial = serial;
    this.#voice = voice;
    this.#identity = identity;
    this.#state = state;
    this.#clock = clock;
  }

  /** Writes a frame.
   * @param {Frame} frame
   * @returns {boolean} whether it had a way to go
   * @throws {Problem} `too_long`: it would end the connection
   */
  send(frame) {
    const text = JSON.stringify(frame);
    // New keys for a large room are longer, and servers take them.
    if (frame.type !== "rekey" && utf8(text).length > MAX_FRAME_BYTES) throw new Problem("too_long");
    return this.#connection.send(text);
  }

  /** The owner's work.
   * @param {Frame} frame
   * @returns {Promise<Frame>} the `ok`
   * @throws {Problem} refused; `not_connected`, `unconfirmed`
   */
  command(frame) {
    const id = newId();
    if (!this.isOpen || !this.send({ ...frame, id })) return Promise.reject(new Problem("not_connected"));
    return this.answers.expect(id);
  }

  /** Something of the moment; without a connection, or under pressure, it is simply lost.
   * @param {string} kind
   * @param {unknown} data
   */
  signal(kind, data) {
    this.signalWith(() => this.#voice.signal(kind, data));
  }

  /** The same, with kind and data as they travel.
   * @param {() => Promise<{kind: string, data: unknown}>} make
   */
  signalWith(make) {
    if (!this.isOpen || this.#state.muted) return;
    this.#serial.run(async () => this.send({ type: "signal", ...(await make()) })).catch(() => {});
  }

  /** The nick is another. */
  showNick() {
    this.#serial.run(() => this.sendProfile()).catch(() => {});
  }

  /** Shows the present nick, and in a sealed room the key that goes with it. */
  async sendProfile() {
    const { nick } = this.#identity;
    this.send({ type: "profile", id: CARD, profile: await this.#voice.profile(nick) });
  }

  /**
   * Writes a message if there is a connection; else it is written when there is one again.
   * @param {Pending} pending
   */
  transmit(pending) {
    return this.#serial.run(async () => {
      if (!this.isOpen) return;
      const { id, to } = pending.said;
      const body = await this.#voice.message(pending.said);
      const { epoch } = this.#voice;
      if (!this.send({ type: "message", id, ...(to !== null && { to }), ...pending.more, body })) return;
      Object.assign(pending, { epoch, sentAt: pending.sentAt ?? this.#clock.now() });
    });
  }
}
