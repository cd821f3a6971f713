// The cards of the overview.

import { STATES, ago, counted, glyph, h, meter, number, page, severity, since, stateBar, svg } from "../lib.js";
import { nameOf } from "../systems-data.js";
import { area, line } from "../paths.js";
import { sortBy } from "../sorting.js";
import { reason, words } from "../amounts.js";

const ORDER = ["up", "warning", "critical", "down", "maintenance", "off", "new"];
const ALWAYS = ["up", "warning", "critical", "down"];

/** @param {string} title @param {any} more @param {any} body @param {string} [css] */
const card = (title, more, body, css = "") =>
  h("section", { class: `card ${css}`, "aria-label": title }, h("div", { class: "card-head" }, h("h2", null, title), more), body);

/** Counts by state, which lead to the list. @param {any} summary */
export function tiles({ states, systems }) {
  const shown = ORDER.filter((name) => ALWAYS.includes(name) || states[name]);
  return h("div", { class: "tiles" },
    h("a", { class: "tile", href: page("/systems") }, h("b", null, number(systems)), h("span", null, "Systems")),
    shown.map((name) => h("a", { class: states[name] ? "tile" : "tile none", href: page(`/systems?state=${name}`), title: STATES[name].help },
      h("b", null, number(states[name] ?? 0)), h("span", null, glyph(STATES[name].shape, `glyph s-${name}`), STATES[name].word))));
}

/** @param {any} summary */
export function firing({ firing: alerts, alerts: counts }) {
  const acknowledged = counts.acknowledged ? ` · ${number(counts.acknowledged)} acknowledged` : "";
  const total = (counts.critical ?? 0) + (counts.warning ?? 0) + (counts.info ?? 0);
  const more = h("a", { class: "more", href: page("/alerts") }, `${number(total)} firing${acknowledged}`);
  const hidden = total - alerts.length;
  const body = alerts.length
    ? h("div", { class: "alerts-list" }, alerts.map(alertLine),
      hidden > 0 && h("a", { class: "link more-alerts", href: page("/alerts") }, `${number(hidden)} more`))
    : h("div", { class: "all-well" }, glyph(STATES.up.shape), h("b", null, "Nothing is firing"), "Alerts appear here as soon as a rule holds.");
  return card("Firing alerts", more, body, "o-firing");
}

/** @param {any} alert */
const alertLine = (alert) => h("a", { href: page(`/alerts?id=${alert.alert_id}`) }, severity(alert.severity),
  h("b", { class: "clip" }, alert.subject), h("span", { class: "clip muted why" }, words(alert.alert_type), " · ", reason(alert)),
  h("span", { class: "muted nowrap" }, since(alert.since ?? alert.fired_at)));

/** Who sits where: shares of free and busy systems. @param {any} summary */
export function use({ usage, systems }) {
  const { free = 0, busy = 0 } = usage ?? {};
  const rest = Math.max(0, systems - free - busy);
  const text = `${number(busy)} busy, ${number(free)} free, ${number(rest)} not known`;
  return card("Use", null, h("div", { class: "card-body" },
    h("div", { class: "use", role: "img", "aria-label": text },
      h("span", { class: "busy", style: { "flex-grow": busy } }), h("span", { class: "free", style: { "flex-grow": free } }),
      h("span", { style: { "flex-grow": rest } })),
    h("div", { class: "legend" }, h("span", null, h("i", { class: "busy" }), h("b", null, number(busy)), " busy"),
      h("span", null, h("i", { class: "free" }), h("b", null, number(free)), " free"),
      rest > 0 && h("span", null, h("b", null, number(rest)), " not known"))));
}

/** @param {any} summary */
export function queues({ queues: list, queue_error: error, depth, no_worker: idle, now: at }) {
  const more = h("a", { class: "more", href: page("/queues") }, "Queues");
  if (!list) return card("Queues", more, h("div", { class: "card-body muted said" }, error || "No queue is set up: collect writes directly."));
  const sum = (/** @type {string} */ name) => list.reduce((/** @type {number} */ total, /** @type {any} */ queue) => total + (queue[name] ?? 0), 0);
  const dead = sum("dead");
  return card("Queues", more, h("div", { class: "card-body" },
    error && h("p", { class: "error-text" }, `As they were last: ${error}`),
    idle && h("p", { class: "error-text" }, glyph(STATES.warning.shape), " No worker is running: messages wait. Start one with ", h("code", null, "labmon consume")),
    h("div", { class: "legend queue-line" },
    h("span", null, h("b", null, number(sum("ready"))), " waiting"), h("span", null, h("b", null, number(sum("in_flight"))), " in work"),
    dead ? h("a", { href: page("/queues/dead") }, h("b", null, number(dead)), " dead") : h("span", null, h("b", null, "0"), " dead")),
    spark(depth ?? [], Date.parse(at) / 1000)));
}

/** Messages waiting over the last two hours, each at its time. @param {Array<[number, number | null]>} depth
 * @param {number} to seconds since 1970 */
function spark(depth, to) {
  if (depth.length < 2) return null;
  const values = depth.map(([, ready]) => ready);
  const first = to - 7200;
  const top = Math.max(10, ...values.map((value) => value ?? 0));
  const x = (/** @type {number} */ i) => Math.max(0, Math.min(400, ((depth[i][0] - first) / 7200) * 400));
  const y = (/** @type {number} */ value) => 54 - (value / top) * 50;
  return [svg("svg", { class: "spark", viewBox: "0 0 400 56", preserveAspectRatio: "none", role: "img",
    "aria-label": `Messages waiting since ${ago(first)}, at most ${number(top)}` },
    svg("path", { class: "under", d: area(values, null, x, y, 54) }), svg("path", { class: "line", d: line(values, x, y) })),
    h("div", { class: "spark-foot" }, h("span", null, ago(first)), h("span", null, `at most ${number(top)} waiting`), h("span", null, "now"))];
}

/** @param {any} summary */
export function labs({ labs: list }) {
  if (!list.length) return null;
  const rooms = list.filter((/** @type {any} */ lab) => lab.lab_id !== null).length;
  const more = h("a", { class: "more", href: page("/labs") }, counted(rooms, "lab"));
  return card("Labs", more, h("div", { class: "labs" }, sortBy([...list], (lab) => lab.name, false).map((/** @type {any} */ lab) =>
    h("a", { href: page(lab.lab_id === null ? "/labs" : `/labs/${lab.lab_id}`) }, h("b", { class: "clip", title: lab.name ?? "" }, lab.name ?? "In no lab"), stateBar(lab.states),
      wrong(lab.states), h("small", { title: `${number(lab.free ?? 0)} of ${number(lab.systems)} systems are free` }, `${number(lab.free ?? 0)} free`)))));
}

/** How many are critical or down, with their shapes. @param {Record<string, number>} states */
const wrong = (states) => h("small", { class: "wrong" }, ["critical", "down"].filter((name) => states[name]).map((name) =>
  [glyph(STATES[name].shape, `glyph s-${name}`), h("span", { title: STATES[name].word }, number(states[name]))]));

const WORST = { cpu_percent: "Busiest CPU", ram_percent: "Fullest memory", disk_percent: "Fullest disk" };

/** @param {any} summary */
export function worst({ worst: lists }) {
  const cards = Object.entries(WORST).filter(([metric]) => lists?.[metric]?.length).map(([metric, title]) => {
    const more = h("a", { class: "more", href: page(`/systems?sort=-${metric}`) }, "All");
    return card(title, more, h("div", { class: "worst" }, lists[metric].map((/** @type {any} */ row) =>
      h("a", { href: page(`/systems/${row.system_id}`) }, h("span", { class: "clip" }, h("b", { class: "strong" }, nameOf(row)),
        row.lab && h("small", null, row.lab)), meter(row.value)))));
  });
  return cards.length ? h("div", { class: "o-worst" }, cards) : null;
}

/** What a new installation shows: the next commands. @param {string[]} commands */
export const setup = (commands) => h("section", { class: "card" }, h("div", { class: "empty" },
  h("h3", null, "No system is known yet"), h("p", { class: "muted" }, "Run these commands; this page fills by itself."),
  h("pre", null, commands.map((line) => h("code", null, line)))));
