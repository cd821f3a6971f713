// Dead letters: messages that could not be stored, with the reason; put back into the queue, or discarded.

import { api, bytes, confirm, dialog, find, h, may, notice, number, param, replace, setParams, since, tag, time, toast } from "../lib.js";
import { Listing, filterByWords } from "../listing.js";
import { live } from "../live.js";
import { words } from "../amounts.js";

/** @typedef {Record<string, any>} Row */

const operator = may("operator");
const queues = find("#queue");
const filter = find("[data-filter]");

/** A body as it was sent, in lines if it is JSON. @param {any} body */
function readable(body) {
  if (typeof body !== "string") return JSON.stringify(body, null, 2);
  try {
    return JSON.stringify(JSON.parse(body), null, 2);
  } catch {
    return body;
  }
}

/** "undecodable: not JSON" in two. A reason without such a word, as "Collected at 10:15: is in the future", is an
 * error as a whole. @param {string} reason @returns {[string, string]} */
function split(reason) {
  const found = /^([a-z][a-z _-]{0,40}): (.+)$/s.exec(reason);
  return found ? [found[1], found[2]] : /\d|:/.test(reason) ? ["not stored", reason] : [reason, ""];
}

/** @param {Row} one */
async function details(one) {
  /** @type {[string, any][]} */
  const facts = [
    ["Queue", one.queue],
    ["Message", h("span", { class: "mono" }, one.id)],
    ["Routing key", one.routing_key],
    ["Lane", one.high === undefined ? null : one.high ? "high" : "normal"],
    ["Sent", one.enqueued_at && time(one.enqueued_at, "long")],
    ["Died", time(one.died_at, "long")],
    ["Attempts", number(one.attempts)],
    ["Size", one.truncated ? `${bytes(one.body_bytes)}, only the beginning is shown` : null],
  ];
  return h("div", { class: "details-grid" },
    h("section", null, h("h2", null, "Facts"), h("dl", { class: "pairs" },
      facts.filter(([, value]) => value).map(([name, value]) => [h("dt", null, name), h("dd", null, value)]))),
    h("section", null, h("h2", null, "Error"), h("p", { class: "error-text" }, [one.reason, one.error].filter(Boolean).join(": "))),
    h("section", null, h("h2", null, "Message, secrets masked"), h("pre", { class: "body" }, readable(one.body))));
}

const NONE = { title: "No dead letters", text: "Messages that cannot be stored come here with the reason." };
const NO_MATCH = { title: "None match", text: "There are dead letters, but none that the filter lets through." };

const list = new Listing(find("#dead"), {
  label: "Dead letters",
  path: "/dead-letters",
  key: (one) => `${one.queue} ${one.id}`,
  filter: () => ({ queue: queues.value, q: filter.value.trim() }),
  name: (one) => `message ${one.id}`,
  select: operator ? () => true : undefined,
  onselect: drawChosen,
  onread: drawCounts,
  details,
  empty: NONE,
  columns: [
    { title: "Queue", cell: (one) => one.queue, css: "nowrap" },
    { title: "Reason", cell: (one) => tag(words(split(one.reason)[0]), "s-critical") },
    { title: "Error", cell: (one) => one.error || split(one.reason)[1], css: "wide-cell" },
    { title: "Attempts", cell: (one) => number(one.attempts), css: "num" },
    { title: "Died", cell: (one) => since(one.died_at), css: "nowrap" },
  ],
});
list.table.classList.add("stacked");

/** @param {Row} answer */
function drawCounts({ total, unseen }) {
  const shown = list.items.length;
  list.options.empty = total > 0 ? NO_MATCH : NONE;
  replace(find("#unseen"), unseen > 0 && notice(`${number(unseen)} newer ones were not looked through: replay or discard some first.`, "warning"));
  replace(find("#dead-sub"), list.next || shown === total ? number(total) : `${number(shown)} of ${number(total)}`);
}

/** The ids of each queue. @param {Row[]} rows @returns {Map<string, string[]>} */
function byQueue(rows) {
  const found = new Map();
  for (const one of rows) found.set(one.queue, [...(found.get(one.queue) ?? []), one.id]);
  return found;
}

/** @param {Row[]} rows @param {string} path @returns {Promise<number>} how many messages it was done to */
async function each(rows, path) {
  let done = 0;
  for (const [queue, ids] of byQueue(rows)) {
    const answer = await api.post(path, { queue, ids });
    done += Object.values(answer ?? {}).find((value) => typeof value === "number") ?? ids.length;
  }
  return done;
}

const messages = (/** @type {number} */ count) => `${number(count)} message${count === 1 ? "" : "s"}`;

/** @param {Row[]} rows @param {string} path @param {string} outcome */
async function settle(rows, path, outcome) {
  const done = await each(rows, path);
  toast(`${messages(done)} ${outcome}`);
  list.clear();
  await list.reload();
}

/** @param {Row[]} rows */
const replay = (rows) => dialog({
  title: `Replay ${messages(rows.length)}`,
  text: "They go back into their queues, and a worker tries to store them again. What fails again comes back here.",
  action: "Replay",
  run: () => settle(rows, "/dead-letters/replay", "put back into the queue"),
});

/** @param {Row[]} rows */
const discard = (rows) => confirm({
  title: `Discard ${messages(rows.length)}`,
  text: "They are deleted for good. What they said is lost.",
  action: "Discard",
  run: () => settle(rows, "/dead-letters/discard", "discarded"),
});

/** @param {Row[]} rows */
function drawChosen(rows) {
  const bar = find("#chosen");
  bar.hidden = rows.length === 0;
  if (!rows.length) return replace(bar);
  return replace(bar, h("span", { role: "status" }, `${number(rows.length)} selected`),
    h("button", { type: "button", class: "btn btn-primary", onclick: () => replay(rows) }, "Replay"),
    h("button", { type: "button", class: "btn", onclick: () => discard(rows) }, "Discard"),
    h("button", { type: "button", class: "btn btn-quiet", onclick: () => list.clear() }, "Clear"));
}

filterByWords(filter, () => list.restart());
queues.addEventListener("change", () => {
  setParams({ queue: queues.value });
  list.restart();
});

/** Dead letters of each queue, as it was seen last. */
let counted = "";
live.on("queues", ({ queues: rows }) => {
  const now = JSON.stringify((rows ?? []).map((/** @type {Row} */ one) => one.dead));
  if (counted && now !== counted) list.reload(true);
  counted = now;
});
live.on("reset", () => list.reload(true));

api.get("/queues").then(({ queues: rows }) => {
  for (const { queue } of rows ?? []) queues.append(h("option", { value: queue }, queue));
  queues.value = param("queue");
  if (queues.selectedIndex < 0) queues.value = "";
}, () => {}).then(() => list.reload());
