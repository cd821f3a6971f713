/**
 * A list of tens of rows that follows what happens: filtered by the server, read on with "Show more". Rows under
 * the pointer change their values but not their places. When the server or the database is away, what is shown
 * stays, with a line that says so, and is read again every five seconds.
 */
import { Problem, api, empty as emptyNote, h, notice, param, query, replace, setParams, time } from "./lib.js";

/** @typedef {Record<string, any>} Row */
/** @typedef {{title: string, cell: (row: Row) => any, css?: string, hidden?: boolean}} Column */
/** @typedef {{path: string, filter?: () => Record<string, any>, key: string | ((row: Row) => string), columns: Column[],
 *   empty: {title: string, text?: string, commands?: string[]}, select?: (row: Row) => boolean,
 *   onselect?: (rows: Row[]) => void, details?: (row: Row) => Promise<any>, label: string,
 *   onread?: (answer: any) => void, name?: (row: Row) => string, pageSize?: number,
 *   whole?: boolean}} Options
 * `key`: what tells rows apart; `whole`: the server sends all at once; `select`: which rows have a check box; `details`: what opens below a row */

const RETRY = 5000;

export class Listing {
  /** @param {HTMLElement} element @param {Options} options */
  constructor(element, options) {
    this.element = element;
    this.options = options;
    this.columns = options.columns.filter((column) => !column.hidden);
    /** @type {Row[]} */
    this.items = [];
    this.next = null;
    this.wanted = options.pageSize ?? 100;
    /** @type {Map<string, {text: string, nodes: HTMLElement[]}>} */
    this.drawn = new Map();
    /** @type {Set<string>} */
    this.chosen = new Set();
    /** @type {Map<string, any>} */
    this.open = new Map();
    this.turn = 0;
    this.held = false;
    this.readAt = 0;
    this.build();
  }

  build() {
    const { select, details, label } = this.options;
    this.all = h("input", { type: "checkbox", "aria-label": "Select all", onchange: () => this.chooseAll(this.all.checked) });
    this.body = h("tbody", { onpointerleave: () => this.release() });
    const heads = [
      select && h("th", { class: "check", scope: "col" }, this.all),
      ...this.columns.map((column) => h("th", { class: column.css, scope: "col" },
        column.title || h("span", { class: "visually-hidden" }, "Actions"))),
      details && h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Details")),
    ];
    this.table = h("table", { class: "table", "aria-label": label }, h("thead", null, h("tr", null, heads)), this.body);
    this.said = h("div", { class: "listing-said" });
    this.foot = h("div", { class: "listing-foot" });
    replace(this.element, this.said, h("div", { class: "table-wrap" }, this.table), this.foot);
  }

  /** Read again with the filter as it is; the rows that were read so far are read again too.
   * @param {boolean} [hold] rows under the pointer stay where they are: for changes that nobody here has made */
  async reload(hold = false) {
    const turn = ++this.turn;
    clearTimeout(this.timer);
    this.element.setAttribute("aria-busy", "true");
    const { path, filter, onread } = this.options;
    try {
      /** @type {Row[]} */
      const items = [];
      let answer;
      let after = null;
      do {
        answer = await api.get(path + query({ ...filter?.(), after, limit: this.options.whole ? null : Math.min(500, this.wanted - items.length) }));
        if (turn !== this.turn) return;
        items.push(...(Array.isArray(answer) ? answer : answer.items));
        after = answer.next ?? null;
      } while (after && items.length < this.wanted);
      this.items = items;
      this.next = after;
      this.readAt = Date.now() / 1000;
      onread?.(answer);
      replace(this.said);
      this.draw(hold);
    } catch (error) {
      if (turn !== this.turn) return;
      this.failed(error);
    } finally {
      if (turn === this.turn) this.element.removeAttribute("aria-busy");
    }
  }

  /** @param {unknown} error */
  failed(error) {
    if (!(error instanceof Problem)) throw error;
    const stays = this.readAt ? [" What is shown is of ", time(this.readAt, "seconds"), "."] : [];
    const line = notice("", "warning");
    replace(line, error.detail, ...stays);
    replace(this.said, line);
    if (error.status === 0 || error.status >= 500) this.timer = setTimeout(() => this.reload(true), RETRY);
  }

  async more() {
    this.wanted += this.options.pageSize ?? 100;
    await this.reload();
  }

  /** Forget what was read, for another filter. */
  async restart() {
    this.wanted = this.options.pageSize ?? 100;
    this.chosen.clear();
    this.open.clear();
    await this.reload();
  }

  /** @param {Row} row */
  keyOf(row) {
    const { key } = this.options;
    return typeof key === "function" ? key(row) : String(row[key]);
  }

  /** Draw all rows again, when what their cells say depends on more than the rows. */
  repaint() {
    for (const one of this.drawn.values()) one.text = "";
    this.draw();
  }

  /** @param {boolean} [hold] */
  draw(hold = false) {
    const there = new Set(this.items.map((row) => this.keyOf(row)));
    this.held = hold && this.body.matches(":hover") && this.drawn.size > 0;
    for (const row of this.items) this.drawRow(row);
    if (!this.held) {
      for (const [key, { nodes }] of this.drawn) {
        if (there.has(key)) continue;
        nodes.forEach((node) => node.remove());
        this.drawn.delete(key);
        this.open.delete(key);
      }
      this.sort();
    } else {
      for (const [key, { nodes }] of this.drawn) nodes[0].classList.toggle("gone", !there.has(key));
    }
    const selectable = new Set(this.items.filter((row) => this.options.select?.(row)).map((row) => this.keyOf(row)));
    for (const key of this.chosen) if (!selectable.has(key)) this.chosen.delete(key);
    this.drawFoot();
    this.selected();
  }

  /** Put the rows in the order of the items. */
  sort() {
    let before = this.body.firstElementChild;
    for (const row of this.items) {
      for (const node of this.drawn.get(this.keyOf(row))?.nodes ?? []) {
        if (node === before) before = before.nextElementSibling;
        else this.body.insertBefore(node, before);
      }
    }
  }

  release() {
    if (this.held) this.draw();
    this.held = false;
  }

  /** @param {Row} row */
  drawRow(row) {
    const key = this.keyOf(row);
    const text = JSON.stringify(row);
    const known = this.drawn.get(key);
    if (known?.text === text) return;
    const main = this.row(row, key);
    if (!known) {
      this.drawn.set(key, { text, nodes: [main] });
      if (!this.held) this.body.append(main);
      return;
    }
    const focused = [...known.nodes[0].querySelectorAll("button, a, input")].indexOf(/** @type {any} */ (document.activeElement));
    known.nodes[0].replaceWith(main);
    known.nodes[0] = main;
    known.text = text;
    if (focused >= 0) /** @type {any} */ (main.querySelectorAll("button, a, input")[focused])?.focus();
    if (this.open.has(key)) this.fillDetails(row, key);
  }

  /** @param {Row} row @param {string} key */
  row(row, key) {
    const { select, details } = this.options;
    const name = this.options.name?.(row) ?? key;
    const box = select?.(row) && h("input", { type: "checkbox", "aria-label": `Select ${name}`, checked: this.chosen.has(key),
      onchange: (/** @type {any} */ event) => this.choose(key, event.target.checked) });
    const opener = details && h("button", { type: "button", class: "btn btn-small btn-quiet", "aria-expanded": String(this.open.has(key)),
      "aria-label": `Details of ${name}`, onclick: () => this.toggle(row, key) }, "Details");
    return h("tr", { dataset: { key }, "aria-selected": this.chosen.has(key) ? "true" : null },
      select && h("td", { class: "check" }, box),
      this.columns.map((column) => h("td", { class: column.css, dataset: { label: column.title } }, column.cell(row))),
      details && h("td", { class: "num" }, opener));
  }

  /** @param {Row} row @param {string} key */
  toggle(row, key) {
    const drawn = this.drawn.get(key);
    if (!drawn) return;
    const opened = this.open.get(key);
    if (opened) {
      opened.remove();
      drawn.nodes.length = 1;
      this.open.delete(key);
    } else {
      const cell = h("td", { colspan: this.table.rows[0].cells.length });
      const under = h("tr", { class: "details" }, cell);
      drawn.nodes.push(under);
      drawn.nodes[0].after(under);
      this.open.set(key, under);
      this.fillDetails(row, key);
    }
    drawn.nodes[0].querySelector("[aria-expanded]")?.setAttribute("aria-expanded", String(!opened));
  }

  /** @param {Row} row @param {string} key */
  async fillDetails(row, key) {
    const cell = this.open.get(key)?.firstElementChild;
    if (!cell) return;
    try {
      replace(cell, await this.options.details?.(row));
    } catch (error) {
      replace(cell, notice(error instanceof Error ? error.message : String(error), "error"));
    }
  }

  drawFoot() {
    const nothing = this.items.length === 0;
    this.table.hidden = nothing && !this.held;
    const more = this.next !== null && this.next !== undefined &&
      h("button", { type: "button", class: "btn", onclick: () => this.more() }, "Show more");
    replace(this.foot, nothing ? emptyNote(this.options.empty) : more);
  }

  /** @param {string} key @param {boolean} on */
  choose(key, on) {
    if (on) this.chosen.add(key);
    else this.chosen.delete(key);
    this.selected();
  }

  /** @param {boolean} on */
  chooseAll(on) {
    for (const row of this.items) {
      if (!this.options.select?.(row)) continue;
      if (on) this.chosen.add(this.keyOf(row));
      else this.chosen.delete(this.keyOf(row));
    }
    this.selected();
  }

  clear() {
    this.chosen.clear();
    this.selected();
  }

  /** The rows that are selected, as they are now. */
  get rows() {
    return this.items.filter((row) => this.chosen.has(this.keyOf(row)));
  }

  selected() {
    for (const [key, { nodes }] of this.drawn) {
      const on = this.chosen.has(key);
      if (on) nodes[0].setAttribute("aria-selected", "true");
      else nodes[0].removeAttribute("aria-selected");
      const box = /** @type {any} */ (nodes[0].querySelector(".check input"));
      if (box) box.checked = on;
    }
    const count = this.chosen.size;
    const selectable = this.items.filter((row) => this.options.select?.(row)).length;
    this.all.checked = count > 0 && count === selectable;
    this.all.indeterminate = count > 0 && count < selectable;
    this.all.disabled = selectable === 0;
    this.options.onselect?.(this.rows);
  }
}

/**
 * Filter by the words in a field: what was typed stands in the address as `q`, and `onchange` is called when
 * typing pauses.
 * @param {HTMLInputElement} field @param {() => void} onchange
 */
export function filterByWords(field, onchange) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let typed;
  field.value = param("q");
  field.addEventListener("input", () => {
    clearTimeout(typed);
    typed = setTimeout(() => {
      setParams({ q: field.value.trim() });
      onchange();
    }, 250);
  });
}
