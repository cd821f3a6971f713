// The crosshair of a chart, and the range that is marked by dragging or with the keys.

import { svg } from "./dom.js";
import { timeText } from "./format.js";
import { ChartGroup } from "./chart-group.js";

/** A drag shorter than this is a click, in px. */
const CLICK = 6;

export class Cursor {
  /** @param {import("./chart.js").Chart} chart */
  constructor(chart) {
    this.chart = chart;
    this.group = chart.options.group ?? new ChartGroup();
    if (!chart.options.group) this.group.add(chart);
    this.line = svg("line", { class: "cross" });
    this.mark = svg("rect", { class: "mark" });
    this.chip = svg("g", { class: "chip" }, svg("rect", { rx: 4, height: 18 }), svg("text", { class: "tick mid", y: 13 }));
    this.dots = svg("g", { class: "dots" });
    this.hide();
    /** @type {number | null} where a drag began, in px */
    this.start = null;
    this.index = -1;
    this.listen(chart.svg);
  }

  elements() {
    return [this.mark, this.line, this.dots, this.chip];
  }

  /** @param {any} plot */
  listen(plot) {
    plot.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.move(event));
    plot.addEventListener("pointerdown", (/** @type {PointerEvent} */ event) => this.down(event));
    plot.addEventListener("pointerup", (/** @type {PointerEvent} */ event) => this.up(event));
    plot.addEventListener("pointercancel", () => this.stop());
    plot.addEventListener("pointerleave", () => this.start === null && this.group.point(null, this.chart));
    plot.addEventListener("dblclick", () => this.group.reset());
    plot.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.key(event));
    plot.addEventListener("blur", () => this.group.point(null, this.chart));
  }

  /** @param {PointerEvent} event @returns {number} px from the chart's left edge */
  at(event) {
    return event.clientX - this.chart.svg.getBoundingClientRect().left;
  }

  /** @param {PointerEvent} event */
  move(event) {
    const x = this.at(event);
    this.group.point(this.chart.t(x), this.chart);
    if (this.start === null) return;
    const { left, right, top, bottom } = this.chart.plot;
    const [a, b] = [this.start, Math.min(right, Math.max(left, x))].sort((m, n) => m - n);
    place(this.mark, { x: a, width: b - a, y: top, height: bottom - top });
    this.mark.style.display = b - a > CLICK ? "" : "none";
  }

  /** @param {PointerEvent} event */
  down(event) {
    // A finger scrolls the page and shows values; only a mouse or a pen marks.
    if (event.button !== 0 || event.pointerType === "touch") return;
    this.start = Math.min(this.chart.plot.right, Math.max(this.chart.plot.left, this.at(event)));
    this.chart.svg.setPointerCapture(event.pointerId);
  }

  /** @param {PointerEvent} event */
  up(event) {
    const { start } = this;
    const x = this.at(event);
    this.stop();
    if (start === null || Math.abs(x - start) < CLICK) return;
    const [from, to] = [this.chart.t(start), this.chart.t(x)].sort((m, n) => m - n);
    this.group.zoom(from, to);
  }

  stop() {
    this.start = null;
    this.mark.style.display = "none";
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const { t, from, to } = this.chart.data;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 10 : 1;
    const at = this.index < 0 ? t.length : this.index;
    /** @type {Record<string, number>} */
    const moves = { ArrowLeft: at - step, ArrowRight: at + step, Home: 0, End: t.length - 1 };
    if (event.key in moves && t.length) this.say(Math.max(0, Math.min(t.length - 1, moves[event.key])));
    else if (event.key === "+" || event.key === "=") this.scale(from, to, 0.5);
    else if (event.key === "-") this.scale(from, to, 2);
    else if (event.key === "Escape" || event.key === "0") this.group.reset();
    else return;
    event.preventDefault();
  }

  /** @param {number} from @param {number} to @param {number} factor */
  scale(from, to, factor) {
    const { t } = this.chart.data;
    const middle = this.index < 0 ? (from + to) / 2 : t[this.index];
    const half = ((to - from) * factor) / 2;
    this.group.zoom(middle - half, Math.min(middle + half, Date.now() / 1000));
  }

  /** @param {number} i */
  say(i) {
    const { chart } = this;
    this.group.point(chart.data.t[i], chart);
    const values = chart.data.series.map(({ name, avg }) => {
      const value = avg[i];
      return `${name} ${value === null || value === undefined ? "no reading" : chart.text(value)}`;
    });
    chart.said.textContent = `${timeText(chart.data.t[i])}: ${values.join(", ")}`;
  }

  hide() {
    for (const element of this.elements()) element.style.display = "none";
    this.index = -1;
    this.clear(-1e6, 0);
  }

  /** @param {number | null} t seconds @param {boolean} here the pointer is over this chart */
  show(t, here) {
    const { chart } = this;
    const { from, to } = chart.data;
    if (t === null || t < from || t > to || !chart.data.t.length) {
      if (this.index >= 0) chart.legendNow();
      if (this.start === null) this.hide();
      return;
    }
    this.index = nearest(chart.data.t, t);
    const at = chart.data.t[this.index];
    const { left, right, top, bottom } = chart.plot;
    const x = Math.min(right, Math.max(left, chart.x(at)));
    place(this.line, { x1: x, x2: x, y1: top, y2: bottom });
    this.line.style.display = this.chip.style.display = this.dots.style.display = "";
    this.chip.classList.toggle("here", here);
    const [box, text] = this.chip.children;
    text.textContent = timeText(at, to - from < 7200 ? "seconds" : "short");
    const half = text.textContent.length * 3.4 + 8;
    const middle = Math.min(right - half, Math.max(left - 40 + half, x));
    place(box, { x: middle - half, width: half * 2 });
    text.setAttribute("x", String(middle));
    this.chip.setAttribute("transform", `translate(0 ${bottom + 3})`);
    this.clear(middle, half);
    this.drawDots(x);
    chart.legendAt(this.index);
  }

  /** Hide the words of the axis that the time would cover half. @param {number} middle @param {number} half */
  clear(middle, half) {
    for (const tick of this.chart.svg.querySelectorAll(".axes .mid"))
      tick.style.visibility = Math.abs(Number(tick.getAttribute("x")) - middle) < half + 20 ? "hidden" : "";
  }

  /** @param {number} x */
  drawDots(x) {
    const { series } = this.chart.data;
    this.dots.replaceChildren(...series.flatMap(({ avg, colour }, i) => {
      const value = avg[this.index];
      if (value === null || value === undefined) return [];
      return [svg("circle", { class: `series-${colour ?? i + 1}`, cx: x, cy: this.chart.y(value), r: 3.5 })];
    }));
  }
}

/** @param {Element} element @param {Record<string, number>} places */
function place(element, places) {
  for (const [name, value] of Object.entries(places)) element.setAttribute(name, String(Math.round(value * 2) / 2));
}

/** Index of the time nearest to t. @param {number[]} times ascending @param {number} t */
export function nearest(times, t) {
  let low = 0;
  let high = times.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < t) low = middle + 1;
    else high = middle;
  }
  return low > 0 && t - times[low - 1] < times[low] - t ? low - 1 : low;
}
