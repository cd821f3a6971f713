// Numbers and times as people read them: in the viewer's language and zone, by the server's clock.

const NONE = "–";

/** Server's clock minus the browser's, in ms: a wrong clock at the desk must not change an age. */
let offset = 0;

/** Take the server's clock from the Date header of an answer. @param {string | null} date */
export function setClock(date) {
  const server = date ? Date.parse(date) : NaN;
  // The header is cut to whole seconds: half a second is its average loss.
  if (!Number.isNaN(server)) offset = Math.abs(server + 500 - Date.now()) < 2000 ? 0 : server + 500 - Date.now();
}

// What a page asks for at first may hang on the time, before any answer.
setClock(document.querySelector('meta[name="now"]')?.getAttribute("content") ?? null);

/** The server's time now. @returns {number} ms since 1970 */
export const now = () => Date.now() + offset;

/** @typedef {string | number | Date | null | undefined} Moment ISO 8601 text, seconds since 1970, or a Date */

/** @param {Moment} moment @returns {number} ms since 1970; NaN for none, and for what no Date can hold */
export function ms(moment) {
  if (moment === null || moment === undefined || moment === "") return NaN;
  return new Date(typeof moment === "number" ? moment * 1000 : moment).getTime();
}

/** `3 d 4 h`, `12 min`, `8 s`: the two largest units, or one. @param {number | null | undefined} seconds
 * @returns {string} */
export function duration(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return NONE;
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min`;
  if (s < 86400) return two(s, 3600, "h", 60, "min");
  if (s < 86400 * 60) return two(s, 86400, "d", 3600, "h");
  return `${Math.floor(s / 86400)} d`;
}

/** @param {number} s @param {number} big @param {string} bigName @param {number} small @param {string} smallName */
function two(s, big, bigName, small, smallName) {
  const rest = Math.floor((s % big) / small);
  return `${Math.floor(s / big)} ${bigName}` + (rest ? ` ${rest} ${smallName}` : "");
}

/** `18 s ago`, `3 h ago`, `never`: one unit, since nobody compares ages by the minute. @param {Moment} moment
 * @returns {string} */
export function ago(moment) {
  const at = ms(moment);
  if (Number.isNaN(at)) return "never";
  const s = (now() - at) / 1000;
  if (s < -5) return `in ${one(-s)}`;
  return `${one(Math.max(0, s))} ago`;
}

/** @param {number} s */
function one(s) {
  if (s < 60) return `${Math.round(s)} s`;
  if (s < 3600) return `${Math.round(s / 60)} min`;
  if (s < 86400) return `${Math.round(s / 3600)} h`;
  return `${Math.round(s / 86400)} d`;
}

/** The viewer's zone, for tooltips. */
export const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;

/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const FORMS = {
  clock: { hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  seconds: { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" },
  day: { day: "numeric", month: "short" },
  date: { day: "numeric", month: "short", year: "numeric" },
  weekday: { weekday: "short", day: "numeric", month: "short" },
  month: { month: "short", year: "numeric" },
  short: { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" },
  long: { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit",
    hourCycle: "h23", timeZoneName: "short" },
};
/** @type {Record<string, Intl.DateTimeFormat>} */
const made = {};

/** Words are English, so dates are too; the order of day and month is the viewer's. */
const language = navigator.language.startsWith("en") ? navigator.language : "en-GB";

/** A moment in the viewer's zone. @param {Moment} moment
 * @param {"clock" | "seconds" | "day" | "date" | "weekday" | "month" | "short" | "long"} [form] @returns {string} */
export function timeText(moment, form = "short") {
  const at = ms(moment);
  if (Number.isNaN(at)) return NONE;
  made[form] ??= new Intl.DateTimeFormat(language, FORMS[form]);
  return made[form].format(at);
}

const numbers = [0, 1, 2].map((digits) => new Intl.NumberFormat("en", { maximumFractionDigits: digits }));

/** @param {number | null | undefined} value @param {0 | 1 | 2} [digits] @returns {string} */
export function number(value, digits = 0) {
  return value === null || value === undefined || Number.isNaN(value) ? NONE : numbers[digits].format(value);
}

/** `1 lab`, `2,000 systems`. @param {number} count @param {string} word @param {string} [many] @returns {string} */
export const counted = (count, word, many = `${word}s`) => `${number(count)} ${count === 1 ? word : many}`;

/** `27.4 %`; always one digit, so that a column does not dance. @param {number | null | undefined} value
 * @returns {string} */
export function percent(value) {
  return value === null || value === undefined || Number.isNaN(value) ? NONE : `${value.toFixed(1)} %`;
}

/** `1.4 GiB`. @param {number | null | undefined} value in bytes @returns {string} */
export function bytes(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value.toFixed(unit && value < 100 ? 1 : 0)} ${units[unit]}`;
}
