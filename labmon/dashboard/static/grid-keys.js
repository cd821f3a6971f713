// Keys and clicks of a grid: arrows move a line, Enter opens it, Home, End and the pages jump.

/** Which row of a Grid is active. Focus stays on the grid, which names the row by aria-activedescendant:
 * row elements are used for other rows as soon as it scrolls. */
export class GridKeys {
  /** @param {import("./grid.js").Grid} grid */
  constructor(grid) {
    this.grid = grid;
    this.active = -1;
    grid.inner.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.press(event));
    grid.body.addEventListener("click", (/** @type {MouseEvent} */ event) => this.click(event));
  }

  /** @param {KeyboardEvent} event */
  press(event) {
    const { grid } = this;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(grid.element.clientHeight / grid.rowHeight) - 2);
    const last = grid.view.length - 1;
    /** @type {Record<string, number>} */
    const to = { ArrowDown: this.active + 1, ArrowUp: this.active - 1, PageDown: this.active + page,
      PageUp: this.active - page, Home: 0, End: last };
    if (event.key === "Enter" && this.active >= 0 && event.target === grid.inner) this.open(event.shiftKey);
    else if (event.key in to && event.target === grid.inner) this.move(Math.max(0, Math.min(last, to[event.key])));
    else return;
    event.preventDefault();
  }

  /** @param {number} i */
  move(i) {
    const { grid } = this;
    this.active = i;
    const height = grid.rowHeight;
    const top = i * height;
    // The header lies over the first row's height.
    if (top < grid.element.scrollTop) grid.element.scrollTop = top;
    else if (top + 2 * height > grid.element.scrollTop + grid.element.clientHeight)
      grid.element.scrollTop = top + 2 * height - grid.element.clientHeight;
    grid.paint();
  }

  /** @param {boolean} elsewhere */
  open(elsewhere) {
    const href = this.grid.href?.(this.grid.view[this.active]);
    if (href && elsewhere) window.open(href, "_blank", "noopener");
    else if (href) location.assign(href);
  }

  /** A click anywhere in a row opens it, but a link, a button or marked text keeps its own meaning.
   * @param {MouseEvent} event */
  click(event) {
    const target = /** @type {Element} */ (event.target);
    if (target.closest("a, button, input, label") || String(getSelection())) return;
    const row = /** @type {any} */ (target.closest(".grid-row"));
    if (!row) return;
    this.active = row.index;
    this.open(event.ctrlKey || event.metaKey);
  }

  mark() {
    const { grid } = this;
    const row = grid.pool.find((/** @type {any} */ element) => !element.hidden && element.index === this.active);
    for (const element of grid.pool) element.classList.toggle("active", element === row);
    if (row) grid.inner.setAttribute("aria-activedescendant", row.id);
    else grid.inner.removeAttribute("aria-activedescendant");
  }
}
