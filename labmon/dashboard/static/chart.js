// A chart of readings over time: the average as a line, shaded up to the maximum, gaps as gaps, limits dashed.

import { h, replace, svg } from "./dom.js";
import { number } from "./format.js";
import { niceTicks, timeTicks } from "./ticks.js";
import { area, line } from "./paths.js";
import { Cursor } from "./chart-cursor.js";

export { ChartGroup } from "./chart-group.js";

/**
 * @typedef {{name: string, avg: Array<number | null>, max?: Array<number | null>, colour?: number}} Series
 * colour: 1 to 4
 * @typedef {{threshold: number, severity: string, rule?: string, comparison?: string, series?: string}} Limit
 * @typedef {object} ChartOptions
 * @property {string} title
 * @property {string} [unit] written after the title
 * @property {(value: number) => string} [format] instead of the bare number
 * @property {number} [base] what round numbers of the axis are counted in, such as 2 ** 30 or 86400; 1 by default
 * @property {number} [least] top of the axis is at least this
 * @property {number} [most] top of the axis is at most this, such as 100 for percent
 * @property {import("./chart-group.js").ChartGroup} [group] shares crosshair and zoom
 * @property {number} [height] of the plot in px
 */

/** Room for the axes, in px. */
const LEFT = 66;
const RIGHT = 12;
const TOP = 10;
const BOTTOM = 24;

/** From one line of words to the next, in px. */
const WORDS = 13;

/**
 * `const chart = new Chart(element, {title: "CPU", unit: "%", most: 100, group})`, then
 * `chart.draw({from, to, t, series: [{name, avg, max}], limits})` as often as data come; times in seconds.
 */
export class Chart {
  /** @param {HTMLElement} element @param {ChartOptions} options */
  constructor(element, options) {
    this.options = options;
    this.element = element;
    this.height = options.height ?? 168;
    /** @type {{from: number, to: number, t: number[], series: Series[], limits: Limit[]}} */
    this.data = { from: 0, to: 1, t: [], series: [], limits: [] };
    this.width = 0;
    this.top = 1;
    this.legend = h("div", { class: "chart-legend" });
    this.svg = svg("svg", { class: "chart-plot", role: "img", tabindex: "0", height: this.height });
    this.said = h("span", { class: "visually-hidden", "aria-live": "polite" });
    element.classList.add("chart");
    replace(element, h("div", { class: "chart-head" }, h("h2", null, options.title, options.unit && h("small", { class: "muted" }, ` ${options.unit}`)), this.legend),
      h("div", { class: "chart-body" }, this.svg), this.said);
    this.cursor = new Cursor(this);
    options.group?.add(this);
    new ResizeObserver(() => this.resize()).observe(this.svg.parentElement);
  }

  /** @param {number} value */
  text(value) {
    const { format, most } = this.options;
    if (format) return format(value);
    return most === 100 ? value.toFixed(1) : number(value, value < 10 ? 2 : value < 100 ? 1 : 0);
  }

  /** @param {number} t seconds */
  x(t) {
    const { from, to } = this.data;
    return LEFT + ((t - from) / (to - from || 1)) * (this.width - LEFT - RIGHT);
  }

  /** @param {number} x px @returns {number} seconds, within the chart's range */
  t(x) {
    const { from, to } = this.data;
    const share = (x - LEFT) / Math.max(1, this.width - LEFT - RIGHT);
    return from + Math.min(1, Math.max(0, share)) * (to - from);
  }

  /** @param {number} value */
  y(value) {
    const share = Math.min(1, Math.max(0, value / this.top));
    return this.height - BOTTOM - share * (this.height - TOP - BOTTOM);
  }

  get plot() {
    return { left: LEFT, right: this.width - RIGHT, top: TOP, bottom: this.height - BOTTOM };
  }

  resize() {
    const width = Math.round(this.svg.parentElement.clientWidth);
    if (width === this.width || !width) return;
    this.width = width;
    this.paint();
  }

  /** Draw other data. @param {{from: number, to: number, t: number[], series: Series[], limits?: Limit[]}} data */
  draw(data) {
    this.data = { limits: [], ...data };
    this.legendNow();
    this.resize();
    this.paint();
  }

  paint() {
    if (!this.width) return;
    const { t, series } = this.data;
    const limits = this.limits();
    const ticks = this.ticks(this.highest(limits));
    this.top = ticks[ticks.length - 1];
    const x = (/** @type {number} */ i) => this.x(t[i]);
    const y = (/** @type {number} */ value) => this.y(value);
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.svg.setAttribute("width", String(this.width));
    this.svg.setAttribute("aria-label", this.summary());
    replace(this.svg, this.axes(ticks),
      series.map(({ avg, max, colour }, i) => svg("g", { class: `series series-${colour ?? i + 1}` },
        series.length === 1 && svg("path", { class: "under", d: area(avg, null, x, y, y(0)) }),
        max && svg("path", { class: "band", d: area(max, avg, x, y, y(0)) }),
        svg("path", { class: "line", d: line(avg, x, y) }))),
      this.limitLines(limits), this.cursor.elements());
  }

  /** @param {number} highest */
  ticks(highest) {
    const { base = 1, most } = this.options;
    return base === 1 ? niceTicks(highest, most) : niceTicks(highest / base).map((n) => n * base);
  }

  /** @param {number} value */
  tickText(value) {
    const { base, format } = this.options;
    if (base && format) return value ? format(value).replace(".0 ", " ") : "0";
    return number(value, this.top < 1 ? 2 : this.top < 5 ? 1 : 0);
  }

  /** @param {number[]} ticks */
  axes(ticks) {
    const { left, right, bottom } = this.plot;
    const { from, to } = this.data;
    const horizontal = ticks.map((value) => [
      svg("line", { class: value ? "rule" : "base", x1: left, x2: right, y1: this.y(value) + 0.5, y2: this.y(value) + 0.5 }),
      svg("text", { class: "tick num", x: left - 8, y: this.y(value) + 4 }, this.tickText(value)),
    ]);
    const room = Math.max(2, Math.floor((right - left) / 90));
    const vertical = timeTicks(from, to, room).map(({ at, text, strong }) => {
      // Words at the edges would be cut off.
      const place = Math.min(right - 14, Math.max(left + 14, this.x(at)));
      return [svg("line", { class: "rule upright", x1: this.x(at), x2: this.x(at), y1: bottom, y2: bottom + 4 }),
        svg("text", { class: strong ? "tick mid strong" : "tick mid", x: place, y: this.height - 7 }, text)];
    });
    return svg("g", { class: "axes" }, horizontal, vertical);
  }

  /** @param {Limit[]} limits */
  limitLines(limits) {
    let last = -Infinity;
    return [...limits].sort((a, b) => b.threshold - a.threshold).map((limit) => {
      // Words of a line close below others go under it, and under their words.
      const y = this.y(limit.threshold) + 0.5;
      const over = y - 4 < TOP + 4; // words above it would be cut off
      last = over || y - 4 - last < WORDS ? Math.max(y + 10, last + WORDS) : y - 4;
      return this.limitLine(limit, y, last);
    });
  }

  /** @param {Limit} limit @param {number} y @param {number} words px from the top */
  limitLine({ threshold, severity, rule, comparison = ">", series = "" }, y, words) {
    const { left, right } = this.plot;
    const text = `${series} ${severity}${rule ? ` (${rule})` : ""}: ${comparison} ${this.text(threshold)} ${this.options.unit ?? ""}`;
    return svg("g", { class: `limit limit-${severity}` }, svg("title", null, text),
      svg("line", { x1: left, x2: right, y1: y, y2: y }),
      svg("text", { class: "tick", x: left + 4, y: words }, `${series} ${severity} ${number(threshold, 1)}`.trim()));
  }

  /** Limits that can be seen: one far above everything would press the readings flat. */
  limits() {
    const most = this.options.most ?? Math.max(this.highest([]) * 2.5, this.options.least ?? 0);
    const lines = new Map(this.data.limits.filter(({ threshold }) => threshold <= most && threshold > 0)
      .map((limit) => [`${limit.series} ${limit.severity} ${limit.threshold}`, limit]));
    return [...lines.values()];
  }

  /** @param {Limit[]} limits */
  highest(limits) {
    let highest = this.options.least ?? 0;
    for (const { avg, max } of this.data.series)
      for (const value of max ?? avg) if (value !== null && value > highest) highest = value;
    for (const { threshold } of limits) highest = Math.max(highest, threshold);
    return highest || 1;
  }

  /** Legend with the newest value, the average and the maximum of the range. */
  legendNow() {
    replace(this.legend, this.data.series.map((series, i) => {
      const { last, avg, max } = facts(series);
      if (last === null) return entry(series, i, "no readings");
      return entry(series, i, [h("b", null, this.text(last)), ` · avg ${this.text(avg)} · max ${this.text(max)}`]);
    }));
  }

  /** Legend with the values under the crosshair. @param {number} i index of the point, -1: none near */
  legendAt(i) {
    replace(this.legend, this.data.series.map((series, n) => {
      const avg = series.avg[i] ?? null;
      const max = series.max?.[i] ?? null;
      if (avg === null) return entry(series, n, "no reading");
      return entry(series, n, [h("b", null, this.text(avg)), max !== null && max > avg && ` max ${this.text(max)}`]);
    }));
  }

  summary() {
    const parts = this.data.series.map((series) => {
      const { last, avg, max } = facts(series);
      if (last === null) return `${series.name}: no readings`;
      return `${series.name}: newest ${this.text(last)}, average ${this.text(avg)}, maximum ${this.text(max)}`;
    });
    return `${this.options.title}. ${parts.join(". ")}. Arrow keys move along the readings.`;
  }
}

/** @param {Series} series @param {number} i @param {any} content */
const entry = (series, i, content) =>
  h("span", { class: `series-${series.colour ?? i + 1}` }, h("i"), series.name, " ", content);

/** @param {Series} series @returns {any} newest, average and greatest value; `last` is null without any */
function facts({ avg, max }) {
  let sum = 0;
  let count = 0;
  let highest = -Infinity;
  /** @type {number | null} */
  let last = null;
  for (let i = 0; i < avg.length; i += 1) {
    const value = avg[i];
    if (value === null) continue;
    last = value;
    sum += value;
    count += 1;
    highest = Math.max(highest, max?.[i] ?? value);
  }
  return { last, avg: sum / count, max: highest };
}
