// Audit: who changed what, from where.

import { find, h, time, timeText } from "../lib.js";
import { Listing, filterByWords } from "../listing.js";
import { live } from "../live.js";

/** @typedef {Record<string, any>} Row */

const MOMENT = /^\d{4}-\d\d-\d\dT\d\d:\d\d/;

/** Times are the viewer's. @param {any} value */
const plain = (value) => (MOMENT.test(String(value)) ? timeText(value, "long") : value);

/** What was changed, as name and value. @param {Row} one */
function detail(one) {
  const pairs = Object.entries(one.detail ?? {});
  if (!pairs.length) return null;
  return pairs.map(([name, value]) => `${name.replaceAll("_", " ")}: ${typeof value === "object" && value !== null ? JSON.stringify(value) : plain(value)}`).join(" · ");
}

const wordField = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter the audit" });
const box = h("div");
find("#audit").append(h("div", { class: "toolbar" }, wordField), box);
filterByWords(wordField, () => list.restart());

const list = new Listing(box, {
  label: "Audit",
  path: "/audit",
  key: "audit_id",
  filter: () => ({ q: wordField.value.trim() }),
  empty: { title: "Nothing has been changed yet", text: "Logins, acknowledgements, replays and every other change will stand here." },
  columns: [
    { title: "When", cell: (one) => time(one.at, "long"), css: "nowrap" },
    { title: "Who", cell: (one) => h("span", { class: "strong" }, one.actor) },
    { title: "What", cell: (one) => h("span", { class: "mono" }, one.action), css: "nowrap" },
    { title: "Of", cell: (one) => one.object, css: "wide-cell" },
    { title: "Detail", cell: detail, css: "wide-cell" },
    { title: "From", cell: (one) => h("span", { class: "mono" }, one.address) },
  ],
});
list.table.classList.add("stacked");
live.on("reset", () => list.reload(true));
setInterval(() => document.hidden || list.reload(true), 15_000);
list.reload();
