/**
 * What a seat map shows, before anything is drawn: which kind a seat is, where it stands, its name, its colour.
 */
import KINDS from "./seats.js";

/** @typedef {Record<string, any>} System  A row of /systems as an object. */
/** @typedef {{column: number, row: number}} Place  From 0. */
/** @typedef {typeof KINDS[number]} Kind */

export const BY_KIND = new Map(KINDS.map((kind) => [kind.kind, kind]));

/** Steps of a metric's colours, from low to high. */
export const STEPS = 5;

/** The metrics that seats can be coloured by: title, unit, and the usual range where there is one. */
export const METRICS = {
  cpu_percent: { title: "CPU", unit: "%", domain: [0, 100] },
  ram_percent: { title: "Memory", unit: "%", domain: [0, 100] },
  disk_percent: { title: "Disk", unit: "%", domain: [0, 100] },
  gpu_percent: { title: "GPU", unit: "%", domain: [0, 100] },
  cpu_temperature_celsius: { title: "Temperature", unit: "°C", domain: [30, 90] },
  load1: { title: "Load", unit: "" },
  logged_in_users: { title: "Users", unit: "" },
  network_recv_mbps: { title: "Network in", unit: "Mbit/s" },
  network_sent_mbps: { title: "Network out", unit: "Mbit/s" },
};

/**
 * What a seat shows: the state, or the usage of a system that is up.
 * @param {System} system
 * @returns {Kind}
 */
export function kindOf(system) {
  const name = system.state === "up" ? system.usage ?? "up" : system.state;
  return /** @type {any} */ (BY_KIND.get(name) ?? BY_KIND.get("new"));
}

/** @param {string | null} address  @returns {string} A key that sorts addresses by number. */
function addressKey(address) {
  if (!address) return "~";
  if (!address.includes(":")) return "4" + address.split(".").map((part) => part.padStart(3, "0")).join(".");
  const [head, tail] = address.split("::");
  const left = head ? head.split(":") : [];
  const right = tail ? tail.split(":") : [];
  const zeros = Array(Math.max(0, 8 - left.length - right.length)).fill("0");
  return "6" + [...left, ...zeros, ...right].map((part) => part.padStart(4, "0")).join(":");
}

/** Of several empty columns or rows, this much is left, in seats. */
const AISLE = 1.6;

/** @param {number[]} used  @returns {Map<number, number>} Positions; those that are empty become an aisle. */
function closeUp(used) {
  const places = new Map();
  let last = 0;
  let at = -1;
  for (const number of [...new Set(used)].sort((a, b) => a - b)) {
    at += number - last > 1 ? AISLE : 1;
    last = number;
    places.set(number, at);
  }
  return places;
}

/** @param {number} count  @returns {number} Columns of a lab without a plan. */
function columnsFor(count) {
  return Math.max(1, Math.min(count, 12, Math.max(4, Math.ceil(Math.sqrt(count * 1.7)))));
}

/**
 * Where each system stands. Those without a seat follow below the plan, in the order of their addresses.
 * @param {System[]} systems
 * @returns {{places: Map<System, Place>, columns: number, rows: number, unseated: number | null}} unseated: the row above which
 * "Without a seat" stands; null where all or none have one
 */
export function placeSeats(systems) {
  const seated = systems.filter((one) => one.seat_column && one.seat_row);
  const others = systems.filter((one) => !(one.seat_column && one.seat_row));
  const columnAt = closeUp(seated.map((one) => one.seat_column));
  const rowAt = closeUp(seated.map((one) => one.seat_row));
  const places = new Map();
  for (const one of seated) {
    places.set(one, { column: columnAt.get(one.seat_column), row: rowAt.get(one.seat_row) });
  }
  let columns = Math.max(0, ...[...columnAt.values()].map((at) => at + 1));
  let rows = Math.max(0, ...[...rowAt.values()].map((at) => at + 1));
  const mixed = rows > 0 && others.length > 0;
  const below = rows ? rows - 1 + AISLE : 0;
  const across = Math.floor(columns) || columnsFor(others.length);
  others.sort((a, b) => compare(addressKey(a.ip_address), addressKey(b.ip_address)) || a.system_id - b.system_id);
  others.forEach((one, index) => {
    const place = { column: index % across, row: below + Math.floor(index / across) };
    places.set(one, place);
    columns = Math.max(columns, place.column + 1);
    rows = Math.max(rows, place.row + 1);
  });
  return { places, columns, rows, unseated: mixed ? below : null };
}

/** @param {string} a  @param {string} b */
function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Short names for seats: without the words that most of the names begin with, and only the end of long ones.
 * @param {System[]} systems
 * @returns {Map<System, string>}
 */
export function seatNames(systems) {
  const shared = usualBeginning(systems.map((one) => hostOf(one)));
  return new Map(systems.map((one) => {
    const host = hostOf(one);
    const name = (host.startsWith(shared) ? host.slice(shared.length) : host) || lastOf(one.ip_address) || `#${one.system_id}`;
    return [one, name.length > 9 ? `…${name.slice(-8)}` : name];
  }));
}

/** @param {System} one */
const hostOf = (one) => (one.hostname ?? "").split(".")[0];

/** Up to the last - or _, what more than half of the names begin with. @param {string[]} hosts */
function usualBeginning(hosts) {
  const counts = new Map();
  for (const host of hosts) {
    const beginning = host.slice(0, Math.max(host.lastIndexOf("-"), host.lastIndexOf("_")) + 1);
    counts.set(beginning, (counts.get(beginning) ?? 0) + 1);
  }
  return [...counts].find(([, count]) => count > 1 && count * 2 > hosts.length)?.[0] ?? "";
}

/** @param {string | null} address */
function lastOf(address) {
  if (!address) return "";
  return address.includes(":") ? `:${address.split(":").at(-1)}` : `.${address.split(".").at(-1)}`;
}

/**
 * The range of a metric's colours: the usual one, or from 0 to a round number above the largest value.
 * @param {string} metric  @param {System[]} systems  @returns {[number, number]}
 */
export function domainOf(metric, systems) {
  const known = METRICS[/** @type {keyof typeof METRICS} */ (metric)];
  if (known && "domain" in known) return /** @type {[number, number]} */ (known.domain);
  const largest = Math.max(0, ...systems.map((one) => Number(one[metric]) || 0));
  const power = 10 ** Math.floor(Math.log10(largest || 1));
  const round = [1, 2, 5, 10].find((factor) => factor * power >= largest) ?? 10;
  return [0, Math.max(round * power, 1)];
}

/** @param {number | null} value  @param {[number, number]} domain  @returns {number | null} A step from 0. */
export function stepOf(value, [low, high]) {
  if (value === null || value === undefined) return null;
  return Math.max(0, Math.min(STEPS - 1, Math.floor(((value - low) / (high - low)) * STEPS)));
}

/** @param {number} value */
export function brief(value) {
  return value >= 1000 ? `${(value / 1000).toFixed(1)}k` : value < 10 && value % 1 ? value.toFixed(1) : value.toFixed(0);
}

/**
 * The legend: the kinds that there are, or the steps of a metric.
 * @param {System[]} systems  @param {string} colour
 * @returns {{text: string, class: string, kind: Kind | null}[]}
 */
export function legend(systems, colour) {
  if (colour === "state") {
    const count = (name) => systems.filter((one) => kindOf(one).kind === name).length;
    return KINDS.map((kind) => ({ kind, class: "", count: count(kind.kind) }))
      .filter((one) => one.count)
      .map((one) => ({ ...one, text: `${one.count} ${one.kind.word.toLowerCase()}` }));
  }
  const [low, high] = domainOf(colour, systems);
  const at = (step) => brief(low + ((high - low) * step) / STEPS);
  const unit = METRICS[/** @type {keyof typeof METRICS} */ (colour)]?.unit ?? "";
  const steps = Array.from({ length: STEPS }, (_, step) => ({
    kind: null, class: `seat-m${step}`, text: `${at(step)} – ${at(step + 1)} ${unit}`.trim(),
  }));
  return [...steps, { kind: null, class: "seat-mx", text: "not known" }];
}
