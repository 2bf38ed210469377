/** Modal dialogs: the browser's own element keeps focus inside, closes with Escape, gives the focus back. */

import { fill, h, iconButton } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

/**
 * Shows a dialog.
 * @param {string} title
 * @param {...(Node | string | null | false | (Node | string | null | false)[])} content
 * @returns {HTMLDialogElement} already open; removed once closed
 */
export function openDialog(title, ...content) {
  const heading = h("h2", { id: "dialog-title" }, title);
  const dialog = h(
    "dialog",
    { "aria-labelledby": heading.id },
    h("header", null, heading, iconButton("close", t("close"), () => dialog.close())),
    fill(h("div", { class: "content" }), ...content.flat()),
  );
  dialog.addEventListener("close", () => dialog.remove());
  // A click on the backdrop is one on the dialog itself, beside its content.
  dialog.addEventListener("pointerdown", (event) => {
    const box = dialog.getBoundingClientRect();
    const inside = event.clientX >= box.left && event.clientX <= box.right && event.clientY >= box.top && event.clientY <= box.bottom;
    if (event.target === dialog && !inside) dialog.close();
  });
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks before something that cannot be taken back.
 * @param {string} title
 * @param {string} text
 * @param {string} yes  what the button says that does it
 * @param {Node | null} [more]  e.g. a choice to make
 * @param {boolean} [harmless]  it can be taken back
 * @returns {Promise<boolean>}
 */
export function ask(title, text, yes, more = null, harmless = false) {
  return new Promise((resolve) => {
    let answer = false;
    const sure = () => {
      answer = true;
      dialog.close();
    };
    const dialog = openDialog(
      title,
      h("p", null, text),
      more,
      h(
        "div",
        { class: "actions" },
        h("button", { type: "button", onclick: () => dialog.close() }, t("cancel")),
        h("button", { type: "button", class: harmless ? "primary" : "danger", onclick: sure }, yes),
      ),
    );
    dialog.addEventListener("close", () => resolve(answer));
  });
}
