/** A sealed room's voice: everything said is sealed before it is sent, and nothing is shown that was not. */

import { Problem } from "../problem.js";
import { Dropped, NotOpened } from "../seal/errors.js";
import { readAccess } from "../seal/keys.js";
import { Opener } from "../seal/opener.js";
import { makeRekey, takeRekey } from "../seal/rekey.js";
import { Sealer } from "../seal/sealer.js";
import { decodeBase64url } from "../wire/bytes.js";
import { steadyNow } from "./clock.js";

export class SealedVoice {
  sealed = true;
  #keys;
  #user;
  #owner;
  #me = "";
  /** @type {Opener | null} */ #opener = null;
  /** @type {Sealer | null} */ #sealer = null;
  /** @type {Map<string, {nick: string, key: string, epoch: number}>} */ #cards = new Map(); // the last believed ones
  /** @type {{nick: string, key: string} | null} */ #own = null;
  /** @type {Bytes | null} */ secret = null; // of the link, if it has changed since the start
  #hasKnocked = false; // on the present socket
  #superseded = false; // the server told of newer keys that this page could not take

  /**
   * @param {import("../seal/keys.js").RoomKeys} keys
   * @param {UserKey} user
   * @param {OwnerKey | null} owner
   */
  constructor(keys, user, owner) {
    this.#keys = keys;
    this.#user = user;
    this.#owner = owner;
  }

  get epoch() {
    return this.#keys.epoch;
  }

  get proof() {
    return this.#keys.proof;
  }

  /** Whether this device holds the pair that signs new epochs. */
  get canRekey() {
    return this.#owner !== null && String(this.#keys.owner) === String(this.#owner.publicRaw);
  }

  get salt() {
    return this.#keys.salt;
  }

  /** None: a card is sealed after the server has answered the check.
   * @param {string} _nick
   */
  joinProfile(_nick) {
    return null;
  }

  /** Checks that the server knows the room, and seals a card for those who may let this user in.
   * @param {Frame} room  its details
   * @param {string} nick
   */
  async knock(room, nick) {
    this.#keys.confirm(sealedAccess(room));
    this.#sealer = new Sealer(this.#keys, this.#user);
    this.#hasKnocked = true;
    return this.#sealer.card(nick);
  }

  /** Checks that the server knows the room, and draws a new sid for a new socket.
   * @param {Frame} joined
   */
  async welcome(joined) {
    const sealer = this.#hasKnocked ? this.#sealer : null; // a socket keeps to one sid
    this.#hasKnocked = false;
    this.#sealer = null;
    const access = sealedAccess(joined.room);
    if (joined.rekey !== undefined && joined.rekey !== null) await this.takeRekey(joined.rekey);
    this.#keys.confirm(access);
    this.#me = joined.you.id;
    this.#opener ??= new Opener(this.#keys, this.#user, this.#me, Date.now());
    this.#sealer = sealer ?? new Sealer(this.#keys, this.#user);
    this.#opener.addSealer(this.#sealer);
  }

  get author() {
    return this.#opener?.own ?? "";
  }

  /** @param {string} nick */
  profile(nick) {
    this.#own = { nick, key: this.author };
    return this.#speaking.card(nick);
  }

  /** @param {Outgoing} said */
  async message(said) {
    if (said.to === null) return this.#speaking.message(said.id, said.body, said.at);
    const key = decodeBase64url(this.#keyOf(said.to), 32);
    if (!key) throw new Problem("no_card", "nothing can be sealed to this user: their card has not come");
    return this.#speaking.direct(key, said.id, said.body, said.at);
  }

  /**
   * @param {string} kind
   * @param {unknown} data
   */
  async signal(kind, data) {
    return { kind: "sealed", data: await this.#speaking.signal(kind, data) };
  }

  /**
   * Never fails: no card yet, one of an older epoch, a forgery: none of them changes what is known.
   * @param {Frame} shape
   * @param {number} place
   */
  async readUser(shape, place) {
    const card = await this.#hearing.card(shape.id, shape.profile, place).catch(onlyUnbelieved);
    if (card) this.#cards.set(shape.id, card);
    // Of oneself: another tab's card has the same key, and may say another nick. An owner's other device has a key of
    // its own; this page is called what it calls itself.
    if (card && shape.id === this.#me && card.key === this.author) this.#own = card;
    return (shape.id === this.#me ? this.#own : this.#cards.get(shape.id)) ?? { nick: "", key: "" };
  }

  /** Somebody who waits to be let in.
   * @param {Frame} shape
   * @param {number} place
   */
  async readNewcomer(shape, place) {
    return (await this.#hearing.newcomerCard(shape.id, shape.profile, place).catch(onlyUnbelieved)) ?? { nick: "", key: "" };
  }

  /**
   * @param {Frame} frame
   * @param {number} place
   * @returns {Promise<Said>}
   */
  async readMessage(frame, place) {
    const to = typeof frame.to === "string" ? frame.to : null;
    const { by, ...said } = await this.#hearing.message({ from: frame.from, id: frame.id, body: frame.body, place, to });
    return { author: by, ...said };
  }

  /**
   * @param {Frame} frame
   * @param {number} place
   */
  async readSignal(frame, place) {
    if (frame.kind !== "sealed") throw new NotOpened("it is not sealed");
    return this.#hearing.signal(frame.from, frame.data, place);
  }

  /**
   * A signal that only the owner can make.
   * @param {string} kind
   * @param {(owner: OwnerKey, keys: EpochKeys, slot: Slot) => Promise<unknown>} make  its data
   */
  async ownersSignal(kind, make) {
    const owner = this.#owner;
    if (!owner) throw new Problem("cannot_rekey");
    return { kind: "sealed", data: await this.#speaking.signalAt(kind, (keys, slot) => make(owner, keys, slot)) };
  }

  /** Whether this page may confirm its keys: it holds the owner's pair and knows of no newer keys. */
  get canConfirm() {
    return this.canRekey && !this.#superseded && !this.#keys.newerCame;
  }

  get ownerPublic() {
    return this.#keys.owner; // null in a room made with a plain password
  }

  /** Whether something came that is sealed with newer keys than this page has. */
  get newerKeysMissed() {
    return this.#keys.newerCame;
  }

  /** Whether that user's client has shown a card that is sealed with the present keys.
   * @param {string} user
   */
  hasConfirmed(user) {
    return user === this.#me || this.epoch === 0 || this.#cards.get(user)?.epoch === this.epoch;
  }

  /** Drops the keys of epochs that ended 2 minutes ago. */
  dropEndedKeys() {
    this.#keys.dropEnded(steadyNow());
  }

  /**
   * @param {Frame} told
   * @returns {Promise<boolean>} false if those keys are in use already
   * @throws {Problem} `rekey_refused`
   */
  async takeRekey(told) {
    const secret = await takeRekey(this.#keys, this.#user, told, steadyNow()).catch((problem) => {
      this.#superseded = true;
      throw problem;
    });
    if (!secret) return false;
    this.#superseded = false;
    this.secret = secret;
    return true;
  }

  /**
   * The fields of a `rekey` frame.
   * @param {Set<string>} keep  user ids of all in the room
   * @param {string} out  who is thrown out: no key ever seen of them gets a box
   */
  makeRekey(keep, out) {
    if (!this.#owner) throw new Problem("cannot_rekey");
    const without = this.#hearing.keysOf(out);
    const cards = new Map(
      [...this.#hearing.cardKeys()].filter(([id, key]) => keep.has(id) && id !== out && !without.includes(key)),
    );
    cards.set(this.#me, this.author);
    return makeRekey(this.#keys, this.#owner, cards);
  }

  /**
   * @param {string} author
   * @param {string} id
   */
  ref(author, id) {
    return { by: author, id };
  }

  /** @param {Frame} re */
  authorOf(re) {
    return re.by;
  }

  /** @param {string} author */
  userOf(author) {
    return this.#opener?.userOf(author) ?? "";
  }

  /** @param {string} user */
  canReach(user) {
    return this.#keyOf(user) !== "";
  }

  /** The room's safety code: takes a moment. */
  async roomCode() {
    const { codeWords, roomCode } = await loadCodes();
    return codeWords(await roomCode(this.#keys.current));
  }

  /**
   * @param {string} user
   * @throws {Problem} `no_card`
   */
  async personCode(user) {
    const key = decodeBase64url(this.#keyOf(user), 32);
    if (!key) throw new Problem("no_card", "no card of that user has come");
    const { codeWords, personCode } = await loadCodes();
    return codeWords(await personCode(key, this.#keys.salt));
  }

  /** @param {string} user */
  #keyOf(user) {
    return this.#opener?.keysOf(user).at(-1) ?? "";
  }

  get #speaking() {
    if (!this.#sealer) throw new Problem("not_connected", "the server has not shown yet that it knows this room");
    return this.#sealer;
  }

  get #hearing() {
    if (!this.#opener) throw new NotOpened("the server has not shown yet that it knows this room");
    return this.#opener;
  }
}

/**
 * @param {Frame} room  its details
 * @throws {Problem} `downgrade`
 */
function sealedAccess(room) {
  const access = readAccess(room);
  if (!access) throw new Problem("downgrade", "the link is of a sealed room, but the server shows an open one");
  return access;
}

/** With two lists of words: seldom asked for. */
const loadCodes = () =>
  import("../seal/codes.js").catch(() => {
    throw new Problem("server_away");
  });

/** @param {unknown} error */
function onlyUnbelieved(error) {
  if (error instanceof NotOpened || error instanceof Dropped) return null;
  throw error;
}
