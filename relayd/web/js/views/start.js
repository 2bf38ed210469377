/** The first page: make a room, or open a link. */

import { field, freshId, h, icon } from "../lib/dom.js";
import { duration } from "../lib/format.js";
import { t } from "../lib/i18n.js";
import { freshNick } from "../lib/nicknames.js";
import { prefer, preferences } from "../lib/preferences.js";
import { later } from "./later.js";
import { attempt } from "./problem.js";

const HOURS = [1, 2, 4, 8, 12, 24];

/** Sealing needs WebCrypto, which browsers give to https and localhost only. */
const canSeal = () => Boolean(globalThis.crypto?.subtle);

/**
 * @param {{create: (room: NewRoom) => Promise<void>, open: (text: string) => Promise<void>, settings: () => void}} on
 * @returns {HTMLElement}
 */
export function startView({ create, open, settings }) {
  const name = h("input", { type: "text", maxLength: 64, autocomplete: "off", placeholder: t("start.name_hint") });
  const nick = h("input", { type: "text", maxLength: 64, required: true, autocomplete: "nickname", value: preferences.nick || freshNick() });
  const password = h("input", { type: "text", maxLength: 256, autocomplete: "off", spellcheck: false, autocapitalize: "off", class: "secret" });
  const fresh = h("button", { type: "button", onclick: () =>
    later(import("../lib/passphrase.js"), ({ freshPassphrase }) => {
      password.value = freshPassphrase();
      password.select();
    }) }, t("start.passphrase"));
  const max = h("input", { type: "number", min: "1", max: "10000", value: "50", required: true });
  const expires = h("select", null, h("option", { value: "usersLeave" }, t("start.until_left")), HOURS.map((hours) => h("option", { value: hours }, duration(hours * 3600))));
  const sealed = h("input", { type: "checkbox", checked: canSeal(), disabled: !canSeal(), onchange: () => {
    if (!sealed.checked) password.value = "";
    drawSealed();
  } });
  const createKey = h("input", { type: "text", autocomplete: "off", spellcheck: false, autocapitalize: "off", class: "secret" });
  const createKeyField = field(t("start.create_key"), createKey);
  createKeyField.hidden = true; // until the server asks for it
  const askForKey = (/** @type {unknown} */ problem) => {
    if (["create_key_needed", "create_key_wrong"].includes(/** @type {{code?: string}} */ (problem).code ?? "")) {
      createKeyField.hidden = false;
      createKey.focus();
    }
    throw problem;
  };
  const refused = h("p", { class: "bad", role: "alert", hidden: true });
  const unsealed = h("p", { class: "note warn", id: freshId() }, icon("warn"), t(canSeal() ? "start.not_sealed" : "start.not_sealed_http"));
  const button = h("button", { class: "primary large", "aria-describedby": unsealed.id }, t("start.create"));
  const promise = h("li", null, icon("lock"), h("span", null, t("start.promise_sealed")));
  const drawSealed = () => {
    password.disabled = fresh.disabled = promise.hidden = !sealed.checked;
    unsealed.hidden = sealed.checked;
  };
  drawSealed();
  /** @param {HTMLElement} place  @returns {(text: string) => void} */
  const tellAt = (place) => (text) => {
    place.hidden = !text;
    place.textContent = text;
  };
  const more = h(
    "details",
    { class: "more" },
    h("summary", null, t("start.more")),
    field(t("nick"), nick),
    h("label", { class: "check" }, sealed, h("span", null, t("start.sealed"), h("span", { class: "hint" }, t(canSeal() ? "sealed_hint" : "problem.no_webcrypto")))),
    h("div", { class: "inline" }, field(t("password"), password), fresh),
    h("div", { class: "pair" }, field(t("max"), max), field(t("start.lifetime"), expires)),
  );

  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    button.disabled = true;
    tellAt(refused)("");
    prefer({ nick: nick.value.trim() });
    const room = {
      nick: nick.value.trim(),
      max: Number(max.value),
      expires: expires.value === "usersLeave" ? /** @type {const} */ ("usersLeave") : Number(expires.value),
      sealed: sealed.checked,
      ...(name.value.trim() && { name: name.value.trim() }),
      ...(password.value && { password: password.value }),
      ...(createKey.value.trim() && { createKey: createKey.value.trim() }),
    };
    button.disabled = await attempt(() => create(room).catch(askForKey), tellAt(refused));
  };

  const link = h("input", { type: "text", inputMode: "url", autocomplete: "off", spellcheck: false, dir: "ltr", "aria-label": t("start.link"), placeholder: t("start.link"), oninput: () => tellAt(noLink)("") });
  const noLink = h("p", { class: "bad", role: "alert", hidden: true });
  const visit = (/** @type {Event} */ event) => {
    event.preventDefault();
    if (link.value.trim()) attempt(() => open(link.value), tellAt(noLink));
  };

  return h(
    "main",
    { class: "page" },
    h("header", { class: "brand" }, h("img", { src: "/web/icons/icon.svg", alt: "", width: 40, height: 40 }), h("span", null, "relayd"),
      h("button", { type: "button", class: "round", title: t("settings.title"), "aria-label": t("settings.title"), onclick: settings }, icon("settings"))),
    h("h1", null, t("start.title")),
    h("p", { class: "lead" }, t("start.lead")),
    h("form", { class: "card", onsubmit: submit }, field(t("start.name"), name), createKeyField, more, refused, unsealed, button),
    h("form", { class: "visit", onsubmit: visit }, link, h("button", null, t("start.open"))),
    noLink,
    h("ul", { class: "promises" }, [
      h("li", null, icon("clock"), h("span", null, t("start.promise_gone"))),
      promise,
      h("li", null, icon("people"), h("span", null, t("start.promise_free"))),
    ]),
  );
}
