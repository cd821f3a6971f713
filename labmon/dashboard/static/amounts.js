// Values and conditions of alert rules in their units, as the command line writes them; why an alert fires.

import { duration, number } from "./lib.js";

const UNITS = [["_percent", "%"], ["_celsius", "°C"], ["_mbps", "Mbit/s"]];

/** A value of a rule in its unit. @param {string} kind @param {string | null} metric @param {number | null} value
 * @returns {string} */
export function amount(kind, metric, value) {
  if (value === null || value === undefined) return "–";
  if (kind === "no_data" || kind === "collector_down") return duration(value);
  if (kind === "rate") return value < 1000 ? `${number(value)} h` : "never";
  if (["lab_down", "network_down", "spool_full"].includes(kind)) return `${number(value, 1)} %`;
  if (metric?.endsWith("_bytes")) return `${(value / 2 ** 30).toFixed(1)} GiB`;
  const unit = UNITS.find(([end]) => metric?.endsWith(end));
  return unit ? `${number(value, 1)} ${unit[1]}` : number(value, 2);
}

/** Names of rules and metrics as words: `cpu_high` is "Cpu high". @param {string | null | undefined} name */
export const words = (name) => {
  const text = (name ?? "").replaceAll("_", " ").replace(/\b(cpu|ram|gpu|ssh)\b/g, (word) => word.toUpperCase());
  return text.charAt(0).toUpperCase() + text.slice(1);
};

const METRICS = { cpu_percent: "CPU", ram_percent: "memory", disk_percent: "disk", swap_percent: "swap", load1: "load", gpu_percent: "GPU",
  gpu_memory_percent: "GPU memory", cpu_temperature_celsius: "CPU temperature", gpu_temperature_celsius: "GPU temperature" };

/** True for a value that is inside the limit again, and not yet back enough to end the alert.
 * @param {number} value @param {number} threshold @param {number | null | undefined} clear */
const held = (value, threshold, clear) => clear !== null && clear !== undefined && (clear < threshold ? value <= threshold : value >= threshold);

/** Why an alert fires: `CPU 97.2 %, limit 92 %`; the rule's note where no metric is compared.
 * @param {any} alert an incident */
export function reason({ kind, metric, value, value_now: newest, threshold, clear, note }) {
  if (!metric) return note ?? "";
  const word = METRICS[/** @type {keyof typeof METRICS} */ (metric)] ?? metric;
  return `${word} ${amount(kind, metric, newest ?? value)}, limit ${amount(kind, metric, threshold)}${held(newest ?? value, threshold, clear) ? `, ends at ${amount(kind, metric, clear)}` : ""}`;
}
