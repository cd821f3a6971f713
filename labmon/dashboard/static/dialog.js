// Short words to the user: a toast that goes away, a dialog that waits for an answer.

import { h } from "./dom.js";

/** Say something for five seconds; ten with an action, such as Undo. @param {string} text @param {"ok" | "error"} [kind]
 * @param {{text: string, run: () => any}} [action] */
export function toast(text, kind = "ok", action) {
  const shelf = document.getElementById("toasts") ?? document.body;
  const note = h("div", { class: `toast toast-${kind}`, role: kind === "error" ? "alert" : "status" }, text,
    action && [" ", h("button", { type: "button", class: "btn btn-small", onclick: () => { note.remove(); action.run(); } }, action.text)]);
  shelf.append(note);
  setTimeout(() => note.remove(), action ? 10_000 : kind === "error" ? 9000 : 5000);
}

/** @typedef {{name: string, label: string, type?: string, value?: string, options?: Array<[string, string]>,
 *   required?: boolean, hint?: string, placeholder?: string, autocomplete?: string}} Field
 * `type` as of input, or "select" (with `options` [value, text]), "textarea", "checkbox" */

/**
 * Ask, then act: `dialog({title, text, fields, action: "Acknowledge", run: async (values) => ...})`.
 * While `run` works the buttons wait; when it throws, its message stands in the dialog and the dialog
 * stays. Resolves to the values, or null when the user cancelled.
 * @param {{title: string, text?: any, fields?: Field[], action?: string | null, danger?: boolean, body?: any,
 *   wide?: boolean, run?: (values: Record<string, any>) => Promise<any> | any}} options
 * `action: null` shows only a Close button (help, details)
 * @returns {Promise<Record<string, any> | null>}
 */
export function dialog({ title, text, fields = [], body, action = "OK", danger = false, wide = false, run }) {
  return new Promise((resolve) => {
    const before = /** @type {HTMLElement | null} */ (document.activeElement);
    const error = h("p", { class: "form-error", role: "alert", hidden: true });
    const cancel = h("button", { type: "button", class: "btn", onclick: () => box.close() }, action ? "Cancel" : "Close");
    const go = action && h("button", { class: danger ? "btn btn-danger" : "btn btn-primary" }, action);
    const form = h("form", { method: "dialog", novalidate: true }, h("h2", { id: "dialog-title" }, title),
      text && h("p", { class: "muted" }, text), fields.map(field), body, error,
      h("div", { class: "dialog-foot" }, cancel, go));
    const box = h("dialog", { class: wide ? "wide" : "", "aria-labelledby": "dialog-title" }, form);
    /** @type {Record<string, any> | null} */
    let result = null;

    form.addEventListener("submit", async (/** @type {Event} */ event) => {
      event.preventDefault();
      const values = read(form, fields);
      error.hidden = true;
      if (go) go.disabled = true;
      try {
        check(form, fields);
        await run?.(values);
        result = values;
        box.close();
      } catch (problem) {
        error.textContent = problem instanceof Error ? problem.message : String(problem);
        error.hidden = false;
      } finally {
        if (go) go.disabled = false;
      }
    });
    box.addEventListener("close", () => {
      box.remove();
      before?.focus?.();
      resolve(result);
    });
    document.body.append(box);
    box.showModal();
    (form.querySelector("input, select, textarea") ?? go ?? cancel).focus();
  });
}

/** One labelled control, also for forms on pages. @param {Field} options */
export function field({ name, label, type = "text", value = "", options = [], required, hint, placeholder, autocomplete }) {
  // A hint beside the control is no part of its name.
  const hinted = hint && `hint-${name}`;
  const common = { name, required, placeholder, autocomplete, "aria-label": label, "aria-describedby": hinted };
  if (type === "checkbox")
    return h("label", { class: "field check" }, h("input", { name, type, checked: Boolean(value) }), label);
  let control;
  if (type === "select")
    control = h("select", common, options.map(([key, word]) => h("option", { value: key, selected: key === value }, word)));
  else if (type === "textarea") control = h("textarea", { ...common, rows: "3", value });
  // Browsers take whole numbers only, unless they are told.
  else control = h("input", { ...common, type, value, step: type === "number" ? "any" : null });
  return h("label", { class: "field" }, h("span", null, label), control, hint && h("small", { class: "muted", id: hinted }, hint));
}

/** Say what is missing or is no number, and go there: browsers say it in a language of their own.
 * @param {HTMLFormElement} form @param {Field[]} fields */
function check(form, fields) {
  for (const { name, label, required } of fields) {
    const control = /** @type {any} */ (form.elements.namedItem(name));
    const wrong = control.validity.badInput ? `${label}: this is no ${control.type === "number" ? "number" : "date and time"}.`
      : required && !control.value.trim() ? `${label} is missing.` : "";
    if (!wrong) continue;
    control.focus();
    throw new Error(wrong);
  }
}

/** @param {HTMLFormElement} form @param {Field[]} fields */
function read(form, fields) {
  /** @type {Record<string, any>} */
  const values = {};
  for (const { name, type } of fields) {
    const control = /** @type {any} */ (form.elements.namedItem(name));
    values[name] = type === "checkbox" ? control.checked : control.value;
  }
  return values;
}
