// All labs: a small seat map of each, with free seats.

import { api, counted, empty, find, h, load, number, onKey, page, param, replace, setParams } from "../lib.js";
import { live } from "../live.js";
import { drawSeats } from "../seatmap.js";
import { merge, rowsOf } from "../systems-data.js";

/** @typedef {Record<string, any>} Row */

const body = find("#labs");
const filter = find("[data-filter]");
/** @type {Map<number, Row>} */
let systems = new Map();
/** @type {Map<number, {card: HTMLElement, head: HTMLElement, map: any, lab: Row}>} */
const cards = new Map();
let columns = [];

const IN_NO_LAB = 0;

/** @returns {Map<number, Row[]>} */
function byLab() {
  const found = new Map();
  for (const one of systems.values()) {
    const lab = one.lab_id ?? IN_NO_LAB;
    if (!found.has(lab)) found.set(lab, []);
    found.get(lab).push(one);
  }
  return found;
}

/** @param {Row[]} members */
function headline(members) {
  const free = members.filter((one) => one.usage === "free" && one.state === "up").length;
  const busy = members.filter((one) => one.usage === "busy").length;
  const wrong = members.filter((one) => ["critical", "down"].includes(one.state)).length;
  const words = [`${number(free)} free`, `${number(busy)} busy`, `of ${number(members.length)}`];
  return [words.join(" · "), wrong ? h("span", { class: "lab-wrong" }, ` · ${number(wrong)} need${wrong === 1 ? "s" : ""} attention`) : null];
}

/** @param {Row} lab @param {Row[]} members */
function card(lab, members) {
  const head = h("span", { class: "muted" }, headline(members));
  const seats = h("div", { class: "lab-seats" }, members.length === 0 && h("p", { class: "muted" }, "No systems in this lab yet."));
  const map = drawSeats(seats, lab, members, { compact: true });
  const title = lab.lab_id ? h("a", { href: page(`/labs/${lab.lab_id}`), class: "lab-link" }, lab.name) : "In no lab";
  const element = h("article", { class: `card lab-card${lab.lab_id ? "" : " none"}` },
    h("div", { class: "lab-head" }, h("h2", null, title), head), seats);
  return { card: element, head, map, lab };
}

/** @param {Row[]} labs */
function draw(labs) {
  const members = byLab();
  cards.clear();
  const shown = [...labs];
  if (members.has(IN_NO_LAB)) shown.push({ lab_id: IN_NO_LAB, name: "systems without a lab" });
  if (shown.length === 0)
    return empty({ title: "No labs yet", text: "A lab is a room of a department, with the systems in it.",
      commands: ["labmon labs set A-101 --dept 1 --add 10.30.5.0/24"] });
  for (const lab of shown) cards.set(lab.lab_id, card(lab, members.get(lab.lab_id) ?? []));
  narrow();
  return h("div", { class: "lab-grid" }, [...cards.values()].map((one) => one.card));
}

function narrow() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const { card: element, lab } of cards.values()) {
    const text = `${lab.name} dept ${lab.dept_id ?? ""}`.toLowerCase();
    element.hidden = !words.every((/** @type {string} */ word) => text.includes(word));
    shown += element.hidden ? 0 : 1;
  }
  const free = [...systems.values()].filter((one) => one.usage === "free" && one.state === "up").length;
  replace(find("#labs-sub"), `${number(shown)} of ${number(cards.size)} · ${counted(free, "seat")} free on the campus`);
}

function refresh() {
  const members = byLab();
  for (const [id, one] of cards) {
    one.map.update(members.get(id) ?? []);
    replace(one.head, headline(members.get(id) ?? []));
  }
  narrow();
}

const read = async () => {
  const [labs, all] = await Promise.all([api.get("/labs"), api.get("/systems")]);
  columns = all.columns;
  systems = rowsOf(all);
  return labs;
};

filter.value = param("q");
filter.addEventListener("input", () => {
  setParams({ q: filter.value });
  narrow();
});
onKey("Escape", "Clear the filter", () => {
  filter.value = "";
  narrow();
});
live.on("systems", (change) => {
  if (!columns.length) return;
  const strangers = merge(systems, change);
  if (strangers) load(body, read, draw);
  else refresh();
});
live.on("reset", () => load(body, read, draw));
load(body, read, draw);
