// The campus at a glance.

import { api, counted, find, h, load, now, number, replace } from "../lib.js";
import { live } from "../live.js";
import * as parts from "./overview-parts.js";

/** Ages and shares are drawn again at most this often, in ms: a wall screen must not flicker. */
const CALM = 2000;
let drawn = 0;
let waiting = 0;

/** @param {any} summary */
function draw(summary) {
  const { states, systems, labs } = summary;
  const content = find("#content");
  content.removeAttribute("aria-busy");
  drawn = now();
  if (!systems && summary.setup?.length) return void replace(content, parts.setup(summary.setup));
  find("#sub").textContent = `${wellness(states)} · ${counted(labs.filter((/** @type {any} */ lab) => lab.lab_id !== null).length, "lab")}`;
  const focused = focus(content);
  replace(content, parts.tiles(summary), parts.firing(summary), h("div", { class: "o-side" }, parts.use(summary), parts.queues(summary)),
    parts.labs(summary), parts.worst(summary));
  if (focused) /** @type {HTMLElement | null} */ (content.querySelector(`a[href="${CSS.escape(focused)}"]`))?.focus();
}

/** How many need somebody, and how many soon. @param {Record<string, number>} states */
function wellness({ down = 0, critical = 0, warning = 0 }) {
  const wrong = down + critical;
  const words = [wrong && `${number(wrong)} critical or down`, warning && `${number(warning)} with a warning`].filter(Boolean);
  return words.join(", ") || "Every system is well";
}

/** Address of the link that has the focus, to give it back after drawing. @param {Element} content */
function focus(content) {
  const active = document.activeElement;
  return active && content.contains(active) ? active.getAttribute("href") : null;
}

const read = () => load(find("#problem"), () => api.get("/summary"), (summary) => {
  replace(find("#problem"));
  live.emit("summary", summary);
});

live.on("summary", (summary) => {
  clearTimeout(waiting);
  const rest = CALM - (now() - drawn);
  // Nothing moves under the pointer of somebody who is about to click.
  const wait = find("#content").matches(":hover") ? Math.max(rest, 3000) : rest;
  if (!drawn || wait <= 0) draw(summary);
  else waiting = window.setTimeout(() => draw(summary), wait);
});
live.on("reset", read);
read();
