/** What a person may choose for themselves on this device. */

import { field, h } from "../lib/dom.js";
import { LANGUAGES, t } from "../lib/i18n.js";
import { prefer, preferences } from "../lib/preferences.js";
import { openDialog } from "./dialog.js";
import { toast } from "./toasts.js";

/** @param {"sound" | "notify" | "pictures"} name  @param {string} label */
function choice(name, label) {
  const box = h("input", { type: "checkbox", checked: preferences[name], onchange: async () => {
    if (name === "notify" && box.checked && !(await mayNotify())) {
      box.checked = false;
      toast(t("settings.notify_refused"), "bad");
    }
    prefer({ [name]: box.checked });
  } });
  return h("label", { class: "check" }, box, label);
}

/** @returns {Promise<boolean>} */
const mayNotify = async () => "Notification" in window && (await Notification.requestPermission()) === "granted";

/**
 * @param {(language: string) => void} onLanguage
 * @param {{nick: string, setNick: (nick: string) => void} | null} person  in a room: the name that can be changed
 */
export function openSettings(onLanguage, person) {
  const nick = h("input", { type: "text", maxLength: 64, required: true, autocomplete: "nickname", value: person?.nick ?? "" });
  const rename = (/** @type {Event} */ event) => {
    event.preventDefault();
    const wanted = nick.value.trim();
    if (!wanted) return;
    person?.setNick(wanted);
    prefer({ nick: wanted });
    dialog.close();
  };
  const language = h(
    "select",
    { onchange: () => {
      prefer({ language: language.value });
      dialog.close();
      onLanguage(language.value);
    } },
    h("option", { value: "" }, t("settings.language_auto")),
    Object.entries(LANGUAGES).map(([tag, name]) => h("option", { value: tag, lang: tag, selected: tag === preferences.language }, name)),
  );
  const dialog = openDialog(
    t("settings.title"),
    person && h("form", { class: "inline", onsubmit: rename }, field(t("nick"), nick), h("button", null, t("save"))),
    field(t("settings.language"), language),
    choice("sound", t("settings.sound")),
    choice("notify", t("settings.notify")),
    choice("pictures", t("settings.pictures")),
    h("p", { class: "hint" }, t("settings.hint")),
  );
}
