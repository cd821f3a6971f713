// States and severities: each has a word, a colour and a shape, so that nothing hangs on colour alone.

import { h, svg } from "./dom.js";

/** @typedef {{word: string, rank: number, shape: string, help: string}} StateInfo */

const RING = "M6 .8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 6 .8Zm0 1.7a3.5 3.5 0 1 1 0 7 3.5 3.5 0 0 1 0-7Z";

/** Worst first. The shapes are paths on a 12 x 12 canvas, filled by the even-odd rule.
 * @type {Record<string, StateInfo>} */
export const STATES = {
  critical: { word: "Critical", rank: 0, help: "a critical alert is firing",
    shape: "M3.6.5h4.8l3.1 3.1v4.8l-3.1 3.1H3.6L.5 8.4V3.6ZM5.2 2.8v3.9h1.6V2.8Zm0 4.9v1.6h1.6V7.7Z" },
  down: { word: "Down", rank: 1, help: "no answer, or no reading although it should be measured",
    shape: "M2.4.9 6 4.5 9.6.9l1.5 1.5L7.5 6l3.6 3.6-1.5 1.5L6 7.5l-3.6 3.6L.9 9.6 4.5 6 .9 2.4Z" },
  warning: { word: "Warning", rank: 2, help: "a warning is firing",
    shape: "M6 .6 11.8 11H.2ZM5.3 4.3v3.3h1.4V4.3Zm0 4.1v1.4h1.4V8.4Z" },
  maintenance: { word: "Maintenance", rank: 3, help: "planned work: no alerts are sent",
    shape: "M2.2 1h2.6v10H2.2Zm5 0h2.6v10H7.2Z" },
  new: { word: "New", rank: 4, help: "discovered, never measured",
    shape: "M5 .9h2V5h4.1v2H7v4.1H5V7H.9V5H5Z" },
  up: { word: "Up", rank: 5, help: "measured, nothing is wrong", shape: "M6 .9a5.1 5.1 0 1 0 0 10.2A5.1 5.1 0 0 0 6 .9Z" },
  off: { word: "Off", rank: 6, help: "closed by its weekly hours", shape: RING },
};

/** @type {Record<string, {word: string, shape: string}>} */
export const SEVERITIES = {
  critical: { word: "Critical", shape: STATES.critical.shape },
  warning: { word: "Warning", shape: STATES.warning.shape },
  info: { word: "Info", shape: "M6 .8a5.2 5.2 0 1 0 0 10.4A5.2 5.2 0 0 0 6 .8ZM5.3 2.6h1.4V4H5.3Zm0 2.3h1.4v4.5H5.3Z" },
};

/** A 12 px shape in the colour of the text around it. @param {string} shape path data
 * @param {string} [css] class */
export function glyph(shape, css = "glyph") {
  return svg("svg", { class: css, viewBox: "0 0 12 12", "aria-hidden": "true" },
    svg("path", { d: shape, "fill-rule": "evenodd" }));
}

/** Badge of a system's state: shape and word. @param {string} name */
export function state(name) {
  const info = STATES[name] ?? { word: name || "unknown", shape: RING, help: "" };
  return h("span", { class: `badge s-${name}`, title: info.help }, glyph(info.shape), info.word);
}

/** Badge of a severity: critical, warning, info. @param {string} name */
export function severity(name) {
  const info = SEVERITIES[name] ?? { word: name, shape: RING };
  return h("span", { class: `badge s-${name}` }, glyph(info.shape), info.word);
}

/** A plain badge for other words: `tag("Acknowledged")`. @param {string} word @param {string} [css] */
export const tag = (word, css = "") => h("span", { class: `badge ${css}` }, word);

/** Bar of shares by state with a text for screen readers; `counts` as in /summary. States without a
 * system are left out. @param {Record<string, number>} counts */
export function stateBar(counts) {
  const shown = Object.keys(STATES).filter((name) => counts[name]).sort((a, b) => STATES[b].rank - STATES[a].rank);
  const text = shown.map((name) => `${counts[name]} ${STATES[name].word.toLowerCase()}`).join(", ");
  return h("span", { class: "statebar", role: "img", "aria-label": text || "no systems", title: text },
    shown.map((name) => h("span", { class: `s-${name}`, style: { "flex-grow": counts[name] } })));
}
