/**
 * QR codes (ISO/IEC 18004): byte mode, error correction M, versions 1 to 20; enough for 666 bytes of link.
 * Written after the standard's own steps; tests read its codes with an independent decoder.
 */

import { svg } from "./dom.js";

const MAX_VERSION = 20;
// Table 9 of the standard, level M, by version from 1: error correction bytes of a block, and number of blocks.
const CHECK_BYTES = [10, 16, 26, 18, 24, 16, 18, 22, 22, 26, 30, 22, 22, 24, 24, 28, 28, 26, 26, 26];
const BLOCKS = [1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16];

/** @type {((x: number, y: number) => boolean)[]} */
const MASKS = [
  (x, y) => (x + y) % 2 === 0,
  (_, y) => y % 2 === 0,
  (x) => x % 3 === 0,
  (x, y) => (x + y) % 3 === 0,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2 === 0,
  (x, y) => ((x * y) % 2) + ((x * y) % 3) === 0,
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2 === 0,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2 === 0,
];

/**
 * The modules of the code for `text`, without the quiet zone: rows of true (dark) and false.
 * @param {string} text
 * @returns {boolean[][]}
 * @throws {RangeError} more than fits into version 20
 */
export function qr(text) {
  const data = new TextEncoder().encode(text);
  const version = versionFor(data.length);
  const bits = interleave(codewords(data, version), version);
  /** @type {boolean[][]} */
  let best = [];
  let least = Infinity;
  for (let mask = 0; mask < MASKS.length; mask++) {
    const made = draw(bits, version, mask);
    const cost = penalty(made);
    if (cost < least) [best, least] = [made, cost];
  }
  return best;
}

/** @param {number} version  @returns {number} bytes for data and checks together */
function totalBytes(version) {
  let modules = (16 * version + 128) * version + 64;
  if (version >= 2) {
    const aligned = Math.floor(version / 7) + 2;
    modules -= (25 * aligned - 10) * aligned - 55;
  }
  return Math.floor((version >= 7 ? modules - 36 : modules) / 8);
}

/** @param {number} version */
const dataBytes = (version) => totalBytes(version) - CHECK_BYTES[version - 1] * BLOCKS[version - 1];

/** @param {number} version */
const lengthBits = (version) => (version < 10 ? 8 : 16);

/** @param {number} length  @returns {number} */
function versionFor(length) {
  for (let version = 1; version <= MAX_VERSION; version++) {
    if (4 + lengthBits(version) + 8 * length <= 8 * dataBytes(version)) return version;
  }
  throw new RangeError("too long for a QR code");
}

/** @param {Uint8Array} data  @param {number} version  @returns {Uint8Array} mode, length, data, padding */
function codewords(data, version) {
  const bytes = new Uint8Array(dataBytes(version));
  let at = 0;
  /** @param {number} value  @param {number} count */
  const put = (value, count) => {
    for (let bit = count - 1; bit >= 0; bit--, at++) bytes[at >> 3] |= ((value >> bit) & 1) << (7 - (at & 7));
  };
  put(4, 4);
  put(data.length, lengthBits(version));
  for (const byte of data) put(byte, 8);
  for (let index = Math.ceil(at / 8), pad = 0xec; index < bytes.length; index++, pad ^= 0xec ^ 0x11) bytes[index] = pad;
  return bytes;
}

/** @param {number} x  @param {number} y  @returns {number} their product in GF(256) over 0x11d */
function times(x, y) {
  let product = 0;
  for (let bit = 7; bit >= 0; bit--) {
    product = (product << 1) ^ ((product >> 7) * 0x11d);
    product ^= ((y >> bit) & 1) * x;
  }
  return product;
}

/** @param {Uint8Array} data  @param {Uint8Array} divisor  @returns {Uint8Array} the Reed-Solomon remainder */
function remainder(data, divisor) {
  const rest = new Uint8Array(divisor.length);
  for (const byte of data) {
    const factor = byte ^ rest[0];
    rest.copyWithin(0, 1);
    rest[rest.length - 1] = 0;
    for (let index = 0; index < rest.length; index++) rest[index] ^= times(divisor[index], factor);
  }
  return rest;
}

/** @param {number} degree  @returns {Uint8Array} (x - 1)(x - 2)...(x - 2^(degree-1)), without the leading 1 */
function generator(degree) {
  const made = new Uint8Array(degree);
  made[degree - 1] = 1;
  for (let step = 0, root = 1; step < degree; step++, root = times(root, 2)) {
    for (let index = 0; index < degree; index++) made[index] = times(made[index], root) ^ (made[index + 1] ?? 0);
  }
  return made;
}

/** @param {Uint8Array} data  @param {number} version  @returns {Uint8Array} blocks and their checks, interleaved */
function interleave(data, version) {
  const count = BLOCKS[version - 1];
  const short = Math.floor(data.length / count);
  const shortBlocks = count - (data.length % count);
  const divisor = generator(CHECK_BYTES[version - 1]);
  const blocks = [];
  for (let index = 0, at = 0; index < count; index++) {
    const length = short + (index < shortBlocks ? 0 : 1);
    const block = data.subarray(at, (at += length));
    blocks.push({ block, checks: remainder(block, divisor) });
  }
  const out = [];
  for (let index = 0; index <= short; index++) {
    for (const { block } of blocks) if (index < block.length) out.push(block[index]);
  }
  for (let index = 0; index < divisor.length; index++) for (const { checks } of blocks) out.push(checks[index]);
  return Uint8Array.from(out);
}

/** @param {number} version  @returns {number[]} where alignment patterns have their centres, on either axis */
function alignments(version) {
  if (version === 1) return [];
  const count = Math.floor(version / 7) + 2;
  const last = 4 * version + 10;
  const step = Math.ceil((last - 6) / (count - 1) / 2) * 2;
  return [6, ...Array.from({ length: count - 1 }, (_, index) => last - step * (count - 2 - index))];
}

/** @param {number} value  @param {number} polynomial  @param {number} degree  @returns {number} value and its BCH bits */
function checked(value, polynomial, degree) {
  let rest = value;
  for (let step = 0; step < degree; step++) rest = (rest << 1) ^ ((rest >> (degree - 1)) * polynomial);
  return (value << degree) | rest;
}

/** @param {Uint8Array} bytes  @param {number} version  @param {number} mask  @returns {boolean[][]} */
function draw(bytes, version, mask) {
  const size = 4 * version + 17;
  const made = Array.from({ length: size }, () => /** @type {boolean[]} */ (Array(size).fill(false)));
  const fixed = Array.from({ length: size }, () => /** @type {boolean[]} */ (Array(size).fill(false)));
  /** @param {number} x  @param {number} y  @param {boolean} dark */
  const set = (x, y, dark) => {
    if (x < 0 || y < 0 || x >= size || y >= size) return;
    made[y][x] = dark;
    fixed[y][x] = true;
  };
  for (let index = 0; index < size; index++) {
    set(6, index, index % 2 === 0);
    set(index, 6, index % 2 === 0);
  }
  for (const [left, top] of [[3, 3], [size - 4, 3], [3, size - 4]]) {
    for (let y = -4; y <= 4; y++) {
      for (let x = -4; x <= 4; x++) {
        const ring = Math.max(Math.abs(x), Math.abs(y));
        set(left + x, top + y, ring !== 2 && ring !== 4);
      }
    }
  }
  const centres = alignments(version);
  const last = centres.length - 1;
  centres.forEach((cx, i) => centres.forEach((cy, j) => {
    if ((i === 0 && j === 0) || (i === 0 && j === last) || (i === last && j === 0)) return;
    for (let y = -2; y <= 2; y++) {
      for (let x = -2; x <= 2; x++) set(cx + x, cy + y, Math.max(Math.abs(x), Math.abs(y)) !== 1);
    }
  }));
  // Level M is 00; 0x5412 keeps the format from being all light.
  const format = checked(mask, 0x537, 10) ^ 0x5412;
  /** @param {number} index */
  const formatBit = (index) => ((format >> index) & 1) === 1;
  for (let index = 0; index < 15; index++) {
    const along = index < 6 ? index : index < 8 ? index + 1 : size - 15 + index;
    const across = index < 8 ? size - 1 - index : index < 9 ? 7 : 14 - index;
    set(8, along, formatBit(index));
    set(across, 8, formatBit(index));
  }
  set(8, size - 8, true);
  if (version >= 7) {
    const told = checked(version, 0x1f25, 12);
    for (let index = 0; index < 18; index++) {
      const [far, near] = [size - 11 + (index % 3), Math.floor(index / 3)];
      set(far, near, ((told >> index) & 1) === 1);
      set(near, far, ((told >> index) & 1) === 1);
    }
  }
  let bit = 0;
  for (let right = size - 1; right >= 1; right -= 2) {
    if (right === 6) right = 5;
    const up = ((right + 1) & 2) === 0;
    for (let step = 0; step < size; step++) {
      const y = up ? size - 1 - step : step;
      for (const x of [right, right - 1]) {
        if (fixed[y][x]) continue;
        const dark = bit < 8 * bytes.length && ((bytes[bit >> 3] >> (7 - (bit & 7))) & 1) === 1;
        made[y][x] = dark !== MASKS[mask](x, y);
        bit++;
      }
    }
  }
  return made;
}

/** @param {boolean[][]} made  @returns {number} how hard it is to read (section 7.8.3): runs, blocks, false finders, balance */
function penalty(made) {
  const size = made.length;
  let cost = 0;
  let dark = 0;
  const lines = [...made, ...made.map((_, x) => made.map((row) => row[x]))].map((line) => line.map(Number).join(""));
  for (const line of lines) {
    for (const run of line.match(/0{5,}|1{5,}/g) ?? []) cost += run.length - 2;
    for (let at = line.indexOf("1011101"); at >= 0; at = line.indexOf("1011101", at + 1)) {
      if ("0000".startsWith(line.slice(Math.max(0, at - 4), at)) || "0000".startsWith(line.slice(at + 7, at + 11))) cost += 40;
    }
  }
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      dark += Number(made[y][x]);
      if (x && y && made[y][x] === made[y - 1][x] && made[y][x] === made[y][x - 1] && made[y][x] === made[y - 1][x - 1]) cost += 3;
    }
  }
  return cost + 10 * Math.floor(Math.abs((20 * dark) / (size * size) - 10));
}

const QUIET = 4; // modules around a code that stay light: the standard's own number

/** A code as a picture.
 * @param {string} text  @param {string} label
 * @returns {Element}
 */
export function picture(text, label) {
  const rows = qr(text);
  const size = rows.length + 2 * QUIET;
  const drawn = svg("svg", { viewBox: `0 0 ${size} ${size}`, class: "qr", role: "img", "aria-label": label, "shape-rendering": "crispEdges" });
  const path = rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + QUIET} ${y + QUIET}h1v1h-1z` : ""))).join("");
  drawn.append(svg("rect", { width: String(size), height: String(size), class: "light" }), svg("path", { d: path, class: "dark" }));
  return drawn;
}
