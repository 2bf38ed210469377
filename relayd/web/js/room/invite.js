/** The room's invite, which the owner can renew: all of the owner's tabs must know the present one. */

import * as api from "../api.js";
import { Problem } from "../problem.js";
import { decodeBase64url } from "../wire/bytes.js";
import { formatLink, parseLink } from "../wire/link.js";
import { cleanText } from "./clean.js";
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
    requireKey(inviteKey);
    this.#take({ inviteKey: String(inviteKey), epoch });
    this.#tabs.postMessage({ inviteKey, epoch });
    await save(this.#identity);
  }

  /**
   * @returns {Promise<Invitation[]>}
   * @throws {Problem}
   */
  async list() {
    const { invites } = await api.invites(this.#identity.roomId, this.#identity.ownerKey);
    return (Array.isArray(invites) ? invites : []).filter((invite) => typeof Object(invite).id === "string").map(readInvitation);
  }

  /**
   * @param {{uses: number | null, expires: number | null, label: string}} limits
   * @returns {Promise<string>} the link
   * @throws {Problem}
   */
  async create(limits) {
    const { invite_key: inviteKey } = await api.createInvite(this.#identity.roomId, this.#identity.ownerKey, limits);
    requireKey(inviteKey);
    return formatLink({ ...parseLink(this.#identity.link), inviteKey });
  }

  /** @param {string} id */
  revoke(id) {
    return api.revokeInvite(this.#identity.roomId, this.#identity.ownerKey, id);
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

/**
 * @param {unknown} key
 * @throws {Problem} `server_wrong`: no invite key
 */
function requireKey(key) {
  if (!decodeBase64url(String(key).slice(3), 16)) throw new Problem("server_wrong");
}

/** @param {Record<string, any>} invite  as the server tells it  @returns {Invitation} */
function readInvitation({ id, label, uses, uses_left: usesLeft, expires }) {
  const number = (/** @type {unknown} */ value) => (Number.isFinite(value) ? Number(value) : null);
  const inS = number(expires);
  return { id, label: cleanText(String(label ?? "")).slice(0, 64), uses: number(uses), usesLeft: number(usesLeft), expiresAt: inS === null ? null : Date.now() + 1000 * inS };
}
