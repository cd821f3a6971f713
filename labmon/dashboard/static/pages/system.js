// One system: facts, availability, charts, alerts, history.

import { Problem, api, dialog, empty, find, h, load, may, ms, now, page, param, query, replace, segment, setParams, state, tag, timeText } from "../lib.js";
import { words } from "../amounts.js";
import { decode, nameOf } from "../systems-data.js";
import { Chart, ChartGroup } from "../chart.js";
import { live } from "../live.js";
import { METRICS, PLANS, limitsOf, seriesOf } from "./system-charts.js";
import { facts, firing, historyRow, strip } from "./system-parts.js";

const id = find("#main").dataset.id;
const path = `/systems/${id}`;

/** @type {Record<string, [number, string]>} seconds, and words */
const RANGES = { "1h": [3600, "1 h"], "6h": [21600, "6 h"], "24h": [86400, "24 h"], "7d": [604800, "7 d"], "30d": [2592000, "30 d"],
  "1y": [31536000, "1 y"] };

/** The range of an address that names none. */
let usual = "24h";

/** Seconds shown now. A range with an end of its own stands still. */
function range() {
  const from = Number(param("from"));
  const to = Number(param("to"));
  if (ms(from) && ms(to) > ms(from)) return { from, to, name: "custom" };
  const name = param("range", usual) in RANGES ? param("range", usual) : usual;
  const end = Math.floor(now() / 1000);
  return { from: end - RANGES[name][0], to: end, name };
}

/** Seconds. */
const YOUNG = 6 * 3600;

const group = new ChartGroup({ onzoom: zoom, onreset: () => choose(param("range", usual)) });
/** @type {Map<string, Chart>} */
const charts = new Map();
/** @type {any[]} */
let limits = [];
/** @type {AbortController | null} */
let asked = null;
/** What is drawn. @type {any} */
let shown = null;

/** @param {number} from @param {number} to */
function zoom(from, to) {
  // Closer than a minute nothing more can be seen.
  if (to - from < 60) [from, to] = [(from + to) / 2 - 30, (from + to) / 2 + 30];
  setParams({ from: Math.round(from), to: Math.round(to) }, { push: true });
  drawRanges();
  readSeries();
}

/** @param {string} name */
function choose(name) {
  setParams({ range: name === usual ? "" : name, from: "", to: "" }, { push: true });
  drawRanges();
  readSeries();
}

function drawRanges() {
  const { from, to, name } = range();
  const custom = h("button", { type: "button", class: "btn btn-small", onclick: askRange },
    name === "custom" ? `${timeText(from)} – ${timeText(to)}` : "Custom range");
  replace(find("#ranges"), segment({ label: "Range", value: name, onchoose: choose,
    options: Object.entries(RANGES).map(([key, [, word]]) => [key, word]) }), custom,
    name === "custom" && h("button", { type: "button", class: "btn btn-small", onclick: () => group.reset() }, "Back"),
    h("span", { class: "muted hint" }, "Line: average. Shade: up to the maximum. Drag to zoom, double click to go back."));
}

/** @param {number} seconds @returns {string} as a datetime-local field takes it, in the viewer's zone */
function local(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}

function askRange() {
  const { from, to } = range();
  dialog({ title: "Range", action: "Show", fields: [
    { name: "from", label: "From", type: "datetime-local", value: local(from), required: true },
    { name: "to", label: "To", type: "datetime-local", value: local(to), required: true },
  ], run: (values) => {
    const [first, past] = [values.from, values.to].map((text) => new Date(text).getTime() / 1000);
    if (!(past > first)) throw new Error("The end must be after the start.");
    zoom(first, past);
  } });
}

async function readSeries() {
  asked?.abort();
  asked = new AbortController();
  const { signal } = asked;
  const { from, to } = range();
  const box = document.getElementById("charts");
  if (!box) return;
  // As many points as the charts have room for: one for each px.
  const points = Math.max(200, Math.min(1440, Math.round(plotWidth(box))));
  try {
    const answer = await api.get(`${path}/series${query({ from: Math.round(from), to: Math.round(to), metrics: METRICS.join(","), points })}`, signal);
    if (!signal.aborted) drawSeries(answer);
    if (!signal.aborted) replace(find("#problem"));
  } catch (error) {
    if (signal.aborted) return;
    if (gone) return;
    replace(find("#problem"), h("p", { class: "notice notice-error", role: "alert" }, error instanceof Error ? error.message : String(error)));
  } finally {
    if (!signal.aborted) box.removeAttribute("aria-busy");
  }
}

/** @param {HTMLElement} box */
function plotWidth(box) {
  const columns = Math.max(1, getComputedStyle(box).gridTemplateColumns.split(" ").length);
  return box.clientWidth / columns - 80;
}

/** @param {any} answer of /series */
function drawSeries(answer) {
  shown = answer;
  const box = find("#charts");
  const missing = [];
  for (const plan of PLANS) {
    const series = seriesOf(plan, answer);
    let chart = charts.get(plan.title);
    if (!series.length) {
      missing.push(plan.title);
      if (chart) chart.element.hidden = true;
      continue;
    }
    if (!chart) {
      const element = h("figure", { class: "card" });
      chart = new Chart(element, { ...plan, group });
      charts.set(plan.title, chart);
    }
    chart.element.hidden = false;
    box.append(chart.element);
    const [from, to] = [answer.from, answer.to].map((moment) => (typeof moment === "number" ? moment : Date.parse(moment) / 1000));
    chart.draw({ from, to, t: answer.t, series, limits: limitsOf(plan, answer, limits) });
  }
  const none = charts.size === 0 || [...charts.values()].every((chart) => chart.element.hidden);
  find("#unmeasured").textContent = none ? "No readings in this range." : missing.length ? `No readings of: ${missing.join(", ").toLowerCase()}.` : "";
}

/** @param {any} system */
function draw(system) {
  const name = nameOf(system);
  document.title = `${name} · labmon`;
  find("#name").textContent = name;
  replace(find("#crumbs"), h("a", { href: page("/systems") }, "Systems"), " / ",
    system.lab && [h("a", { href: page(`/labs/${system.lab_id}`) }, system.lab), " / "], name);
  const isOut = ["retired", "ignored", "quarantined"].includes(system.status);
  replace(find("#badges"), isOut ? tag(words(system.status)) : state(system.state), system.usage && tag(system.usage === "busy" ? "Busy" : "Free"));
  replace(find("#facts"), facts(system).map(([title, value]) => h("div", null, h("dt", null, title), h("dd", null, value))),
    system.status_error && h("div", null, h("dt", null, isOut ? "Note" : "Last error"), h("dd", null, system.status_error)));
  replace(find("#firing"), firing(system.alerts ?? [], may("operator") ? readSystem : null));
  replace(find("#actions"), may("operator") && h("button", { type: "button", class: "btn", onclick: () => plan(name) }, "Plan maintenance"));
  limits = system.limits ?? [];
  // The readings may have come before the limits.
  if (shown) drawSeries(shown);
}

/** @param {string} name */
function plan(name) {
  dialog({ title: "Plan maintenance", text: `${name}: no alerts are sent until then.`, action: "Plan", fields: [
    { name: "from", label: "From", type: "datetime-local", value: local(now() / 1000), required: true },
    { name: "until", label: "Until", type: "datetime-local", value: local(now() / 1000 + 7200), required: true },
    { name: "comment", label: "Why", placeholder: "for example: new memory", value: "" },
  ], run: async ({ from, until, comment }) => {
    await api.post("/maintenance", { system_id: Number(id), starts_at: new Date(from).toISOString(), until: new Date(until).toISOString(),
      comment: comment.trim() || null });
    await readSystem();
  } });
}

async function readSystem() {
  if (gone) return;
  await load(find("#problem"), () => api.get(path).catch(leave), (system) => {
    if (!system) return;
    draw(system);
    replace(find("#problem"));
  });
}

let gone = false;

/** A system that was removed has nothing to show but that. @param {unknown} error */
function leave(error) {
  if (!(error instanceof Problem) || error.status !== 404) throw error;
  gone = true;
  asked?.abort();
  find("#name").textContent = `System ${id}`;
  replace(find("#content"), empty({ title: "Not there", text: error.detail }),
    h("p", null, h("a", { class: "btn", href: page("/systems") }, "All systems")));
  return null;
}

/** Where the first reading is younger than six hours the last hour is shown: of a day it would be a sliver.
 * @param {any} month of /availability */
function showYoung(month) {
  const earlier = month?.states.slice(0, -2).some((/** @type {string | null} */ word) => word === "up" || word === "partly");
  if (!shown || !month || earlier || range().name !== "24h" || param("range")) return;
  const metrics = METRICS.filter((metric) => shown[metric]);
  const first = shown.t.findIndex((/** @type {number} */ _, /** @type {number} */ i) => metrics.some((metric) => shown[metric].avg[i] !== null));
  if (first < 0 || shown.t[first] < now() / 1000 - YOUNG) return;
  usual = "1h";
  drawRanges();
  readSeries();
}

async function readAvailability() {
  const [day, month] = await Promise.all([1, 30].map((days) => api.get(`${path}/availability?days=${days}`).catch(() => null)));
  if (gone) return null;
  // Of a system that is known since yesterday the longer strip would say the same, in one cell.
  const older = month?.states.slice(0, -2).some(Boolean);
  replace(find("#availability"), day && strip("24 h", day), older && strip("30 d", month));
  find("#availability").hidden = !day && !older;
  return month;
}

/** @param {string} [after] */
async function readHistory(after) {
  const data = await api.get(`${path}/events${query({ after, limit: 20 })}`).catch(() => null);
  const box = document.getElementById("history");
  if (!box) return;
  if (!data) return void (box.hidden = true);
  const rows = data.items.map(historyRow);
  const more = data.next && h("button", { type: "button", class: "btn btn-small", onclick: (/** @type {any} */ event) => {
    event.target.remove();
    readHistory(data.next);
  } }, "Older");
  if (!after) replace(box, h("div", { class: "card-head" }, h("h2", null, "History")), h("div", { class: "table-wrap", tabindex: "0", role: "group", "aria-label": "Changes" },
    h("table", { class: "table" }, h("thead", null, h("tr", null, ["When", "What", "Value", "Error"].map((word) => h("th", { scope: "col" }, word)))),
      h("tbody", null, rows.length ? rows : h("tr", null, h("td", { colspan: "4", class: "muted" }, "Nothing changed yet."))))));
  else box.querySelector("tbody").append(...rows);
  if (more) box.append(h("div", { class: "toolbar" }, more));
}

live.on("systems", (data) => {
  // Only the row of this system matters; the rest is another page's.
  const at = data.columns.indexOf("system_id");
  const mine = data.rows.filter((/** @type {any[]} */ row) => String(row[at]) === id);
  if (!mine.length) return;
  const [row] = decode({ columns: data.columns, rows: mine });
  replace(find("#badges"), state(row.state), row.usage && tag(row.usage === "busy" ? "Busy" : "Free"));
  fresh = true;
});
live.on("reset", () => {
  readSystem();
  readSeries();
});
let fresh = false;
setInterval(() => {
  if (!fresh || document.hidden || document.querySelector(".chart-plot:hover")) return;
  fresh = false;
  readSystem();
  if (range().name !== "custom") readSeries();
}, 10_000);
addEventListener("popstate", () => {
  drawRanges();
  readSeries();
});

drawRanges();
readSystem();
Promise.all([readAvailability(), readSeries()]).then(([month]) => showYoung(month));
readHistory();
