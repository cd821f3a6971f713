// Keys of a page: "/" and "?" and what the page adds. Never while somebody types, never with Ctrl or Alt.

import { h } from "./dom.js";
import { dialog } from "./dialog.js";

/** @type {Map<string, {help: string, run: (event: KeyboardEvent) => void}>} */
const keys = new Map();

/** Bind one key; `help` is what the "?" dialog says. @param {string} key as in KeyboardEvent.key
 * @param {string} help @param {(event: KeyboardEvent) => void} run */
export const onKey = (key, help, run) => void keys.set(key, { help, run });

document.addEventListener("keydown", (event) => {
  const target = /** @type {HTMLInputElement} */ (event.target);
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  // The filter is left with Enter, or with Escape once it is empty: then these keys work again.
  if (target.matches("[data-filter]") && (event.key === "Enter" || (event.key === "Escape" && !target.value))) target.blur();
  if (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName)) return;
  const found = keys.get(event.key);
  if (!found) return;
  event.preventDefault();
  found.run(event);
});

onKey("?", "This help", () => {
  const rows = [...keys].map(([key, { help }]) => [h("dt", null, h("kbd", null, key)), h("dd", null, help)]);
  dialog({ title: "Keys", action: null, body: h("dl", { class: "keys" }, rows) });
});
