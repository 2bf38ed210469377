/** The chat as a text file on this device: made here, sent nowhere. */

import { h } from "../lib/dom.js";
import { moment } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { nameOf } from "../lib/text.js";
import { systemText } from "./system.js";

/** @param {Line} line  @returns {string} */
function asText(line) {
  if (line.kind === "system") return `[${moment(line.at)}] * ${systemText(line)}`;
  const nick = line.author ? `${nameOf(line.author.nick)}#${line.author.tag}` : t("admin");
  const to = line.to ? ` → ${nameOf(line.toUser?.nick ?? "")}` : "";
  const text = line.deleted ? t("deleted") : [line.file?.name, line.text].filter(Boolean).join(" ") || t("unknown_kind");
  return `[${moment(line.at)}] ${nick}${to}: ${text.replace(/\n/g, "\n    ")}`;
}

/** @param {Room} room */
export function saveChat({ state }) {
  const text = [state.details.name, "", ...state.lines.map(asText), ""].join("\n");
  const url = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  const name = `${state.details.name} ${new Date().toISOString().slice(0, 10)}.txt`;
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
