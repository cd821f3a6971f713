// A table of thousands of rows of which only those in view are elements.

import { h, replace } from "./dom.js";
import { matcher, sortBy } from "./sorting.js";
import { GridKeys } from "./grid-keys.js";

/**
 * @typedef {object} Column
 * @property {string} id
 * @property {string} title text of the header; also in the columns menu
 * @property {(row: any) => any} [value] what it is sorted and searched by; by default `row[id]`
 * @property {(row: any) => any} [cell] text or element; by default the value as text
 * @property {number} width least width in rem
 * @property {number} [grow] share of the width left over; 1 by default, 0: none
 * @property {boolean} [num] numbers, to the right
 * @property {boolean} [down] sorts downwards at the first click
 * @property {boolean} [search] the filter looks into it
 * @property {boolean} [hidden] not shown until chosen in the menu
 * @property {number} [narrow] width in rem on a phone; columns without one are left out there
 * @property {boolean} [fixed] cannot be hidden
 * @property {string} [help] tooltip of the header
 */

const OVERSCAN = 6;
/** After a live change, rows move at most this often, in ms. */
const CALM = 5000;
/** Grids made, to give rows an id of their own. */
let grids = 0;
const NARROW = "(max-width: 640px)";

/**
 * `new Grid(element, {label, columns, key: (row) => row.system_id, href: (row) => "/systems/7"})`, then
 * `grid.setRows(rows)`, `grid.update(changedRows)`, `grid.filter("words", (row) => ...)`, `grid.sort("lab")`.
 * Events on the element: "gridsort", "gridcolumns" (the state in `grid.sorted`, `grid.columns` changed), "gridview" (other rows).
 */
export class Grid {
  /** @param {HTMLElement} element @param {{label: string, columns: Column[], key: (row: any) => any,
   *   href?: (row: any) => string, rowClass?: (row: any) => string, sort?: string, columnIds?: string[], empty?: any}} options
   * sort: "id" or "-id" (downwards); columnIds: shown columns; empty: element shown when no row matches */
  constructor(element, { label, columns, key, href, rowClass, sort = "", columnIds, empty = "Nothing matches the filter." }) {
    this.element = element;
    this.all = columns;
    this.key = key;
    this.href = href;
    this.rowClass = rowClass;
    /** @type {string} */
    this.sorted = sort;
    this.chosen = new Set(columnIds ?? columns.filter((column) => !column.hidden).map((column) => column.id));
    /** @type {Map<any, any>} */
    this.byKey = new Map();
    /** @type {any[]} rows that match, in order */
    this.view = [];
    /** @type {{words: string, test: (row: any) => boolean}} */
    this.wanted = { words: "", test: () => true };
    /** @type {WeakMap<any, string>} */
    this.texts = new WeakMap();
    /** @type {any[]} row elements, used again and again */
    this.pool = [];
    this.lastOrder = 0;
    this.name = `grid${(grids += 1)}`;
    this.stale = false;

    this.head = h("div", { class: "grid-row grid-head", role: "row", "aria-rowindex": "1" });
    this.body = h("div", { class: "grid-body", role: "rowgroup" });
    this.none = h("div", { class: "grid-empty muted", hidden: true }, empty);
    this.inner = h("div", { class: "grid-inner", role: "grid", "aria-label": label, tabindex: "0" },
      h("div", { role: "rowgroup", class: "grid-headgroup" }, this.head), this.body);
    element.classList.add("grid");
    replace(element, this.inner, this.none);
    this.keys = new GridKeys(this);
    this.listen();
    this.layout();
  }

  listen() {
    let asked = false;
    this.element.addEventListener("scroll", () => {
      if (asked) return;
      asked = true;
      requestAnimationFrame(() => {
        asked = false;
        this.paint();
      });
    }, { passive: true });
    new ResizeObserver(() => this.paint()).observe(this.element);
    matchMedia(NARROW).addEventListener("change", () => this.layout());
    setInterval(() => this.settle(), 1000);
  }

  get columns() {
    const narrow = matchMedia(NARROW).matches;
    return this.all.filter((column) => (narrow ? column.narrow || (column.hidden && this.chosen.has(column.id)) : this.chosen.has(column.id) || column.fixed));
  }

  /** Make the header and forget the row elements: the columns changed. */
  layout() {
    const columns = this.columns;
    const phone = matchMedia(NARROW).matches;
    const widths = columns.map(({ width, narrow = width }) => (phone ? narrow : width));
    const tracks = columns.map(({ grow = 1 }, i) => [widths[i], grow]).map(([width, grow]) => (grow ? `minmax(${width}rem, ${grow}fr)` : `${width}rem`));
    this.inner.style.setProperty("--columns", tracks.join(" "));
    this.inner.style.setProperty("--least", `${widths.reduce((sum, width) => sum + width, 1)}rem`);
    this.inner.setAttribute("aria-colcount", String(columns.length));
    replace(this.head, columns.map((column) => this.header(column)));
    this.pool.forEach((row) => row.remove());
    this.pool = [];
    this.paint();
  }

  /** @param {Column} column */
  header(column) {
    const on = this.sorted.replace(/^-/, "") === column.id;
    const down = this.sorted.startsWith("-");
    return h("div", { role: "columnheader", class: column.num ? "num" : "", "aria-sort": on ? (down ? "descending" : "ascending") : "none" },
      h("button", { type: "button", title: column.help, dataset: { sort: column.id },
        onclick: () => this.sort(column.id) }, column.title, h("i", { "aria-hidden": "true" }, on ? (down ? "↓" : "↑") : "")));
  }

  /** Put other rows in. @param {any[]} rows */
  setRows(rows) {
    this.byKey = new Map(rows.map((row) => [this.key(row), row]));
    this.order();
  }

  /** Put changed or new rows in. Values show at once; the order follows when the pointer is elsewhere.
   * @param {any[]} rows @param {any[]} [removed] keys */
  update(rows, removed = []) {
    let structure = removed.length > 0;
    for (const row of rows) {
      const known = this.byKey.get(this.key(row));
      structure ||= !known;
      if (known) {
        Object.assign(known, row);
        this.texts.delete(known);
      } else this.byKey.set(this.key(row), row);
    }
    for (const key of removed) this.byKey.delete(key);
    this.stale = true;
    if (structure && !this.busy()) this.order();
    else this.paint(true);
  }

  busy() {
    return this.element.matches(":hover") || this.inner.contains(document.activeElement);
  }

  settle() {
    if (this.stale && !document.hidden && !this.busy() && performance.now() - this.lastOrder > CALM) this.order();
  }

  /** Show the rows that have all the words and pass the test. @param {string} words
   * @param {(row: any) => boolean} [test] */
  filter(words, test = () => true) {
    this.wanted = { words, test };
    this.element.scrollTop = 0;
    this.keys.active = -1;
    this.order();
  }

  /** @param {string} id of a column; the same one again turns the order round @param {boolean} [down] */
  sort(id, down) {
    const column = this.all.find((other) => other.id === id);
    if (!column) return;
    const first = column.down ? `-${id}` : id;
    const other = column.down ? id : `-${id}`;
    this.sorted = down === undefined ? (this.sorted === first ? other : first) : (down ? "-" : "") + id;
    const focused = this.head.contains(document.activeElement);
    for (const [i, shown] of this.columns.entries()) this.head.children[i].replaceWith(this.header(shown));
    // The header that was pressed is another element now, and stays where the keyboard is.
    if (focused) this.head.querySelector(`[data-sort="${id}"]`)?.focus();
    this.order();
    this.say("gridsort");
  }

  /** @param {string} id @param {boolean} on */
  showColumn(id, on) {
    if (on) this.chosen.add(id);
    else this.chosen.delete(id);
    this.layout();
    this.say("gridcolumns");
  }

  /** @param {string} name */
  say(name) {
    this.element.dispatchEvent(new CustomEvent(name));
  }

  /** @param {any} row @returns {string} what the filter looks into */
  text(row) {
    let text = this.texts.get(row);
    if (text === undefined) {
      text = this.all.filter((column) => column.search)
        .map((column) => (column.value ? column.value(row) : row[column.id]) ?? "").join("\n").toLowerCase();
      this.texts.set(row, text);
    }
    return text;
  }

  /** Work out which rows are shown, and in which order. */
  order() {
    const matches = matcher(this.wanted.words);
    const rows = [];
    for (const row of this.byKey.values()) if (this.wanted.test(row) && matches(this.text(row))) rows.push(row);
    const id = this.sorted.replace(/^-/, "");
    const column = this.all.find((other) => other.id === id);
    if (column) sortBy(rows, column.value ?? ((row) => row[id]), this.sorted.startsWith("-"));
    this.view = rows;
    this.lastOrder = performance.now();
    this.stale = false;
    this.inner.setAttribute("aria-rowcount", String(rows.length + 1));
    this.none.hidden = rows.length > 0;
    this.paint(true);
    this.say("gridview");
  }

  /** Height of a row in px. */
  get rowHeight() {
    return this.head.offsetHeight || 36;
  }

  /** Draw the rows in view. @param {boolean} [all] also those that stand where they stood */
  paint(all = false) {
    const height = this.rowHeight;
    this.body.style.height = `${this.view.length * height}px`;
    const first = Math.max(0, Math.floor(this.element.scrollTop / height) - OVERSCAN);
    // Rows beyond a wall screen at its smallest zoom are not drawn: the browser may report a height without limit.
    const count = Math.min(58, Math.ceil(this.element.clientHeight / height) + 2 * OVERSCAN);
    const last = Math.min(this.view.length, first + count);
    this.grow(last - first);
    const size = this.pool.length;
    const used = new Set();
    for (let i = first; i < last; i += 1) {
      const element = this.pool[i % size];
      used.add(element);
      const row = this.view[i];
      const moved = element.index !== i;
      if (moved) this.place(element, i, height);
      if (moved || all || element.row !== row) this.fill(element, row);
      element.classList.toggle("active", i === this.keys.active);
    }
    for (const element of this.pool) element.hidden = !used.has(element);
    this.keys.mark();
  }

  /** @param {number} size */
  grow(size) {
    if (this.pool.length >= size) return;
    // Which element shows a row follows from the number of elements: all are placed again.
    for (const element of this.pool) element.index = -1;
    while (this.pool.length < size) this.pool.push(this.newRow());
    this.body.append(...this.pool);
  }

  newRow() {
    const cells = this.columns.map((column) => h("div", { role: "gridcell", class: column.num ? "num" : "" }));
    const row = h("div", { class: "grid-row", role: "row" }, cells);
    row.cells_ = cells;
    row.shown = [];
    return row;
  }

  /** @param {any} element @param {number} i @param {number} height */
  place(element, i, height) {
    element.index = i;
    element.id = `${this.name}-${i}`;
    element.setAttribute("aria-rowindex", String(i + 2));
    element.style.transform = `translateY(${i * height}px)`;
  }

  /** @param {any} element @param {any} row */
  fill(element, row) {
    element.row = row;
    if (this.rowClass) element.className = `grid-row ${this.rowClass(row)}`;
    const columns = this.columns;
    for (let i = 0; i < columns.length; i += 1) {
      const column = columns[i];
      const value = column.cell ? column.cell(row) : (column.value ? column.value(row) : row[column.id]) ?? "–";
      if (value instanceof Node) {
        // A cell that looks the same is left alone: a link keeps its focus, a tooltip stays open.
        const shown = element.cells_[i].firstChild;
        if (!(shown instanceof Node) || !shown.isEqualNode(value)) element.cells_[i].replaceChildren(value);
      } else if (element.cells_[i].textContent !== String(value)) element.cells_[i].textContent = String(value);
    }
  }
}
