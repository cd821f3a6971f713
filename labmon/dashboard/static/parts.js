// Small parts that several pages share.

import { h, replace } from "./dom.js";
import { Problem } from "./api.js";
import { percent } from "./format.js";
import { dialog, toast } from "./dialog.js";

/** Levels of a share in percent, as its meter is coloured: the number stands beside it. @param {number} value */
export const level = (value) => (value >= 90 ? "high" : value >= 75 ? "raised" : "normal");

/** Number and bar of a share. @param {number | null} value 0 to 100 @param {string} [text] instead of `27.4 %` */
export function meter(value, text) {
  const bar = h("span", { class: `bar ${level(value ?? 0)}` }, h("i", { style: { width: `${Math.min(100, value ?? 0)}%` } }));
  return h("span", { class: "meter" }, h("b", null, text ?? percent(value)), bar);
}

/** What a list shows when it has nothing: a line, what to do next, commands to copy.
 * @param {{title: string, text?: string, commands?: string[]}} options */
export function empty({ title, text, commands = [] }) {
  return h("div", { class: "empty" }, h("h3", null, title), text && h("p", { class: "muted" }, text),
    commands.length > 0 && h("pre", null, commands.map((line) => h("code", null, line))));
}

/** A line that stays until it is replaced. @param {string} text @param {"info" | "warning" | "error"} [kind] */
export const notice = (text, kind = "info") =>
  h("p", { class: `notice notice-${kind}`, role: kind === "info" ? "status" : "alert" }, text);

/** A row of choices of which one is pressed; call `.choose(value)` to press another without `onchoose`.
 * @param {{label: string, options: Array<[string, any]>, value: string, onchoose: (value: string) => void}} options
 * options are [value, text or element] */
export function segment({ label, options, value, onchoose }) {
  const buttons = options.map(([key, word]) =>
    h("button", { type: "button", "aria-pressed": String(key === value), dataset: { value: key },
      onclick: () => { element.choose(key); onchoose(key); } }, word));
  const element = h("div", { class: "segment", role: "group", "aria-label": label }, buttons);
  element.choose = (/** @type {string} */ key) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.value === key));
  };
  return element;
}

/** Put what `read` brings into `element` through `draw`; a failure is shown there with a button that tries
 * again, and a database that is away is tried again every five seconds.
 * @template T @param {Element} element @param {() => Promise<T>} read @param {(data: T) => any} draw */
export async function load(element, read, draw) {
  element.setAttribute("aria-busy", "true");
  try {
    const data = await read();
    element.removeAttribute("aria-busy");
    const drawn = draw(data);
    if (drawn) replace(element, drawn);
  } catch (error) {
    element.removeAttribute("aria-busy");
    if (!(error instanceof Problem)) throw error;
    if (error.status === 401) return;
    const again = () => load(element, read, draw);
    replace(element, h("div", { class: "empty", role: "alert" }, h("h3", null, error.title), h("p", { class: "muted" }, error.detail),
      error.status !== 404 && h("button", { class: "btn", onclick: again }, "Try again")));
    if (error.status === 0 || error.status >= 500) setTimeout(() => element.isConnected && element.querySelector(".empty .btn") && again(), 5000);
  }
}

/** Run an action of a button: its failure becomes a toast, its success too when `done` is given.
 * @param {() => Promise<any>} run @param {string} [done] */
export async function act(run, done) {
  try {
    const result = await run();
    if (done) toast(done);
    return result;
  } catch (error) {
    toast(error instanceof Error ? error.message : String(error), "error");
    return null;
  }
}

/** Ask before something that cannot be undone. @param {{title: string, text: string, action: string,
 *   run: () => Promise<any>}} options */
export const confirm = ({ title, text, action, run }) => dialog({ title, text, action, danger: true, run });
