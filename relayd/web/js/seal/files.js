/** Chunks of a file in a sealed room: one pass over it has one key. */

import { join, u32, u64, utf8 } from "../wire/bytes.js";
import { CHUNK, importAes, nonce } from "./bodies.js";
import { deriveKey } from "./derive.js";

/** Seals or opens the chunks of one pass. Its key hangs on `pass`, so a file that changed never repeats a nonce. */
export class Pass {
  #cipher;
  #bound;

  /**
   * @param {CryptoKey} cipher
   * @param {Bytes} bound
   */
  constructor(cipher, bound) {
    this.#cipher = cipher;
    this.#bound = bound;
  }

  /**
   * @param {{key: Bytes, fid: Bytes, epoch: number, salt: Bytes}} offer  `epoch`: in which the offer was sealed
   * @param {Bytes} pass  16 bytes, drawn by the sender
   */
  static async begin(offer, pass) {
    const key = await deriveKey(offer.key, "file", join(offer.fid, pass), offer.salt);
    const bound = join(utf8("relay/1\0"), Uint8Array.of(CHUNK), offer.salt, u32(offer.epoch), offer.fid);
    return new Pass(await importAes(key), bound);
  }

  /**
   * @param {number} index
   * @param {boolean} last
   */
  #how(index, last) {
    const additionalData = join(this.#bound, u64(index), Uint8Array.of(Number(last)));
    return { name: "AES-GCM", iv: nonce(index), additionalData };
  }

  /**
   * Only for a pass drawn here, each index once.
   * @param {number} index
   * @param {boolean} last
   * @param {Bytes} data
   */
  async seal(index, last, data) {
    return new Uint8Array(await crypto.subtle.encrypt(this.#how(index, last), this.#cipher, data));
  }

  /**
   * The data of a chunk; null if it is not that one of this pass.
   * @param {number} index
   * @param {boolean} last
   * @param {Bytes} sealed
   */
  async open(index, last, sealed) {
    const data = await crypto.subtle.decrypt(this.#how(index, last), this.#cipher, sealed).catch(() => null);
    return data && new Uint8Array(data);
  }
}
