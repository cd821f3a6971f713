// Queues: what waits, is held and is dead; how fast it comes and goes; who works.

import { api, bytes, duration, empty, find, h, notice, number, page, param, query, replace, segment, setParams, since, tag } from "../lib.js";
import { Chart, ChartGroup } from "../chart.js";
import { live } from "../live.js";

/** @typedef {Record<string, any>} Row */

const RANGES = [["1", "1 h"], ["6", "6 h"], ["24", "24 h"], ["168", "7 d"], ["720", "30 d"]];
let hours = RANGES.some(([value]) => value === param("hours")) ? param("hours") : "6";
let chosen = param("queue");
let limits = { warning: 1000, critical: 10000 };
/** @type {string[]} */
let names = [];

const LEVELS = { normal: ["Normal", "s-up"], ok: ["Normal", "s-up"], warning: ["Warning", "s-warning"], critical: ["Critical", "s-critical"] };
const short = (/** @type {string} */ name) => name.replace(/_queue$/, "").replaceAll("_", " ");
const rate = (/** @type {number | null | undefined} */ value) => (value === null || value === undefined ? "–" : `${number(value, value < 10 ? 1 : 0)}/s`);

/** @type {{from: number, to: number} | null} */
let zoomed = null;
const group = new ChartGroup({
  onzoom: (from, to) => { zoomed = { from, to }; readSeries(); },
  onreset: () => { zoomed = null; readSeries(); },
});
const depth = new Chart(find("#depth"), { title: "Messages in the queues", least: 1000, group });
const flow = new Chart(find("#flow"), { title: "Messages per second", unit: "/s", group });

/** @param {any} answer */
function draw(answer) {
  const { queues, workers, error } = answer;
  if (answer.limits) limits = answer.limits;
  replace(find("#broker"), error && notice(`The queues cannot be read: ${error}`, "error"));
  // Without the broker the last figures stay, and the line above says that they are old.
  if (queues?.length) {
    drawQueues(queues);
    pick(queues.map((/** @type {Row} */ one) => one.queue));
  } else if (!error) replace(find("#queues"), empty({ title: "No queues yet", commands: ["labmon setup-queues"] }));
  find("#queues").classList.toggle("stale", Boolean(error));
  if (workers) drawWorkers(workers);
}

/** @param {Row} one */
function lanes(one) {
  const other = one.lanes ?? (one.ready_high === null || one.ready_high === undefined ? null : { high: { ready: one.ready_high }, normal: { ready: one.ready - one.ready_high } });
  if (!other) return null;
  const entries = Array.isArray(other) ? other.map((lane) => [lane.lane ?? lane.name, lane]) : Object.entries(other);
  return h("small", null, entries.map(([name, lane]) => `${name} ${number(lane?.ready ?? lane)}`).join(" · "));
}

/** @param {Row[]} queues */
function drawQueues(queues) {
  const rows = queues.map((one) => {
    const [word, css] = LEVELS[/** @type {keyof typeof LEVELS} */ (one.level)] ?? [one.level, ""];
    return h("tr", null,
      h("th", { scope: "row" }, h("span", { class: "two-lines" }, one.queue, one.advice && h("small", { class: "wide-cell" }, one.advice))),
      cell("State", tag(word, css)),
      cell("Ready", h("span", { class: "two-lines" }, h("b", null, number(one.ready)), lanes(one)), "num"),
      cell("In flight", number(one.in_flight), "num"),
      cell("Dead", one.dead ? h("a", { class: "link", href: page(`/queues/dead${query({ queue: one.queue })}`) }, number(one.dead)) : "0", "num"),
      cell("In", rate(one.in_per_second), "num"),
      cell("Out", rate(one.out_per_second), "num"),
      cell("Time to drain", drain(one), "num"),
      cell("Oldest", one.oldest_age_seconds === null ? "–" : duration(one.oldest_age_seconds), "num"),
      cell("Workers", number(one.consumers), "num"));
  });
  const heads = ["Queue", "State", "Ready", "In flight", "Dead", "In", "Out", "Time to drain", "Oldest", "Workers"];
  replace(find("#queues"), h("div", { class: "table-wrap" }, h("table", { class: "table stacked", "aria-label": "Queues" },
    h("thead", null, h("tr", null, heads.map((text, index) => h("th", { scope: "col", class: index > 1 ? "num" : "" }, text)))), h("tbody", null, rows))));
}

/** @param {string} label @param {any} content @param {string} [css] */
const cell = (label, content, css) => h("td", { class: css, dataset: { label } }, content);

/** @param {Row} one */
function drain(one) {
  if (!one.ready) return "empty";
  return one.drain_seconds === null || one.drain_seconds === undefined ? "not shrinking" : duration(one.drain_seconds);
}

/** @param {Row[]} workers */
function drawWorkers(workers) {
  const alive = workers.filter((one) => one.is_alive !== false && !String(one.state).startsWith("dead")).length;
  replace(find("#workers-sub"), workers.length ? `${number(alive)} of ${number(workers.length)} running` : "");
  const heads = ["Worker", "Queue", "State", "Rate", "Stored", "Dead letters", "Last batch", "Memory", "Restarts"];
  replace(find("#workers"), workers.length === 0
    ? empty({ title: "No worker is running", text: "Messages wait in the queues until one does.", commands: ["labmon consume"] })
    : h("div", { class: "table-wrap" }, h("table", { class: "table stacked", "aria-label": "Workers" },
      h("thead", null, h("tr", null, heads.map((text, index) => h("th", { scope: "col", class: index > 2 ? "num" : "" }, text)))),
      h("tbody", null, workers.map(worker)))));
}

/** @param {Row} one */
function worker(one) {
  const dead = one.is_alive === false || String(one.state).startsWith("dead");
  return h("tr", null,
    h("th", { scope: "row" }, h("span", { class: "two-lines" }, `${one.host} · ${one.number}`, h("small", null, one.pid ? `process ${one.pid}` : "no process"))),
    cell("Queue", short(one.queue)),
    cell("State", tag(one.state, dead ? "s-critical" : one.state === "working" ? "s-up" : "")),
    cell("Rate", rate(one.per_second), "num"),
    cell("Stored", number(one.stored), "num"),
    cell("Dead letters", number(one.rejected), "num"),
    cell("Last batch", one.last_batch_at ? [`${number(one.last_batch)} · `, since(one.last_batch_at)] : "–", "num"),
    cell("Memory", bytes(one.rss_bytes), "num"),
    cell("Restarts", one.restarts ? h("b", { class: "error-text" }, number(one.restarts)) : "0", "num"));
}

/** Choices of the charts. @param {string[]} all */
function pick(all) {
  if (names.join() === all.join()) return;
  names = all;
  if (!names.includes(chosen)) chosen = "";
  const options = /** @type {[string, string][]} */ ([["", "All"], ...names.map((name) => [name, short(name)])]);
  replace(find("#which"), segment({ label: "Queue of the charts", options, value: chosen, onchoose: (value) => {
    chosen = value;
    setParams({ queue: value });
    readSeries();
  } }));
  readSeries();
}

let turn = 0;
async function readSeries() {
  const mine = ++turn;
  const to = zoomed?.to ?? Math.round(Date.now() / 1000);
  const from = zoomed?.from ?? to - Number(hours) * 3600;
  try {
    const answer = await api.get(`/queues/series${query({ from: Math.floor(from), to: Math.ceil(to) })}`);
    if (mine !== turn) return;
    drawSeries({ from, to }, answer);
  } catch {
    // The charts stay as they are; the list says what is wrong.
  }
}

/** @param {{from: number, to: number}} range @param {{t: number[], queues: Record<string, Row>}} answer */
function drawSeries(range, { t, queues }) {
  const lines = [{ threshold: limits.warning, severity: "warning" }, { threshold: limits.critical, severity: "critical" }];
  const one = chosen && queues[chosen];
  const all = Object.entries(queues);
  depth.draw({ ...range, t, limits: lines, series: one
    ? [line("Ready", one.ready, one.ready_max), line("In flight", one.in_flight), line("Dead", one.dead)]
    : all.map(([name, values], index) => ({ ...line(short(name), values.ready, values.ready_max), colour: (index % 4) + 1 })) });
  flow.draw({ ...range, t, series: one
    ? [line("In", one.in_per_second), line("Out", one.out_per_second)]
    : all.map(([name, values], index) => ({ ...line(`${short(name)} out`, values.out_per_second), colour: (index % 4) + 1 })) });
}

/** @param {string} name @param {any} avg @param {any} [max] */
const line = (name, avg, max) => ({ name, avg, max: max ?? undefined });

find("#ranges").append(segment({ label: "Range", options: /** @type {any} */ (RANGES), value: hours, onchoose: (value) => {
  hours = value;
  zoomed = null;
  setParams({ hours: value === "6" ? null : value });
  readSeries();
} }));

/** @type {ReturnType<typeof setTimeout> | undefined} */
let timer;
async function read() {
  clearTimeout(timer);
  try {
    draw(await api.get("/queues"));
    replace(find("#away"));
  } catch (error) {
    replace(find("#away"), notice(error instanceof Error ? error.message : String(error), "warning"));
    timer = setTimeout(read, 5000);
  }
}

live.on("queues", (answer) => {
  replace(find("#away"));
  draw(answer);
});
live.on("reset", read);
setInterval(() => document.hidden || zoomed || readSeries(), 30_000);
read();
