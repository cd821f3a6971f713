// Where axes have their marks: round numbers, and round times in the viewer's zone.

import { timeText } from "./format.js";

/** Round values from 0 to at least `highest`, or exactly to `most` when that is given and near.
 * @param {number} highest @param {number} [most] @returns {number[]} */
export function niceTicks(highest, most) {
  if (most !== undefined && highest > most * 0.3) return [0, 1, 2, 3, 4].map((i) => (most * i) / 4);
  const raw = highest / 4;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * power).find((n) => n >= raw * 0.999) ?? raw;
  const count = Math.max(1, Math.ceil(highest / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, i) => Number((i * step).toPrecision(12)));
}

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
const STEPS = [MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR,
  12 * HOUR, DAY, 2 * DAY, 7 * DAY, 14 * DAY, 31 * DAY, 92 * DAY, 366 * DAY];

/**
 * Round moments of the viewer's zone. Days and months are stepped by the calendar: some have 23 or 25 hours.
 * @param {number} from seconds @param {number} to seconds @param {number} room how many fit
 * @returns {Array<{at: number, text: string, strong: boolean}>}
 */
export function timeTicks(from, to, room) {
  const step = STEPS.find((size) => (to - from) / size <= room) ?? STEPS[STEPS.length - 1];
  const found = [];
  for (let at = first(from, step); at <= to && found.length < 60; at = next(at, step))
    if (at >= from) found.push({ at, ...label(at, step) });
  return found;
}

/** @param {number} from @param {number} step */
function first(from, step) {
  const date = new Date(from * 1000);
  date.setSeconds(0, 0);
  if (step < HOUR) date.setMinutes(Math.floor(date.getMinutes() / (step / MINUTE)) * (step / MINUTE));
  else date.setMinutes(0);
  if (step >= HOUR && step < DAY) date.setHours(Math.floor(date.getHours() / (step / HOUR)) * (step / HOUR));
  if (step >= DAY) date.setHours(0);
  if (step > 14 * DAY) date.setDate(1);
  if (step === 366 * DAY) date.setMonth(0);
  return date.getTime() / 1000;
}

/** @param {number} at @param {number} step */
function next(at, step) {
  const date = new Date(at * 1000);
  if (step < HOUR) return at + step;
  if (step < DAY) date.setHours(date.getHours() + step / HOUR);
  else if (step <= 14 * DAY) date.setDate(date.getDate() + step / DAY);
  else date.setMonth(date.getMonth() + (step === 31 * DAY ? 1 : step === 92 * DAY ? 3 : 12));
  return date.getTime() / 1000;
}

/** @param {number} at @param {number} step */
function label(at, step) {
  const date = new Date(at * 1000);
  if (step > 14 * DAY) return { text: timeText(at, "month"), strong: date.getMonth() === 0 };
  const midnight = date.getHours() === 0 && date.getMinutes() === 0;
  return midnight || step >= DAY ? { text: timeText(at, "day"), strong: step < DAY } : { text: timeText(at, "clock"), strong: false };
}
