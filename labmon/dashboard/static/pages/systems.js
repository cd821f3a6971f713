// The list of all systems.

import { STATES, ago, api, counted, duration, find, glyph, h, level, load, number, page, param, percent, query, replace, root, setParams,
  state, timeText } from "../lib.js";
import { decode, nameOf } from "../systems-data.js";
import { Grid } from "../grid.js";
import { live } from "../live.js";

/** @param {string} id @param {string} title @param {any} [more] */
const share = (id, title, more) => ({ id, title, width: 7.25, num: false, down: true, cell: (/** @type {any} */ row) => bar(row[id]), ...more });

/** @param {number | null} value */
function bar(value) {
  if (value === null || value === undefined) return h("span", { class: "muted" }, "–");
  return h("span", { class: "meter" }, h("b", null, percent(value)),
    h("span", { class: `bar ${level(value)}` }, h("i", { style: { width: `${Math.min(100, value)}%` } })));
}

/** @param {string} id @param {string} title @param {(value: number) => string} text @param {any} [more] */
const figure = (id, title, text, more) => ({ id, title, width: 4.25, grow: 0.5, num: true, down: true, hidden: true,
  cell: (/** @type {any} */ row) => (row[id] === null || row[id] === undefined ? "–" : text(row[id])), ...more });

const href = (/** @type {any} */ row) => page(`/systems/${row.system_id}`);

/** @type {import("../grid.js").Column[]} */
const COLUMNS = [
  { id: "hostname", title: "System", width: 10, grow: 2, search: true, fixed: true, narrow: 8, value: nameOf,
    cell: (row) => h("a", { href: href(row), tabindex: "-1", title: nameOf(row) }, nameOf(row)) },
  { id: "ip_address", title: "Address", width: 7.5, search: true },
  { id: "lab", title: "Lab", width: 5.5, search: true },
  { id: "state", title: "State", width: 7.75, grow: 0.5, narrow: 7.25, value: (row) => STATES[row.state]?.rank ?? 9, cell: (row) => state(row.state) },
  { id: "usage", title: "Use", width: 3.5, grow: 0.3, search: true, help: "Busy: somebody is logged in, or the CPU is above 20 %. Free: neither. Only of readings newer than 15 min" },
  share("cpu_percent", "CPU", { narrow: 4.5 }),
  share("ram_percent", "Memory"),
  share("disk_percent", "Disk"),
  share("gpu_percent", "GPU", { hidden: true }),
  figure("load1", "Load", (value) => value.toFixed(2), { hidden: false }),
  figure("cpu_temperature_celsius", "Temp", (value) => `${Math.round(value)} °C`, { hidden: false }),
  figure("logged_in_users", "Users", (value) => number(value), { hidden: false, width: 4 }),
  figure("uptime_seconds", "Uptime", duration, { width: 7 }),
  figure("network_recv_mbps", "Received", (value) => `${number(value, 1)} Mbit/s`, { width: 7 }),
  figure("network_sent_mbps", "Sent", (value) => `${number(value, 1)} Mbit/s`, { width: 7 }),
  figure("alerts", "Alerts", (value) => (value ? number(value) : "–"), { width: 4.5 }),
  { id: "status_since", title: "State since", width: 8, num: true, down: true, hidden: true, cell: (row) => timeText(row.status_since) },
  { id: "dept_id", title: "Department", width: 6, num: true, hidden: true },
  { id: "last_collected", title: "Measured", width: 6, grow: 0.6, num: true, down: true,
    cell: (row) => h("span", { class: "muted", title: timeText(row.last_collected, "long") }, ago(row.last_collected)) },
];

const STORED = "labmon.systems.columns";
const filter = find("#filter");
const lab = find("#lab");
const usage = find("#usage");
const tiles = find("#tiles");
let wanted = { q: param("q"), state: param("state"), lab: param("lab"), usage: param("usage") };

/** Columns of the address, or those chosen last, or the usual ones. */
function columnIds() {
  const text = param("cols") || localStorage.getItem(STORED) || "";
  return text ? text.split(",") : undefined;
}

const grid = new Grid(find("#grid"), { label: "Systems", columns: COLUMNS, key: (row) => row.system_id, href,
  sort: param("sort", "state"), columnIds: columnIds() });

function apply() {
  grid.filter(wanted.q, (row) => inTile(row, wanted.state) && (!wanted.lab || String(row.lab_id) === wanted.lab) &&
    (!wanted.usage || row.usage === wanted.usage));
}

/** @param {any} row @param {string} name */
const inTile = (row, name) => !name || row.state === name;

/** @param {Partial<typeof wanted>} change */
function want(change) {
  wanted = { ...wanted, ...change };
  setParams(wanted);
  drawCsv();
  apply();
  // Their counts do not hang on the words.
  if ("state" in change || "lab" in change) drawTiles();
}

/** The link to the file with what the list shows. On a phone that is more than has room. */
function drawCsv() {
  const columns = COLUMNS.filter((column) => column.fixed || grid.chosen.has(column.id)).map((column) => column.id);
  find("#csv").setAttribute("href", `${root}/api/v1/systems.csv${query({ ...wanted, sort: grid.sorted, columns: columns.join(",") })}`);
}

/** Tiles that always stand there; the others only when a system has that state. */
const ALWAYS = ["up", "warning", "critical", "down"];
const ORDER = ["up", "warning", "critical", "down", "maintenance", "off", "new"];

function drawTiles() {
  const rows = [...grid.byKey.values()].filter((row) => !wanted.lab || String(row.lab_id) === wanted.lab);
  /** @type {Record<string, number>} */
  const counts = {};
  for (const row of rows) counts[row.state] = (counts[row.state] ?? 0) + 1;
  const shown = ORDER.filter((name) => ALWAYS.includes(name) || counts[name] || wanted.state === name);
  const focused = document.activeElement instanceof HTMLElement && tiles.contains(document.activeElement) ? document.activeElement.dataset.state : null;
  replace(tiles, tile("", rows.length, "Systems"), shown.map((name) =>
    tile(name, counts[name] ?? 0, [glyph(STATES[name].shape, `glyph s-${name}`), STATES[name].word])));
  if (focused !== null) tiles.querySelector(`[data-state="${focused}"]`)?.focus();
  const up = (counts.up ?? 0) + (counts.warning ?? 0) + (counts.critical ?? 0);
  const free = rows.filter((row) => row.usage === "free").length;
  const labs = new Set(rows.map((row) => row.lab_id).filter(Boolean)).size;
  find("#sub").textContent = rows.length ? `${number(up)} answer · ${number(free)} free · ${counted(labs, "lab")}` : "";
}

/** @param {string} name @param {number} count @param {any} words */
const tile = (name, count, words) => h("button", { type: "button", class: count ? "tile" : "tile none", dataset: { state: name },
  "aria-pressed": String(wanted.state === name), title: STATES[name]?.help, onclick: () => want({ state: wanted.state === name ? "" : name }) },
  h("b", null, number(count)), h("span", null, words));

function drawLabs() {
  const labs = new Map();
  for (const row of grid.byKey.values()) if (row.lab_id !== null) labs.set(row.lab_id, row.lab);
  const sorted = [...labs].sort((a, b) => String(a[1]).localeCompare(String(b[1]), undefined, { numeric: true }));
  replace(lab, h("option", { value: "" }, "All labs"), sorted.map(([id, name]) => h("option", { value: String(id) }, name)));
  lab.value = wanted.lab;
}

function drawColumns() {
  replace(find("#columns .menu-list"), COLUMNS.filter((column) => !column.fixed).map((column) =>
    h("label", null, h("input", { type: "checkbox", checked: grid.chosen.has(column.id),
      onchange: (/** @type {any} */ event) => grid.showColumn(column.id, event.target.checked) }), column.title)));
}

function read() {
  return load(find("#problem"), () => api.get("/systems"), (data) => {
    replace(find("#problem"));
    grid.setRows(decode(data));
    drawLabs();
    drawTiles();
    if (!data.rows.length) replace(grid.none, h("div", { class: "empty" }, h("h3", null, "No system is known yet"),
      h("p", { class: "muted" }, "Find the machines of a network, then measure them:"),
      h("pre", null, h("code", null, "labmon scan 192.0.2.0/24"), h("code", null, "labmon collect"))));
    find("#grid").removeAttribute("aria-busy");
  });
}

filter.value = wanted.q;
usage.value = wanted.usage;
filter.addEventListener("input", () => want({ q: filter.value }));
filter.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
  if (event.key === "Escape") {
    filter.value = "";
    want({ q: "" });
  } else if (event.key === "ArrowDown" || event.key === "Enter") {
    event.preventDefault();
    grid.inner.focus();
    grid.keys.move(0);
  }
});
lab.addEventListener("change", () => want({ lab: lab.value }));
usage.addEventListener("change", () => want({ usage: usage.value }));
grid.element.addEventListener("gridview", () => {
  const all = grid.byKey.size;
  find("#shown").textContent = all ? (grid.view.length === all ? counted(all, "system") : `${number(grid.view.length)} of ${number(all)}`) : "";
});
grid.element.addEventListener("gridsort", () => {
  setParams({ sort: grid.sorted === "state" ? "" : grid.sorted });
  drawCsv();
});
grid.element.addEventListener("gridcolumns", () => {
  const text = [...grid.chosen].join(",");
  localStorage.setItem(STORED, text);
  setParams({ cols: text });
  drawCsv();
});

let planned = 0;
live.on("systems", (data) => {
  grid.update(decode(data), data.removed ?? []);
  // Counts of thousands are worked out at most once a second.
  planned ||= window.setTimeout(() => {
    planned = 0;
    drawTiles();
  }, 1000);
});
live.on("reset", read);
setInterval(() => document.hidden || grid.paint(true), 10_000);

apply();
want({});
drawColumns();
read();
