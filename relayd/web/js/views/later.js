/** Parts of the page that are fetched when they are wanted: what few need, nobody has to wait for. */

import { t } from "../lib/i18n.js";
import { toast } from "./toasts.js";

/**
 * Uses a module once it is here; says so if it cannot be had.
 * @template Module
 * @param {Promise<Module>} loading  an `import()`
 * @param {(module: Module) => void} use
 */
export const later = (loading, use) => {
  loading.then(use, () => toast(t("problem.server_away"), "bad"));
};
