/** Times, sizes and lists as the person's language writes them. */

import { language } from "./i18n.js";

/** @type {Map<string, Intl.DateTimeFormat>} */
const clocks = new Map(); // making one costs more than using it a thousand times

/** @param {number} ms  @param {Intl.DateTimeFormatOptions} options */
function dateTime(ms, options) {
  const name = language + JSON.stringify(options);
  const clock = clocks.get(name) ?? new Intl.DateTimeFormat(language, options);
  clocks.set(name, clock);
  return clock.format(ms);
}

/** @param {number} ms  since 1970  @returns {string} 14:05 */
export const time = (ms) => dateTime(ms, { hour: "2-digit", minute: "2-digit" });

/** @param {number} ms  since 1970  @returns {string} Thursday, 26 November */
export const day = (ms) => dateTime(ms, { weekday: "long", day: "numeric", month: "long" });

/** @param {number} ms  since 1970  @returns {string} with day, for those who point at it */
export const moment = (ms) => dateTime(ms, { dateStyle: "medium", timeStyle: "medium" });

/** @param {number} value  @param {string} unit */
const unit = (value, unit) =>
  new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: value < 10 && unit !== "second" ? 1 : 0 }).format(value);

/** @param {number} bytes  @returns {string} 1.4 MB */
export function size(bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let value = bytes;
  let step = 0;
  for (; value >= 1000 && step < units.length - 1; step++) value /= 1000;
  return unit(step ? value : Math.round(value), units[step]);
}

/** @param {number} seconds  @returns {string} 2 hr 10 min, 45 sec */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return unit(whole, "second");
  const minutes = Math.round(whole / 60);
  if (minutes < 60) return unit(minutes, "minute");
  const hours = unit(Math.floor(minutes / 60), "hour");
  return minutes % 60 ? `${hours} ${unit(minutes % 60, "minute")}` : hours;
}

/** @param {string[]} names  @returns {string} Ann, Bob and Carol */
export const list = (names) => new Intl.ListFormat(language, { type: "conjunction" }).format(names);
