// Facts, availability, alerts and history of one system.

import { STATES, bytes, duration, h, number, page, severity, since, time, timeText } from "../lib.js";
import { acknowledge, silence } from "../alert-actions.js";
import { reason, words } from "../amounts.js";

/** Facts that are known, as [name, value]. @param {any} system @returns {Array<[string, any]>} */
export function facts(system) {
  const latest = system.latest ?? {};
  const lab = system.lab && h("a", { class: "link", href: page(`/labs/${system.lab_id}`) }, system.lab);
  const users = system.logged_in_users ?? latest.logged_in_users;
  const uptime = system.uptime_seconds ?? latest.uptime_seconds;
  const told = system.facts ?? {};
  const mounts = (system.filesystems ?? []).filter((/** @type {any} */ one) => one.mount !== "/");
  /** @type {Array<[string, any]>} */
  const all = [
    ["Address", system.ip_address], ["Lab", lab], ["MAC", system.mac_address && h("span", { class: "mono" }, system.mac_address)],
    ["Memory", system.ram_total_bytes && bytes(system.ram_total_bytes)], ["Disk", system.disk_total_bytes && bytes(system.disk_total_bytes)],
    ["GPUs", system.gpu_count || null], ["Uptime", uptime === null || uptime === undefined ? null : duration(uptime)],
    ["Users on", users === null || users === undefined ? null : number(users)],
    ["System", [told.os, told.os_version].filter(Boolean).join(" ")], ["Kernel", told.kernel],
    ["Model", [told.vendor, told.model].filter(Boolean).join(" ")], ["Serial number", told.serial],
    ["Processor", told.cpu_model], ["Updates", told.pending_updates || null], ["Reboot", told.reboot_required && "required"],
    ["Failed units", (told.failed_units ?? []).join(", ")], ["Image", told.image_version],
    ["File systems", mounts.map((/** @type {any} */ one) => `${one.mount} ${Math.round(one.used_percent)} %`).join(", ")],
    ["First seen", time(system.first_seen, "day")], ["Newest reading", since(system.last_collected)],
  ];
  return all.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== false);
}

/** Colours of words that only the strip knows. @type {Record<string, string>} */
const COLOURS = { partly: "warning" };

/** @param {string | null} name */
const wordOf = (name) => (name ? STATES[name]?.word ?? (name === "partly" ? "Measured in part" : name) : "Unknown");

const PERCENT = "Time measured, of the time since its first reading in this range. Time that was off or in maintenance does not count.";

/** A strip of what the state was, oldest first. @param {string} title @param {any} data of /availability */
export function strip(title, data) {
  const { from, step, states, percent: share } = data;
  const cells = states.map((/** @type {string | null} */ name, /** @type {number} */ i) => {
    const at = toSeconds(from) + i * step;
    return h("i", { class: name ? `s-${COLOURS[name] ?? name}` : "", title: `${timeText(at)}: ${wordOf(name)}` });
  });
  const counted = new Map();
  for (const name of states) if (name) counted.set(name, (counted.get(name) ?? 0) + 1);
  const known = states.findIndex(Boolean);
  const since = known > 0 ? `Known since ${timeText(toSeconds(from) + known * step)}. ` : "";
  const words = since + [...counted].map(([name, count]) => `${wordOf(name)} ${duration(count * step)}`).join(", ");
  return h("div", { class: "strip", title: PERCENT }, h("span", { class: "strip-title" }, title),
    h("div", { class: "strip-cells", role: "img", "aria-label": `${title}: ${words || "nothing known"}` }, cells),
    h("b", null, share === null || share === undefined ? "–" : `${Number(share).toFixed(share === 100 ? 0 : 2)} %`));
}

/** @param {string | number} moment */
const toSeconds = (moment) => (typeof moment === "number" ? moment : Date.parse(moment) / 1000);

/** One line for each firing alert, with what an operator does about it.
 * @param {any[]} alerts @param {(() => any) | null} done after a change; null: nothing may be changed */
export function firing(alerts, done) {
  const button = (/** @type {string} */ text, /** @type {any} */ alert, /** @type {any} */ run) =>
    h("button", { type: "button", class: "btn btn-small", "aria-label": `${text} ${words(alert.alert_type)}`, onclick: () => run([alert], done) }, text);
  return alerts.map((alert) => h("div", { class: "alert-row" }, h("a", { class: `alert-line s-${alert.severity}`, href: page(`/alerts?id=${alert.alert_id}`) },
    severity(alert.severity), h("b", null, words(alert.alert_type)), h("span", null, reason(alert)),
    h("span", { class: "muted push" }, "since ", time(alert.since ?? alert.fired_at)),
    alert.silenced_until && h("span", { class: "muted" }, "silenced until ", time(alert.silenced_until)),
    alert.acknowledged_by && h("span", { class: "muted" }, `acknowledged by ${alert.acknowledged_by}`)),
    done && !alert.acknowledged_by && button("Acknowledge", alert, acknowledge), done && button("Silence", alert, silence)));
}

/** Words of `change`. @type {Record<string, string>} */
const CHANGES = { found: "Found", moved: "Address", lost: "Address lost", renamed: "Name", mac: "MAC address", department: "Department",
  shared: "Address is shared", unshared: "Address no longer shared", gone: "Gone", back: "Back", status: "Status",
  answered: "Answered, though retired", set: "Changed by hand", merged: "Merged with", split: "Split off", undone: "Undone" };

/** One row of the history. @param {any} event */
export function historyRow(event) {
  const what = CHANGES[event.change] ?? event.change;
  const { old_value: old, new_value: now } = event;
  return h("tr", null, h("td", { class: "nowrap" }, time(event.at)), h("td", null, what),
    h("td", null, old && h("span", { class: "muted" }, `${old} → `), now ?? ""),
    h("td", { class: "muted" }, event.error ?? ""));
}
