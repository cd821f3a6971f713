// Which metrics of a system stand in which chart.

import { bytes, duration, number } from "../lib.js";

/** @typedef {{title: string, unit?: string, most?: number, least?: number, base?: number, format?: (value: number) => string,
 *   metrics: Array<[string, string]>}} Plan metrics: [metric, name in the legend] */

/** @type {Plan[]} */
export const PLANS = [
  { title: "CPU", unit: "%", most: 100, metrics: [["cpu_percent", "Used"], ["cpu_iowait_percent", "I/O wait"]] },
  { title: "Memory", unit: "%", most: 100, metrics: [["ram_percent", "Used"], ["swap_percent", "Swap"]] },
  { title: "Network", unit: "Mbit/s", least: 0.1, metrics: [["network_recv_mbps", "Received"], ["network_sent_mbps", "Sent"]] },
  { title: "Disk space", unit: "%", most: 100, metrics: [["disk_percent", "Used"]] },
  { title: "Load, 1 min", least: 1, metrics: [["load1", "Load"]] },
  { title: "Temperature", unit: "°C", least: 60, metrics: [["cpu_temperature_celsius", "CPU"], ["gpu_temperature_celsius", "GPU"]] },
  { title: "Disk traffic", unit: "MB/s", least: 1, metrics: [["disk_read_mbps", "Read"], ["disk_write_mbps", "Written"]] },
  { title: "GPU", unit: "%", most: 100, metrics: [["gpu_percent", "Used"], ["gpu_memory_percent", "Memory"]] },
  { title: "Users logged in", least: 2, format: (value) => number(value, 1), metrics: [["logged_in_users", "Users"]] },
  { title: "Processes", least: 10, format: (value) => number(value), metrics: [["process_count", "Processes"]] },
  { title: "Paging", unit: "/s", least: 10, metrics: [["swap_in_rate", "In"], ["swap_out_rate", "Out"], ["major_page_fault_rate", "Major faults"]] },
  { title: "Context switches", unit: "/s", least: 100, format: (value) => number(value), metrics: [["context_switch_rate", "Switches"]] },
  { title: "Uptime", base: 86400, format: (value) => duration(value), least: 3600, metrics: [["uptime_seconds", "Uptime"]] },
  { title: "Memory size", base: 2 ** 30, format: (value) => bytes(value), least: 2 ** 30, metrics: [["ram_total_bytes", "Total"]] },
  { title: "Disk size", base: 2 ** 30, format: (value) => bytes(value), least: 2 ** 30, metrics: [["disk_total_bytes", "Total"]] },
  { title: "GPUs", least: 2, format: (value) => number(value), metrics: [["gpu_count", "GPUs"]] },
];

/** All metrics of the plans, for one request. */
export const METRICS = PLANS.flatMap(({ metrics }) => metrics.map(([metric]) => metric));

/** Series of a plan that have a reading, in the form that Chart draws. @param {Plan} plan @param {any} answer of /series */
export function seriesOf(plan, answer) {
  return plan.metrics.flatMap(([metric, name], i) => {
    const values = answer[metric];
    if (!values?.avg?.some((/** @type {number | null} */ value) => value !== null)) return [];
    return [{ name, avg: values.avg, max: values.max, colour: i + 1 }];
  });
}

/** Limits of the metrics that a chart shows; where it shows several, with the name of theirs.
 * @param {Plan} plan @param {any} answer of /series @param {any[]} limits of the system */
export function limitsOf(plan, answer, limits) {
  const names = new Map(plan.metrics.filter((pair) => seriesOf({ ...plan, metrics: [pair] }, answer).length));
  return limits.filter(({ metric }) => names.has(metric))
    .map((limit) => ({ ...limit, series: names.size > 1 ? names.get(limit.metric) : "" }));
}
