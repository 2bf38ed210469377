/** SHA-256 piece by piece (FIPS 180-4), for files: WebCrypto wants all of a file in memory, and https. */

const K = new Int32Array(64);
const START = new Int32Array(8);
const WORDS = new Int32Array(64); // of the block in work: nothing is awaited meanwhile

// The constants are the first 32 bits of the fractional parts of cube and square roots of the first primes.
for (let found = 0, candidate = 2; found < 64; candidate += 1) {
  let isPrime = true;
  for (let divisor = 2; divisor * divisor <= candidate; divisor += 1) isPrime &&= candidate % divisor !== 0;
  if (!isPrime) continue;
  if (found < 8) START[found] = (candidate ** (1 / 2) % 1) * 2 ** 32;
  K[found] = (candidate ** (1 / 3) % 1) * 2 ** 32;
  found += 1;
}

export class Sha256 {
  #state = START.slice();
  #block = new Uint8Array(64);
  #view = new DataView(this.#block.buffer);
  #filled = 0;
  #length = 0;

  /** @param {Uint8Array} data */
  update(data) {
    const view = new DataView(data.buffer, data.byteOffset, data.length);
    this.#length += data.length;
    for (let at = 0; at < data.length; ) {
      if (!this.#filled && data.length - at >= 64) {
        compress(this.#state, view, at);
        at += 64;
        continue;
      }
      const take = Math.min(64 - this.#filled, data.length - at);
      this.#block.set(data.subarray(at, at + take), this.#filled);
      this.#filled = (this.#filled + take) % 64;
      at += take;
      if (!this.#filled) compress(this.#state, this.#view, 0);
    }
    return this;
  }

  /** The digest of all that came; the end of it. */
  digest() {
    const bits = this.#length * 8;
    this.update(Uint8Array.of(0x80));
    if (this.#filled > 56) this.update(new Uint8Array(64 - this.#filled));
    this.#block.fill(0, this.#filled);
    this.#view.setUint32(56, Math.floor(bits / 2 ** 32));
    this.#view.setUint32(60, bits % 2 ** 32);
    compress(this.#state, this.#view, 0);
    const digest = new Uint8Array(32);
    this.#state.forEach((word, at) => new DataView(digest.buffer).setUint32(at * 4, word));
    return digest;
  }
}

/**
 * @param {Int32Array} state
 * @param {DataView} view
 * @param {number} at  where the block begins
 */
function compress(state, view, at) {
  const w = WORDS;
  for (let i = 0; i < 16; i += 1) w[i] = view.getInt32(at + i * 4);
  for (let i = 16; i < 64; i += 1) {
    const x = w[i - 15];
    const y = w[i - 2];
    const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
    const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
    w[i] = (w[i - 16] + s0 + w[i - 7] + s1) | 0;
  }
  let [a, b, c, d, e, f, g, h] = state;
  for (let i = 0; i < 64; i += 1) {
    const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + K[i] + w[i]) | 0;
    const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + t2) | 0;
  }
  state[0] += a;
  state[1] += b;
  state[2] += c;
  state[3] += d;
  state[4] += e;
  state[5] += f;
  state[6] += g;
  state[7] += h;
}
