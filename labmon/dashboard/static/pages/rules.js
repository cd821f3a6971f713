// Alert rules: when each of them fires; administrators change them.

import { act, api, dialog, duration, find, h, may, number, replace, severity, tag } from "../lib.js";
import { words } from "../amounts.js";
import { Listing } from "../listing.js";
import { live } from "../live.js";
import { places } from "../places.js";

/** @typedef {Record<string, any>} Row */

const admin = may("admin");

/** A number of a field as it was, or null. @param {any} value */
const numberText = (value) => (value === null || value === undefined ? "" : String(value));

/** @type {any} */
const SEVERITIES = { name: "severity", label: "Severity", type: "select", value: "warning", options: [["critical", "Critical"], ["warning", "Warning"], ["info", "Info"]] };
const CLEAR = { name: "clear", label: "Clear at", type: "number", hint: "The alert ends when the value is back here. Empty: back inside the limit." };
const CLEAR_FOR = { name: "clear_for", label: "Clear hold", hint: "How long the value must be back, for example 5m. Empty: as long as it must last." };

/** @param {Row} one */
function edit(one) {
  const { threshold, comparison } = one;
  const counts = one.kind !== "gone";
  return dialog({
    title: `Change ${one.name}`,
    text: `${one.condition} · ${one.scope}`,
    action: "Save",
    fields: [
      ...(counts ? [{ name: "threshold", label: "Limit", type: "number", value: numberText(threshold), required: true, hint: "In the unit of the condition above." }] : []),
      { name: "for", label: "Must last", value: length(one.hold_seconds), required: true, hint: "For example 90s, 5m, 2h." },
      ...(counts ? [{ ...CLEAR, value: numberText(one.clear) }] : []),
      { ...CLEAR_FOR, value: length(one.clear_for_seconds) },
      { ...SEVERITIES, value: one.severity },
      { name: "note", label: "What to do", value: one.note ?? "", hint: "Sent with each alert." },
    ],
    run: async (values) => {
      /** @type {Row} */
      const change = {};
      if (counts && Number(values.threshold) !== threshold) change.threshold = Number(values.threshold);
      if (counts && values.clear !== numberText(one.clear)) change.clear = values.clear === "" ? null : Number(values.clear);
      if (values.clear_for.trim() !== length(one.clear_for_seconds)) change.clear_for = values.clear_for.trim() || null;
      wrongSide(change.clear === undefined ? one.clear : change.clear, change.threshold ?? threshold, comparison);
      if (values.for.trim() !== length(one.hold_seconds)) change.for = values.for.trim();
      if (values.severity !== one.severity) change.severity = values.severity;
      if (values.note.trim() !== (one.note ?? "")) change.note = values.note.trim() || null;
      if (Object.keys(change).length) await api.patch(`/rules/${one.rule_id}`, change);
      await list.reload();
    },
  });
}

/** An alert that would be over at once. @param {number | null} clear @param {number} limit @param {string} comparison */
function wrongSide(clear, limit, comparison) {
  if (clear === null || clear === undefined) return;
  const above = comparison.startsWith(">");
  if (above ? clear > limit : clear < limit)
    throw new Error(`Clear at ${number(clear, 2)}: it must be ${above ? "at most" : "at least"} the limit, ${number(limit, 2)}, or empty.`);
}

/** Add a rule of a metric; for a lab or a system it overrides the general one of that name. */
const add = async () => dialog({
  title: "Add rule", action: "Add",
  text: "A rule for a department, a lab or a system overrides the wider one of the same name there.",
  fields: [
    { name: "name", label: "Name", required: true, placeholder: "cpu_high", hint: "Small letters, digits and _." },
    { name: "metric", label: "Metric", required: true, placeholder: "cpu_percent" },
    { name: "comparison", label: "Fires when it is", type: "select", value: ">", options: [[">", "Above the limit"], ["<", "Below the limit"]] },
    { name: "threshold", label: "Limit", type: "number", required: true },
    { name: "for", label: "Must last", value: "5m", required: true, hint: "For example 90s, 5m, 2h." },
    CLEAR, CLEAR_FOR, SEVERITIES,
    { name: "place", label: "Scope", type: "select", value: "", options: await places("") },
    { name: "system", label: "Or the number of one system", type: "number" },
    { name: "note", label: "What to do", hint: "Sent with each alert." },
  ],
  run: async (values) => {
    const [word, id] = values.place.split(" ");
    /** @type {Row} */
    const rule = { name: values.name.trim(), metric: values.metric.trim(), comparison: values.comparison,
      threshold: Number(values.threshold), for: values.for.trim(), severity: values.severity };
    if (values.clear !== "") rule.clear = Number(values.clear);
    if (values.clear_for.trim()) rule.clear_for = values.clear_for.trim();
    if (values.note.trim()) rule.note = values.note.trim();
    if (word) rule[`${word}_id`] = Number(id);
    if (values.system) rule.system_id = Number(values.system);
    wrongSide(rule.clear, rule.threshold, rule.comparison);
    await api.post("/rules", rule);
    await list.reload();
  },
});

/** A length of time as labmon reads it: 90s, 5m, 2h. @param {number} seconds */
function length(seconds) {
  for (const [unit, size] of /** @type {[string, number][]} */ ([["d", 86400], ["h", 3600], ["m", 60]]))
    if (seconds && seconds % size === 0) return `${seconds / size}${unit}`;
  return `${seconds}s`;
}

/** @param {Row} one */
const enable = (one) => act(async () => {
  await api.patch(`/rules/${one.rule_id}`, { enabled: !one.enabled });
  await list.reload();
}, `${one.name} is ${one.enabled ? "off" : "on"}`);

/** @param {Row} one */
const clears = (one) => `${one.clear === null || one.clear === undefined ? "back inside the limit" : `at ${number(one.clear, 2)}`}${one.clear_for_seconds ? `, for ${duration(one.clear_for_seconds)}` : ""}`;

const list = new Listing(find("#rules"), {
  label: "Rules",
  whole: true,
  path: "/rules",
  key: "rule_id",
  onread: () => replace(find("#rules-sub"), `${number(list.items.filter((one) => one.enabled).length)} of ${number(list.items.length)} on`),
  empty: { title: "No rules", text: "The usual rules come with the database.", commands: ["labmon alerts rules add cpu_high --metric cpu_percent --above 95 --for 10m"] },
  columns: [
    { title: "Rule", cell: (one) => h("span", { class: "two-lines" }, h("span", { class: "strong" }, words(one.name), " ", h("code", { class: "muted" }, one.name)), one.note && h("small", null, one.note)), css: "wide-cell" },
    { title: "Fires when", cell: (one) => one.condition },
    { title: "For", cell: (one) => (one.hold_seconds ? duration(one.hold_seconds) : "at once"), css: "nowrap" },
    { title: "Over", cell: clears, css: "nowrap" },
    { title: "Severity", cell: (one) => severity(one.severity) },
    { title: "Scope", cell: (one) => one.scope, css: "nowrap" },
    { title: "On", cell: (one) => tag(one.enabled ? "On" : "Off", one.enabled ? "s-up" : "") },
    { title: "", css: "num", hidden: !admin, cell: (one) => h("span", { class: "row-actions" },
      h("button", { type: "button", class: "btn btn-small", "aria-label": `Change ${one.name}, ${one.scope}`, onclick: () => edit(one) }, "Change"),
      h("button", { type: "button", class: "btn btn-small", "aria-label": `Turn ${one.enabled ? "off" : "on"} ${one.name}, ${one.scope}`, onclick: () => enable(one) }, one.enabled ? "Turn off" : "Turn on")) },
  ],
});
list.table.classList.add("stacked");
if (admin) find("#actions").append(h("button", { type: "button", class: "btn btn-primary", onclick: add }, "Add rule"));
live.on("reset", () => list.reload(true));
list.reload();
