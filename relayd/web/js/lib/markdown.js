/**
 * Markdown's small part, as DOM nodes: bold, italic, struck, code, code blocks, quotes, lists, links. What is none of
 * it stays as it was typed. Time is linear in practice: elements, attempts, depth and how far a closing mark is looked
 * for are bounded, and what is past them is plain text.
 */

import { h } from "./dom.js";

const MAX_ATTEMPTS = 1_000; // marks that are looked at, and lines of lists and quotes, in one message
const CODE_BLOCK_ELEMENTS = 4;
const SPAN_ELEMENTS = 2; // of a link; others have one
const MAX_DEPTH = 8;
const MAX_ADDRESS = 2_000;
const MAX_SPAN = 4_000; // characters between a mark and the one that closes it

/** What is left of both limits.
 * @typedef {Words & {attempts: number}} Pen
 */

/**
 * @param {string} text
 * @param {Words} words
 * @returns {Node[]} blocks: p, pre, blockquote, ul, ol
 */
export const markdown = (text, words) => blocks(text.split("\n"), { ...words, attempts: MAX_ATTEMPTS }, 0);

/** @param {string[]} lines  @param {Pen} pen  @param {number} depth  @returns {Node[]} */
function blocks(lines, pen, depth) {
  /** @type {Node[]} */
  const made = [];
  for (let at = 0; at < lines.length; ) {
    if (!lines[at].trim()) {
      at++;
      continue;
    }
    if (pen.elements <= 0) {
      made.push(h("p", { dir: "auto" }, lines.slice(at).join("\n")));
      break;
    }
    const kind = depth < MAX_DEPTH && pen.attempts > 0 ? KINDS.find((candidate) => candidate.starts.test(lines[at])) : undefined;
    if (kind?.until) {
      const end = lines.findIndex((line, index) => index > at && line.startsWith(/** @type {string} */ (kind.until)));
      const stop = end < 0 ? lines.length : end;
      made.push(kind.make(lines.slice(at, stop), pen, depth, end >= 0));
      at = stop + 1;
      continue;
    }
    let stop = at + 1;
    const most = kind ? at + Math.min(pen.attempts, pen.elements) : lines.length;
    while (stop < most && stop < lines.length && belongs(kind, lines[stop], depth, pen)) stop++;
    const taken = lines.slice(at, stop);
    pen.elements--;
    if (kind) pen.attempts -= taken.length;
    if (kind) made.push(kind.make(taken, pen, depth, true));
    else made.push(h("p", { dir: "auto" }, inline(taken.join("\n"), pen, 0)));
    at = stop;
  }
  return made;
}

/**
 * @param {Kind | undefined} kind  @param {string} line  @param {number} depth  @param {Pen} pen
 * @returns {boolean} it goes on with the block before
 */
function belongs(kind, line, depth, pen) {
  if (kind) return kind.starts.test(line);
  return line.trim() !== "" && (depth >= MAX_DEPTH || pen.attempts <= 0 || !KINDS.some((other) => other.starts.test(line)));
}

/** @typedef {{starts: RegExp, until?: string, make: (lines: string[], pen: Pen, depth: number, isWhole: boolean) => Node}} Kind */

/** @type {Kind[]} */
const KINDS = [
  { starts: /^```/, until: "```", make: codeBlock },
  { starts: /^>/, make: (lines, pen, depth) => h("blockquote", null, blocks(lines.map((line) => line.replace(/^> ?/, "")), pen, depth + 1)) },
  { starts: /^ {0,3}[-*•] +\S/, make: (lines, pen) => h("ul", null, items(lines, /^ *[-*•] +/, pen)) },
  {
    starts: /^ {0,3}\d{1,6}[.)] +\S/,
    make: (lines, pen) => h("ol", { start: parseInt(lines[0], 10) }, items(lines, /^ *\d+[.)] +/, pen)),
  },
];

/** @param {string[]} lines  @param {RegExp} mark  @param {Pen} pen */
function items(lines, mark, pen) {
  pen.elements -= lines.length;
  return lines.map((line) => h("li", { dir: "auto" }, inline(line.replace(mark, ""), pen, 0)));
}

/** @param {string[]} lines  @param {Pen} pen  @param {number} _depth  @param {boolean} isWhole  @returns {Node} */
function codeBlock(lines, pen, _depth, isWhole) {
  pen.attempts -= CODE_BLOCK_ELEMENTS;
  pen.elements -= CODE_BLOCK_ELEMENTS;
  // ```one line``` is code, too.
  const first = lines[0].slice(3);
  const single = lines.length === 1 && first.endsWith("```");
  const text = single ? first.slice(0, -3) : lines.slice(1).join("\n") || (lines.length === 1 ? first : "");
  return h(
    "div",
    { class: "code" },
    h("pre", { tabIndex: 0 }, h("code", { dir: "ltr" }, text)),
    (isWhole || single || !pen.isCut) && h("button", { type: "button", class: "small", onclick: () => pen.onCopy(text) }, pen.copy),
  );
}

const SPECIAL = /[`*_~[@]|https?:\/\//gi;

/** @param {string} text  @param {Pen} pen  @param {number} depth  @returns {Node[]} */
function inline(text, pen, depth) {
  /** @type {Node[]} */
  const made = [];
  let plain = 0; // where text begins that is not in `made` yet
  const marks = new RegExp(SPECIAL);
  for (let found = marks.exec(text); found && pen.attempts > 0 && pen.elements > 0 && depth < MAX_DEPTH; found = marks.exec(text)) {
    pen.attempts--;
    const span = SPANS[found[0][0].toLowerCase()](text, found.index, pen, depth);
    if (!span) continue;
    pen.elements -= SPAN_ELEMENTS;
    if (found.index > plain) made.push(document.createTextNode(text.slice(plain, found.index)));
    made.push(span.node);
    plain = marks.lastIndex = span.end;
  }
  if (plain < text.length) made.push(document.createTextNode(text.slice(plain)));
  return made;
}

/** @typedef {{node: Node, end: number} | null} Span */

/** @type {Record<string, (text: string, at: number, pen: Pen, depth: number) => Span>} */
const SPANS = {
  "`": (text, at) => {
    const ticks = text[at + 1] === "`" ? "``" : "`";
    const end = within(text, ticks, at + ticks.length);
    return end < 0 ? null : { node: h("code", { dir: "ltr" }, text.slice(at + ticks.length, end).trim()), end: end + ticks.length };
  },
  "*": (text, at, pen, depth) =>
    (text[at + 1] === "*" ? wrapped("strong", "**", text, at, pen, depth) : null) ?? wrapped("em", "*", text, at, pen, depth),
  _: (text, at, pen, depth) => (/[\p{L}\p{N}_]/u.test(text[at - 1] ?? "") ? null : wrapped("em", "_", text, at, pen, depth)),
  "~": (text, at, pen, depth) => (text[at + 1] === "~" ? wrapped("s", "~~", text, at, pen, depth) : null),
  "[": (text, at) => {
    const match = text.slice(at, at + MAX_SPAN).match(/^\[([^[\]]{1,500})\]\((?=https?:\/\/)/i);
    if (!match) return null;
    const from = at + match[0].length;
    const end = closing(text, from);
    return end < 0 ? null : anchor(text.slice(from, end), [document.createTextNode(match[1])], end + 1);
  },
  h: (text, at) => {
    if (/[\p{L}\p{N}]/u.test(text[at - 1] ?? "")) return null;
    const [address] = /** @type {RegExpMatchArray} */ (text.slice(at, at + MAX_ADDRESS).match(/^[^\s<>"'`]+/));
    const tidy = trimmed(address);
    return anchor(tidy, [document.createTextNode(tidy)], at + tidy.length);
  },
  "@": (text, at, pen) => {
    if (/[\p{L}\p{N}]/u.test(text[at - 1] ?? "")) return null;
    const rest = text.slice(at + 1, at + 130).toLowerCase();
    const name = pen.names.find((known) => rest.startsWith(known.toLowerCase()) && !/^[\p{L}\p{N}]/u.test(rest.slice(known.length)));
    return name ? { node: h("span", { class: "mention" }, text.slice(at, at + 1 + name.length)), end: at + 1 + name.length } : null;
  },
};

/** @param {string} text  @param {string} mark  @param {number} from  @returns {number} where it closes, -1 if not near */
function within(text, mark, from) {
  const end = text.slice(from, from + MAX_SPAN).indexOf(mark);
  return end <= 0 ? -1 : from + end;
}

/**
 * @param {"strong" | "em" | "s"} tag  @param {string} mark  @param {string} text  @param {number} at  @param {Pen} pen
 * @param {number} depth  @returns {Span}
 */
function wrapped(tag, mark, text, at, pen, depth) {
  const from = at + mark.length;
  if (!/\S/.test(text[from] ?? "")) return null;
  for (let end = within(text, mark, from); end > 0 && pen.attempts-- > 0; end = within(text, mark, end + 1)) {
    const after = text[end + mark.length] ?? "";
    if (/\s/.test(text[end - 1]) || (mark === "*" && (after === "*" || text[end - 1] === "*"))) continue;
    if (mark === "_" && /[\p{L}\p{N}_]/u.test(after)) continue;
    return { node: h(tag, null, inline(text.slice(from, end), pen, depth + 1)), end: end + mark.length };
  }
  return null;
}

/** @param {string} text  @param {number} from  @returns {number} where the bracket closes that an address stands in, or -1 */
function closing(text, from) {
  for (let at = from, open = 0; at < from + MAX_ADDRESS && at < text.length; at++) {
    if (/\s/.test(text[at])) return -1;
    if (text[at] === "(") open++;
    else if (text[at] === ")" && open-- === 0) return at;
  }
  return -1;
}

/** @param {string} address  @returns {string} without what rather belongs to the sentence around it */
function trimmed(address) {
  const closes = address.includes("(") ? "" : ")";
  let end = address.length;
  while (end > 0 && `.,;:!?*_~${closes}`.includes(address[end - 1])) end--;
  return address.slice(0, end);
}

/**
 * A link that says where it leads: words that do not are followed by the host.
 * @param {string} address  @param {Node[]} children  @param {number} end  @returns {Span}
 */
function anchor(address, children, end) {
  const url = parsed(address);
  if (!url || !/^https?:$/.test(url.protocol)) return null;
  const said = children.map((child) => child.textContent).join("");
  const host = said.startsWith(`${url.protocol}//${url.host}`) ? null : h("span", { class: "host" }, ` (${url.host})`);
  const link = h("a", { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow", title: url.href, dir: "auto" }, children, host);
  return { node: link, end };
}

/** @param {string} address  @returns {URL | null} */
function parsed(address) {
  try {
    return new URL(address);
  } catch {
    return null;
  }
}
