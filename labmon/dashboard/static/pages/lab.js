// One lab: its seat map, the legend, and its systems as a list (which is also what is printed).

import { ago, api, counted, empty, find, h, load, number, page, param, percent, replace, setParams, state, svg, time } from "../lib.js";
import { live } from "../live.js";
import { drawSeats, symbol } from "../seatmap.js";
import { METRICS, legend } from "../seatplan.js";
import { merge, nameOf, rowsOf } from "../systems-data.js";

/** What free and busy mean, as store/metrics/latest.py decides it. */
const USE = "Busy: somebody is logged in, or the CPU is above 20 %. Free: nobody is, and it is not. Both only of readings newer than 15 min.";

/** @typedef {Record<string, any>} Row */

const main = find("main");
const id = Number(main.dataset.id);
const chooser = find("#colour");
/** @type {Map<number, Row>} */
let systems = new Map();
/** @type {any} */
let map = null;
let lab = { name: "", dept_id: 0 };

const members = () => [...systems.values()].filter((one) => one.lab_id === id);

function colour() {
  return chooser.value in METRICS ? chooser.value : "state";
}

function drawTotals() {
  const all = members();
  const count = (/** @type {(one: Row) => boolean} */ test) => number(all.filter(test).length);
  const known = all.filter((one) => one.usage !== null && one.logged_in_users !== null);
  const people = known.reduce((sum, one) => sum + one.logged_in_users, 0);
  const facts = [
    ["Free", count((one) => one.state === "up" && one.usage === "free")],
    ["Busy", count((one) => one.usage === "busy")],
    ["Logged in", known.length ? number(people) : "–"],
    ["Critical or down", count((one) => ["critical", "down"].includes(one.state))],
    ["Systems", number(all.length)],
  ];
  replace(find("#totals"), facts.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function drawLegend() {
  find("#legend").title = USE;
  replace(find("#legend"), legend(members(), colour()).map(({ kind, text, class: css }) =>
    h("li", null, svg("svg", { class: "seat-symbol", viewBox: "0 0 44 44", width: 20, height: 20, "aria-hidden": "true" },
      kind ? symbol(kind) : svg("g", { class: `seat ${css}` }, svg("rect", { class: "seat-shape", x: 2, y: 2, width: 40, height: 40, rx: 8 }))),
    text)));
}

function drawList() {
  const all = members().sort((a, b) => nameOf(a).localeCompare(nameOf(b), "en", { numeric: true }));
  replace(find("#systems"), all.map((one) => h("tr", null,
    h("th", { scope: "row" }, h("a", { href: page(`/systems/${one.system_id}`) }, nameOf(one))),
    h("td", { class: "mono" }, one.ip_address ?? "–"),
    h("td", null, state(one.state)),
    h("td", null, one.usage ?? "–"),
    h("td", { class: "num" }, number(one.logged_in_users)),
    h("td", { class: "num" }, percent(one.cpu_percent)),
    h("td", { class: "num" }, percent(one.ram_percent)),
    h("td", { class: "num" }, percent(one.disk_percent)),
    h("td", { class: "muted" }, one.last_collected ? ago(one.last_collected) : "never"))));
}

function refresh() {
  if (!map) return;
  map.update(members(), colour());
  drawTotals();
  drawLegend();
  drawList();
}

const frame = find("#map");

/** @param {any} answer */
function draw(answer) {
  systems = rowsOf(answer.systems);
  lab = answer.lab;
  find("h1").textContent = lab.name;
  document.title = `${lab.name} · labmon`;
  replace(find("#lab-sub"), `Department ${lab.dept_id} · ${counted(systems.size, "system")}`);
  replace(find("#printed"), "Printed ", time(Date.now() / 1000, "long"));
  if (systems.size === 0) {
    map = null;
    replace(frame, empty({ title: "No systems in this lab yet", commands: [`labmon labs set ${quoted(lab.name)} --dept ${lab.dept_id} --add 10.30.5.0/24`] }));
    find("#list").hidden = true;
    return null;
  }
  find("#list").hidden = false;
  if (!map || !frame.querySelector(".seatmap")) {
    replace(frame);
    map = drawSeats(frame, lab, members(), { colour: colour(), href: (one) => page(`/systems/${one.system_id}`) });
  }
  refresh();
  return null;
}

/** @param {string} name */
const quoted = (name) => (/^[\w.-]+$/.test(name) ? name : `'${name}'`);

const read = async () => {
  const answer = await api.get(`/labs/${id}`);
  return Array.isArray(answer.systems) ? { ...answer, systems: { columns: answer.columns, rows: answer.systems } } : answer;
};

for (const [name, { title }] of Object.entries(METRICS)) chooser.append(h("option", { value: name }, title));
chooser.value = param("colour", "state");
if (!chooser.value) chooser.value = "state";
chooser.addEventListener("change", () => {
  setParams({ colour: chooser.value === "state" ? null : chooser.value });
  refresh();
});
find("#print").addEventListener("click", () => {
  replace(find("#printed"), "Printed ", time(Date.now() / 1000, "long"));
  window.print();
});
live.on("systems", (change) => {
  if (!map) return;
  if (merge(systems, change)) load(frame, read, draw);
  else refresh();
});
live.on("reset", () => load(frame, read, draw));
load(frame, read, draw);
