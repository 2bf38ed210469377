/** The room's invite, which the owner can renew: all of the owner's tabs must know the present one. */

import * as api from "../api.js";
import { Problem } from "../problem.js";
import { decodeBase64url } from "../wire/bytes.js";
import { formatLink, parseLink } from "../wire/link.js";
import { save } from "./identity.js";

export class Invite {
  #identity;
  #onLink;
  #tabs;

  /**
   * @param {Identity} identity
   * @param {() => void} onLink  the link has changed
   */
  constructor(identity, onLink) {
    this.#identity = identity;
    this.#onLink = onLink;
    this.#tabs = new BroadcastChannel(`relay ${identity.roomId}`);
    this.#tabs.onmessage = ({ data }) => this.#take(data);
  }

  /** Whether newer keys came with an invite key that this device was not given. */
  get isOld() {
    const { access, inviteEpoch } = this.#identity;
    return access !== null && access.epoch > inviteEpoch;
  }

  /** @throws {Problem} */
  async renew() {
    const { invite_key: inviteKey } = await api.renewInvite(this.#identity.roomId, this.#identity.ownerKey);
    await this.replace({ inviteKey, epoch: this.#identity.access?.epoch ?? 0 });
  }

  /** The room has another invite key.
   * @param {{inviteKey: unknown, epoch: number}} renewed  and the epoch of the room's keys that it goes with
   * @throws {Problem} `server_wrong`
   */
  async replace({ inviteKey, epoch }) {
    if (!decodeBase64url(String(inviteKey).slice(3), 16)) throw new Problem("server_wrong");
    this.#take({ inviteKey: String(inviteKey), epoch });
    this.#tabs.postMessage({ inviteKey, epoch });
    await save(this.#identity);
  }

  close() {
    this.#tabs.close();
  }

  /** @param {{inviteKey: string, epoch: number}} renewed */
  #take({ inviteKey, epoch }) {
    this.#identity.inviteEpoch = epoch;
    this.#identity.link = formatLink({ ...parseLink(this.#identity.link), inviteKey });
    this.#onLink();
  }
}
