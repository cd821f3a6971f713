// What an operator does to alerts.

import { act, api, dialog, now, timeText, toast } from "./lib.js";
import { words } from "./amounts.js";

/** @typedef {Record<string, any>} Row */

/** @param {Row[]} rows */
const named = (rows) => {
  const few = rows.slice(0, 3).map((one) => `${one.subject}: ${words(one.alert_type)}`).join("; ");
  return rows.length > 3 ? `${few}; and ${rows.length - 3} more` : few;
};
/** @param {Row[]} rows */
const ids = (rows) => rows.map((one) => one.alert_id);
/** @param {Row[]} rows @param {string} word */
const title = (rows, word) => `${word} ${rows.length === 1 ? "alert" : `${rows.length} alerts`}`;

/** @param {Row[]} rows @param {() => any} done */
export const acknowledge = (rows, done) => dialog({
  title: title(rows, "Acknowledge"), text: named(rows), action: "Acknowledge",
  fields: [{ name: "note", label: "Note", placeholder: "What is being done about it", hint: "Seen by everybody. No repeated notifications from now on." }],
  run: async ({ note }) => {
    await api.post("/alerts/ack", { ids: ids(rows), note: note.trim() || null });
    toast("Acknowledged", "ok", { text: "Undo", run: () => unacknowledge(rows, done) });
    await done();
  },
});

/** @param {Row[]} rows @param {() => any} done */
export const unacknowledge = (rows, done) => act(async () => {
  await api.post("/alerts/unack", { ids: ids(rows) });
  await done();
}, rows.length === 1 ? "Not acknowledged any more" : `${rows.length} alerts are not acknowledged any more`);

/** @param {number[]} silences @param {() => any} done */
const unsilence = (silences, done) => act(async () => {
  for (const one of silences) await api.del(`/maintenance/${one}`);
  await done();
}, "Not silenced any more");

/** A moment for a field of type datetime-local, in the viewer's zone. @param {Date} at */
export const local = (at) => new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

const HOURS = [["1", "1 hour"], ["8", "8 hours"], ["24", "1 day"], ["", "Until a time of its own"]];

/** @param {Row[]} rows @param {() => any} done */
export const silence = (rows, done) => dialog({
  title: title(rows, "Silence"), text: named(rows), action: "Silence",
  fields: [
    { name: "hours", label: "For", type: "select", options: /** @type {any} */ (HOURS), value: "1" },
    { name: "until", label: "Until", type: "datetime-local", value: local(new Date(now() + 4 * 3_600_000)), hint: "Counts for \"Until a time of its own\"." },
    { name: "note", label: "Note", placeholder: "Why", hint: "The rule sends nothing about the same system until then." },
  ],
  run: async ({ hours, until: chosen, note }) => {
    if (!hours && !chosen) throw new Error("Until is missing.");
    const until = (hours ? new Date(now() + Number(hours) * 3_600_000) : new Date(chosen)).toISOString();
    const { silences } = await api.post("/alerts/silence", { ids: ids(rows), until, note: note.trim() || null });
    const near = Date.parse(until) - now() < 12 * 3_600_000;
    toast(`Silenced until ${timeText(until, near ? "clock" : "short")}`, "ok", { text: "Undo", run: () => unsilence(silences, done) });
    await done();
  },
});
