/** Texts by key, from one plain JSON file a language; what a language lacks is said in English. */

/** @typedef {Record<string, string | Record<string, string>>} Texts */

/** What a person may choose, each in its own words. */
export const LANGUAGES = { en: "English", de: "Deutsch", es: "Español", fr: "Français", pt: "Português", zh: "中文" };

const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]/;

/** @type {Texts} */
let english = {};
/** @type {Texts} */
let texts = {};
let plurals = new Intl.PluralRules("en");

/** The language that is spoken now, as BCP 47 says it. */
export let language = "en";

/**
 * Loads the texts of a language.
 * @param {string} chosen  a key of LANGUAGES, or "" for what the browser prefers
 */
export async function speak(chosen) {
  language = [chosen, ...navigator.languages].map((tag) => tag.slice(0, 2)).find((tag) => tag in LANGUAGES) ?? "en";
  [english, texts] = await Promise.all([fetchTexts("en"), fetchTexts(language)]);
  plurals = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

/** @param {string} name  @returns {Promise<Texts>} */
async function fetchTexts(name) {
  const answer = await fetch(`/web/i18n/${name}.json`);
  return answer.ok ? answer.json() : {};
}

/**
 * The text of that key, with `{name}` filled in. A number `n` chooses among plural forms.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string}
 */
export function t(key, values = {}) {
  const found = texts[key] ?? english[key] ?? key;
  const text = typeof found === "string" ? found : (found[plurals.select(Number(values.n))] ?? found.other ?? key);
  return text.replace(/\{(\w+)\}/g, (_, name) => isolate(values[name] ?? ""));
}

/** @param {string | number} value  @returns {string} a name written from right to left does not turn the sentence around */
function isolate(value) {
  if (typeof value === "number") return value.toLocaleString(language);
  return RIGHT_TO_LEFT.test(value) ? `\u2068${value}\u2069` : value;
}
