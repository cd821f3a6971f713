// Charts that stand together: one crosshair over all of them, one zoom for all of them.

/** @typedef {import("./chart.js").Chart} Chart */

export class ChartGroup {
  /** @param {{onzoom?: (from: number, to: number) => void, onreset?: () => void}} [options]
   * onzoom: somebody marked a range (seconds); onreset: somebody wants the whole range again */
  constructor({ onzoom, onreset } = {}) {
    /** @type {Chart[]} */
    this.charts = [];
    this.onzoom = onzoom;
    this.onreset = onreset;
  }

  /** @param {Chart} chart */
  add(chart) {
    this.charts.push(chart);
  }

  /** Show the crosshair everywhere. @param {number | null} t seconds; null hides it @param {Chart} source
   * the chart under the pointer */
  point(t, source) {
    for (const chart of this.charts) chart.cursor.show(t, chart === source);
  }

  /** @param {number} from @param {number} to seconds */
  zoom(from, to) {
    this.onzoom?.(from, to);
  }

  reset() {
    this.onreset?.();
  }
}
