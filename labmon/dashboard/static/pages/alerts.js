// Alerts: what fires, who knows, what was sent. Acknowledge, silence, read the history.

import { api, counted, find, h, may, number, page, param, replace, segment, setParams, severity, since, tag, time } from "../lib.js";
import { amount, words } from "../amounts.js";
import { acknowledge, silence, unacknowledge } from "../alert-actions.js";
import { Listing, filterByWords } from "../listing.js";
import { live } from "../live.js";

/** @typedef {Record<string, any>} Row */

const operator = may("operator");
const VIEWS = [["firing", "Firing"], ["acknowledged", "Acknowledged"], ["resolved", "Resolved"], ["all", "All"]];
// A link of a mail: this one alone, until another view is chosen.
let single = param("alert", "");
let view = param("state", "firing");
if (!VIEWS.some(([name]) => name === view)) view = "firing";
const severities = find("#severity");
const labs = find("#lab");
const rules = find("#rule");
const wordField = find("#words");

/** @param {Row} one */
function about(one) {
  const subject = one.system_id ? h("a", { class: "strong", href: page(`/systems/${one.system_id}`) }, one.subject) : h("span", { class: "strong" }, one.subject);
  const lab = labNames.get(one.lab_id);
  const covers = one.covered ? `${counted(one.covered, "system")} under it` : "";
  return h("span", { class: "two-lines" }, subject, h("small", null, [lab, covers].filter(Boolean).join(" · ") || (one.dept_id ? `Department ${one.dept_id}` : "")));
}

/** A fact has no value and no limit. @param {Row} one */
const isFact = (one) => one.alert_type === "host_key_changed";

/** @param {Row} one */
function rule(one) {
  const limit = isFact(one) ? "" : one.kind === "changed" || one.kind === "gone" ? words(one.metric) : `${words(one.metric ?? one.kind)}, limit ${amount(one.kind, one.metric, one.threshold)}`;
  return h("span", { class: "two-lines" }, words(one.alert_type), h("small", null, limit));
}

/** @param {Row} one */
function stateOf(one) {
  if (one.state === "resolved") return h("span", { class: "two-lines" }, tag("Resolved"), h("small", null, since(one.resolved_at)));
  if (one.silenced_until) return h("span", { class: "two-lines" }, tag("Silenced"), h("small", null, "until ", time(one.silenced_until), one.acknowledged_by ? `, acknowledged by ${one.acknowledged_by}` : ""));
  if (one.acknowledged_by)
    return h("span", { class: "two-lines" }, tag("Acknowledged", "s-info"), h("small", null, `by ${one.acknowledged_by}`, one.comment ? `: ${one.comment}` : ""));
  if (one.muted) return h("span", { class: "two-lines" }, tag("Muted"), h("small", null, one.muted));
  return tag(one.state === "pending" ? "Pending" : "Firing", one.state === "pending" ? "" : "s-critical");
}

/** @param {Row} one */
function buttons(one) {
  if (one.state === "resolved") return null;
  const button = (/** @type {string} */ text, /** @type {() => any} */ run, name = text) =>
    h("button", { type: "button", class: "btn btn-small", "aria-label": `${name} ${one.subject}: ${words(one.alert_type)}`, onclick: run }, text);
  return h("span", { class: "row-actions" },
    one.acknowledged_by ? button("Unacknowledge", () => unacknowledge([one], done)) : button("Acknowledge", () => acknowledge([one], done)),
    button("Silence", () => silence([one], done)));
}

/** @type {Map<number, string>} */
const labNames = new Map();

/** @param {Row} one */
async function details(one) {
  const { incident = one, steps, deliveries = [], covers = [] } = await api.get(`/alerts/${one.alert_id}`);
  const value = (/** @type {number | null} */ number_) => amount(incident.kind, incident.metric, number_);
  /** @type {[string, any][]} */
  const facts = [
    ["Value when it fired", isFact(incident) ? null : value(incident.value)],
    ["Now", incident.value_now === null ? null : value(incident.value_now)],
    ["Limit", isFact(incident) ? null : value(incident.threshold)],
    ["Ends when back at", incident.clear === null || incident.clear === undefined ? null : value(incident.clear)],
    ["First reading", time(incident.since, "long")],
    ["Fired", incident.fired_at && time(incident.fired_at, "long")],
    ["Over", incident.resolved_at && time(incident.resolved_at, "long")],
    ["Why it is over", incident.reason],
    ["Notified again", incident.repeats ? counted(incident.repeats, "time") : null],
    ["Muted", incident.muted],
    ["What to do", incident.note],
    ["Systems under it", covers.length ? covers.join(", ") : null],
  ];
  return h("div", { class: "details-grid" },
    h("section", null, h("h2", null, "Facts"), h("dl", { class: "pairs" },
      facts.filter(([, text]) => text).map(([name, text]) => [h("dt", null, name), h("dd", null, text)]))),
    h("section", null, h("h2", null, "History"), h("ol", { class: "steps" }, steps.map((/** @type {Row} */ entry) => step(entry, deliveries.length > 0)))),
    h("section", null, h("h2", null, "Notifications"),
      deliveries.length ? h("ol", { class: "steps" }, deliveries.map(delivery)) : h("p", { class: "muted" }, "No target receives this alert.")));
}

const EVENTS = { told: "Notified", repeated: "Notified again" };

/** @param {Row} one @param {boolean} reaches some target receives it */
const step = (one, reaches) => h("li", null, time(one.at, "short"), h("span", null,
  one.event in EVENTS && !reaches ? "No target" : EVENTS[/** @type {keyof typeof EVENTS} */ (one.event)] ?? words(one.event), one.said_by ? ` by ${one.said_by}` : "", one.comment ? `: ${one.comment}` : ""));

/** @param {Row} one */
const delivery = (one) => h("li", null, time(one.at ?? one.created_at, "short"), h("span", null,
  h("b", null, one.target), ` ${one.state}`, one.attempts > 1 ? ` after ${one.attempts} attempts` : "", one.error && h("span", { class: "error-text" }, `: ${one.error}`)));

const list = new Listing(find("#alerts"), {
  label: "Alerts",
  path: "/alerts",
  key: "alert_id",
  filter: () => single ? { alert: single } : ({ state: view, severity: severities.value, lab: labs.value, rule: rules.value, q: wordField.value.trim() }),
  name: (one) => `${one.subject}: ${words(one.alert_type)}`,
  select: operator ? (one) => one.state !== "resolved" : undefined,
  onselect: drawChosen,
  onread: drawCounts,
  details,
  empty: { title: "Nothing here", text: "No alert matches. Rules are evaluated while labmon consume runs." },
  columns: [
    { title: "Severity", cell: (one) => severity(one.severity) },
    { title: "About", cell: about, css: "wide-cell" },
    { title: "Rule", cell: rule, css: "whole" },
    { title: "Value", cell: (one) => isFact(one) ? "–" : amount(one.kind, one.metric, one.value_now ?? one.value), css: "num nowrap" },
    { title: "Since", cell: (one) => since(one.fired_at ?? one.since), css: "nowrap push" },
    { title: "State", cell: stateOf, css: "wide-cell" },
    { title: "", cell: buttons, css: "num", hidden: !operator },
  ],
});
list.table.classList.add("stacked", "dense");

const done = () => {
  list.clear();
  return list.reload();
};

const chosenBar = find("#chosen");

/** @param {Row[]} rows */
function drawChosen(rows) {
  chosenBar.hidden = rows.length === 0;
  if (!rows.length) return replace(chosenBar);
  const open = rows.filter((one) => !one.acknowledged_by);
  const known = rows.filter((one) => one.acknowledged_by);
  const focused = /** @type {HTMLElement | null} */ (document.activeElement?.closest("#chosen button"))?.dataset.action;
  const button = (/** @type {string} */ text, /** @type {string} */ action, /** @type {() => any} */ run, css = "btn") =>
    h("button", { type: "button", class: css, dataset: { action }, onclick: run }, text);
  replace(chosenBar, h("span", { role: "status" }, `${number(rows.length)} selected`),
    open.length > 0 && button("Acknowledge", "ack", () => acknowledge(open, done), "btn btn-primary"),
    known.length > 0 && button("Unacknowledge", "unack", () => unacknowledge(known, done)),
    button("Silence", "silence", () => silence(rows, done)),
    button("Clear", "clear", () => list.clear(), "btn btn-quiet"));
  if (focused) /** @type {any} */ (chosenBar.querySelector(`[data-action="${focused}"]`))?.focus();
  return undefined;
}

function drawCounts() {
  const shown = list.items.length;
  const word = VIEWS.find(([name]) => name === view)?.[1].toLowerCase() ?? "";
  replace(find("#alerts-sub"), single ? `Alert ${single}` : `${number(shown)}${list.next ? " or more" : ""} ${view === "all" ? "in all" : word}`);
}

const leaveSingle = () => {
  single = "";
  setParams({ alert: null });
};

const states = segment({ label: "State", options: /** @type {any} */ (VIEWS), value: view, onchoose: (value) => {
  leaveSingle();
  view = value;
  setParams({ state: value === "firing" ? null : value });
  list.restart();
} });
find("#views").append(states);

severities.value = param("severity");
severities.addEventListener("change", () => {
  leaveSingle();
  setParams({ severity: severities.value });
  list.restart();
});
filterByWords(wordField, () => {
  leaveSingle();
  list.restart();
});
rules.addEventListener("change", () => {
  leaveSingle();
  setParams({ rule: rules.value });
  list.restart();
});
api.get("/rules").then((all) => {
  for (const name of new Set(all.map((/** @type {Row} */ one) => one.name))) rules.append(h("option", { value: name }, words(name)));
  if (!param("rule")) return;
  rules.value = param("rule");
  list.restart();
}, () => {});
labs.addEventListener("change", () => {
  leaveSingle();
  setParams({ lab: labs.value });
  list.restart();
});

const sent = new Listing(find("#deliveries"), {
  label: "Notifications",
  path: "/deliveries",
  key: (one) => `${one.at} ${one.target} ${one.alert_type} ${one.about} ${one.alert_state}`,
  filter: () => ({ state: find("#delivery-state").value }),
  pageSize: 20,
  empty: { title: "No notifications", text: "Targets are configured under [notify]." },
  columns: [
    { title: "When", cell: (one) => time(one.at ?? one.created_at), css: "nowrap" },
    { title: "Target", cell: (one) => one.target },
    { title: "State", cell: (one) => tag(words(one.state), one.state === "failed" ? "s-critical" : one.state === "sent" ? "s-up" : "") },
    { title: "Alert", cell: (one) => `${words(one.alert_type ?? one.alert?.alert_type)}, ${one.alert_state ?? one.alert?.state}` },
    { title: "About", cell: (one) => one.about },
    { title: "Attempts", cell: (one) => number(one.attempts), css: "num" },
    { title: "Reason", cell: (one) => one.error && h("span", { class: one.state === "failed" ? "error-text" : "" }, one.error), css: "wide-cell" },
  ],
});
sent.table.classList.add("stacked");
find("#delivery-state").addEventListener("change", () => sent.restart());

/** @type {ReturnType<typeof setTimeout> | undefined} */
let soon;
const again = () => {
  clearTimeout(soon);
  soon = setTimeout(() => {
    list.reload(true);
    sent.reload(true);
  }, 250);
};
live.on("alerts", again);
live.on("reset", again);
sent.reload();
list.reload();
api.get("/labs").then((all) => {
  for (const one of all) {
    labNames.set(one.lab_id, one.name);
    labs.append(h("option", { value: one.lab_id }, one.name));
  }
  if (param("lab")) labs.value = param("lab");
  list.repaint();
  if (labs.value) list.restart();
}, () => {});
