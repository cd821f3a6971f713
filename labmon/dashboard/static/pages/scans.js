// Scans: what was asked when, and what each of them changed.

import { api, duration, find, h, ms, number, page, replace, tag, time } from "../lib.js";
import { Listing } from "../listing.js";
import { live } from "../live.js";
import { words } from "../amounts.js";

/** @typedef {Record<string, any>} Row */

const CHANGES = { found: "New", moved: "Moved", lost: "Lost its address", renamed: "Renamed", mac: "MAC address", department: "Department",
  shared: "MAC address at several addresses", unshared: "MAC address at one address again", gone: "Gone", back: "Back", status: "Status",
  answered: "Answered, though retired", set: "Changed by hand", merged: "Merged with", split: "Split off", undone: "Undone" };

/** @param {Row} one */
function change(one) {
  const from = one.old_value && one.new_value ? `${one.old_value} → ${one.new_value}` : one.new_value ?? one.old_value ?? "";
  return h("li", null, h("span", { class: "muted" }, CHANGES[/** @type {keyof typeof CHANGES} */ (one.change)] ?? words(one.change)),
    h("span", null, h("a", { class: "link", href: page(`/systems/${one.system_id}`) }, one.hostname ?? one.ip_address ?? `System ${one.system_id}`), " ", from));
}

/** @param {Row} one */
async function details(one) {
  const { scan = one, changes } = await api.get(`/scans/${one.scan_id}`);
  /** @type {[string, any][]} */
  const facts = [
    ["Scan", number(scan.scan_id)],
    ["Started", time(scan.started_at, "long")],
    ["Finished", time(scan.finished_at, "long")],
    ["Addresses not sent to", scan.errors ? number(scan.errors) : null],
  ];
  return h("div", { class: "details-grid" },
    h("section", null, h("h2", null, "Facts"), h("dl", { class: "pairs" }, facts.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]))),
    h("section", null, h("h2", null, `What changed (${number(changes.length)})`),
      changes.length ? h("ol", { class: "steps" }, changes.map(change)) : h("p", { class: "muted" }, "Nothing.")));
}

/** @param {number} seconds */
const took = (seconds) => (seconds < 1 ? "under 1 s" : duration(seconds));

/** @param {string} title @param {string} name */
const count = (title, name) => ({ title, cell: (/** @type {Row} */ one) => (one[name] ? h("b", null, number(one[name])) : h("span", { class: "muted" }, "0")), css: "num" });

const list = new Listing(find("#scans"), {
  label: "Scans",
  path: "/scans",
  key: "scan_id",
  name: (one) => `the scan of ${one.target_range}`,
  pageSize: 50,
  onread: () => replace(find("#scans-sub"), list.items.length === 1 ? "The newest one" : `The newest ${number(list.items.length)}`),
  details,
  empty: { title: "No scans yet", text: "A scan finds the systems of a network.", commands: ["labmon scan 10.30.5.0/24 --dept 1"] },
  columns: [
    { title: "When", cell: (one) => time(one.started_at), css: "nowrap" },
    { title: "Range", cell: (one) => h("span", { class: "two-lines" }, h("span", { class: "strong" }, one.target_range), h("small", null, `Department ${one.dept_id} · ${one.scan_type}`)), css: "wide-cell" },
    { title: "State", cell: (one) => tag(words(one.status), one.status === "completed" ? "s-up" : "s-warning") },
    { title: "Took", cell: (one) => took((ms(one.finished_at) - ms(one.started_at)) / 1000), css: "num nowrap" },
    { title: "Found", cell: (one) => number(one.systems_found), css: "num" },
    count("New", "systems_new"),
    count("Moved", "systems_moved"),
    count("Gone", "systems_gone"),
  ],
});
list.table.classList.add("stacked");
live.on("reset", () => list.reload(true));
setInterval(() => document.hidden || list.reload(true), 30_000);
list.reload();
