/** What a person has chosen on this device: nothing secret, nothing of any room. */

const KEY = "relayd";

/** @type {Preferences} */
export const preferences = { nick: "", language: "", sound: true, notify: false, pictures: true, ...stored() };

/** @returns {Partial<Preferences>} */
function stored() {
  try {
    const kept = JSON.parse(localStorage.getItem(KEY) ?? "{}");
    return kept && typeof kept === "object" ? kept : {};
  } catch {
    return {}; // forbidden by the browser, or not ours: then nothing is remembered
  }
}

/** @param {Partial<Preferences>} changes */
export function prefer(changes) {
  Object.assign(preferences, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(preferences));
  } catch {
    // As above.
  }
}
