// Maintenance, weekly hours and silences: what is on, what comes; operators plan and end them.

import { api, confirm, dialog, find, h, may, number, replace, tag, time, toast } from "../lib.js";
import { words } from "../amounts.js";
import { Listing } from "../listing.js";
import { live } from "../live.js";
import { places } from "../places.js";

/** @typedef {Record<string, any>} Row */

const operator = may("operator");
const MODES = { skip: "Not measured", record: "Measured, no alerts", mute: "Alerts without notification", silence: "Silence" };
/** @type {Map<number, string>} */
const labs = new Map();

/** @param {Row} one */
function scope(one) {
  const [word, id] = String(one.scope).split(" ");
  const name = word === "lab" ? labs.get(Number(id)) : null;
  return name ? `Lab ${name}` : { all: "Everything", dept: `Department ${id}`, lab: `Lab ${id}`, system: `System ${id}` }[word] ?? one.scope;
}

/** @param {Row} one */
const title = (one) => `${one.mode === "silence" ? "Silence" : "Maintenance"} ${one.maintenance_id}`;

/** @param {Row} one */
const end = (one) => confirm({
  title: `End ${title(one).toLowerCase()}`,
  text: `${scope(one)}${one.weekly ? `, ${one.weekly}` : ""}. Systems are measured and alerts are sent again from now on.`,
  action: "End it",
  run: async () => {
    await api.del(`/maintenance/${one.maintenance_id}`);
    toast(`${title(one)} is over`);
    await list.reload();
  },
});

/** A moment for a field of type datetime-local, in the viewer's zone. @param {Date} at */
const local = (at) => new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

async function plan() {
  const start = new Date();
  const scopes = await places("all");
  return dialog({
    title: "Plan maintenance",
    action: "Plan",
    fields: [
      { name: "scope", label: "What", type: "select", options: scopes, value: scopes.find(([key]) => key.startsWith("lab "))?.[0] ?? "all" },
      { name: "system", label: "Or the number of one system", type: "number" },
      { name: "mode", label: "How", type: "select", options: Object.entries(MODES).slice(0, 3), value: "mute" },
      { name: "from", label: "From", type: "datetime-local", value: local(start) },
      { name: "until", label: "Until", type: "datetime-local", value: local(new Date(start.getTime() + 2 * 3_600_000)), hint: "Needed without weekly hours." },
      { name: "weekly", label: "Or every week", placeholder: "Mon-Thu 20:00-07:00, Fri 20:00-Mon 07:00", hint: "The hours in which the lab is closed, in place of from and until." },
      { name: "timezone", label: "Time zone of these hours", value: Intl.DateTimeFormat().resolvedOptions().timeZone },
      { name: "comment", label: "Comment" },
    ],
    run: async ({ scope: about, mode, from, until, weekly, timezone, system, comment }) => {
      const [word, id] = about.split(" ");
      /** @type {Row} */
      const body = { mode, comment: comment.trim() || null, ...(system ? { system_id: Number(system) } : id ? { [`${word}_id`]: Number(id) } : {}) };
      if (weekly.trim()) Object.assign(body, { weekly: weekly.trim(), timezone: timezone.trim() });
      else Object.assign(body, { starts_at: moment(from, "From"), until: moment(until, "Until") });
      await api.post("/maintenance", body);
      toast("Maintenance planned");
      await list.reload();
    },
  });
}

/** @param {string} text @param {string} name */
function moment(text, name) {
  const at = new Date(text);
  if (Number.isNaN(at.getTime())) throw new Error(`${name}: a date and a time are missing`);
  return at.toISOString();
}

const list = new Listing(find("#maintenance"), {
  label: "Maintenance",
  whole: true,
  path: "/maintenance",
  key: "maintenance_id",
  onread: () => replace(find("#maintenance-sub"), `${number(list.items.filter((one) => one.active).length)} on now`),
  empty: { title: "Nothing is planned", text: "Plan work so that nobody is called for it, and write down the weekly hours in which labs are closed.",
    commands: ["labmon maintenance add --lab A-101 --for 2h", 'labmon maintenance add --lab A-101 --weekly "Mon-Thu 20:00-07:00"'] },
  columns: [
    { title: "What", cell: (one) => h("span", { class: "two-lines" }, h("span", { class: "strong" }, scope(one)), one.rule && h("small", null, words(one.rule))), css: "wide-cell" },
    { title: "How", cell: (one) => MODES[/** @type {keyof typeof MODES} */ (one.mode)] ?? one.mode },
    { title: "Now", cell: (one) => (one.active ? tag("On", "s-maintenance") : h("span", { class: "muted" }, "–")) },
    { title: "From", cell: (one) => time(one.begins), css: "nowrap" },
    { title: "Until", cell: (one) => (one.always && !one.until ? "Never" : time(one.until)), css: "nowrap" },
    { title: "Every week", cell: (one) => one.weekly && h("span", { class: "two-lines" }, one.weekly, h("small", null, one.timezone)), css: "wide-cell" },
    { title: "By", cell: (one) => h("span", { class: "two-lines" }, one.said_by ?? "–", one.comment && h("small", null, one.comment)), css: "wide-cell" },
    { title: "", css: "num", hidden: !operator, cell: (one) => h("span", { class: "row-actions" },
      h("button", { type: "button", class: "btn btn-small", "aria-label": `End ${title(one).toLowerCase()}`, onclick: () => end(one) }, "End")) },
  ],
});
list.table.classList.add("stacked");
if (operator) find("#actions").append(h("button", { type: "button", class: "btn btn-primary", onclick: plan }, "Plan maintenance"));
live.on("reset", () => list.reload(true));
setInterval(() => document.hidden || list.reload(true), 30_000);
api.get("/labs").then((all) => { for (const one of all) labs.set(one.lab_id, one.name); }, () => {}).then(() => list.reload());
