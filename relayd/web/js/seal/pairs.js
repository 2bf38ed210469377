/** Key pairs, made by WebCrypto. */

const USAGES = /** @type {Record<"X25519" | "Ed25519", KeyUsage[]>} */ ({ X25519: ["deriveBits"], Ed25519: ["sign", "verify"] });
const ATTEMPTS = 8; // WebKitGTK 2.50 fails for 3 of 1,000 pairs of X25519 and 8 of 1,000 of Ed25519

/**
 * @param {"X25519" | "Ed25519"} algorithm
 * @param {boolean} extractable  of the private key
 * @returns {Promise<{pair: CryptoKeyPair, publicRaw: Bytes}>}
 */
export async function newPair(algorithm, extractable) {
  const pair = await generate(algorithm, extractable);
  return { pair, publicRaw: new Uint8Array(await crypto.subtle.exportKey("raw", pair.publicKey)) };
}

/**
 * @param {"X25519" | "Ed25519"} algorithm
 * @param {boolean} extractable
 */
async function generate(algorithm, extractable) {
  for (let attempt = 1; ; attempt++) {
    try {
      return /** @type {CryptoKeyPair} */ (await crypto.subtle.generateKey(algorithm, extractable, USAGES[algorithm]));
    } catch (error) {
      if (attempt === ATTEMPTS || !(error instanceof DOMException && error.name === "OperationError")) throw error;
    }
  }
}

/** Whether the owner signed `text`.
 * @param {Bytes} owner  public key
 * @param {Bytes} signature
 * @param {Bytes} text
 */
export async function isSigned(owner, signature, text) {
  try {
    const key = await crypto.subtle.importKey("raw", owner, "Ed25519", false, ["verify"]);
    return await crypto.subtle.verify("Ed25519", key, signature, text);
  } catch {
    return false;
  }
}
