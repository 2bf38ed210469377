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

  /** @throws {Problem} */
  async renew() {
    const { invite_key: inviteKey } = await api.renewInvite(this.#identity.roomId, this.#identity.ownerKey);
    if (!decodeBase64url(String(inviteKey).slice(3), 16)) throw new Problem("server_wrong");
    this.#take(inviteKey);
    this.#tabs.postMessage(inviteKey);
    await save(this.#identity);
  }

  close() {
    this.#tabs.close();
  }

  /** @param {string} inviteKey */
  #take(inviteKey) {
    this.#identity.link = formatLink({ ...parseLink(this.#identity.link), inviteKey });
    this.#onLink();
  }
}
