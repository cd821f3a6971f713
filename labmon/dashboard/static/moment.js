// Times as elements: the exact moment and the zone are in the tooltip, the short form on the page.

import { h } from "./dom.js";
import { ago, ms, timeText, zone } from "./format.js";

/** @typedef {import("./format.js").Moment} Moment */

/** @param {Moment} moment @param {string} text @param {boolean} follows */
function element(moment, text, follows) {
  const at = ms(moment);
  if (Number.isNaN(at)) return h("span", { class: "muted" }, text);
  const props = { datetime: new Date(at).toISOString(), title: `${timeText(moment, "long")} (${zone})` };
  return h("time", follows ? { ...props, dataset: { ago: String(at / 1000) } } : props, text);
}

/** `23 Nov, 14:05` in the viewer's zone. @param {Moment} moment
 * @param {"clock" | "seconds" | "day" | "date" | "short" | "long"} [form] */
export const time = (moment, form = "short") => element(moment, timeText(moment, form), false);

/** `3 min ago`, which goes on counting. @param {Moment} moment */
export const since = (moment) => element(moment, ago(moment), true);

setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll("[data-ago]")) {
    const text = ago(Number(/** @type {HTMLElement} */ (node).dataset.ago));
    if (node.textContent !== text) node.textContent = text;
  }
}, 5000);
