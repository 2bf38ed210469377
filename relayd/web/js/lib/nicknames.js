/** A pleasant name for somebody who has none yet. */

import { t } from "./i18n.js";

/** @returns {string} an animal, in the person's language */
export function freshNick() {
  const animals = t("nick.animals").split(" ");
  return animals[crypto.getRandomValues(new Uint32Array(1))[0] % animals.length];
}
