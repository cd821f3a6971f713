/**
 * The seat map of a lab: one seat per system, where it stands. State is told by shape and letter besides its
 * colour. Python draws the same map for reports (seats.py); a test compares the two.
 */
import { svg } from "./lib.js";
import { Facts } from "./seatfacts.js";
import { BY_KIND, brief, domainOf, kindOf, placeSeats, seatNames, stepOf } from "./seatplan.js";

/** @typedef {import("./seatplan.js").System} System */
/** @typedef {import("./seatplan.js").Place} Place */
/** @typedef {import("./seatplan.js").Kind} Kind */
/** @typedef {{colour?: string, compact?: boolean, href?: (system: System) => string,
 *             onSelect?: (system: System) => void}} Options */

const TILE = 44;
const SIZES = { full: { width: 68, height: 74, margin: 10 }, compact: { width: 52, height: 52, margin: 4 } };
/** Px of the card around the map. */
const PADDING = 32;
const COMPACT_SCALE = 0.55;
const LARGEST = 1.75;
/** Of a dense map: a seat of 24 px, which a finger still meets. What is wider then is scrolled. */
const SMALLEST = 24 / TILE;

/** @param {Kind} kind  @param {boolean} [plain]  A symbol of the legend. */
export function symbol(kind, plain = false) {
  return svg("g", { class: `seat seat-${kind.kind}` }, ...shapes(kind, plain ? null : kind.letter));
}

/** @param {Kind} kind  @param {string | null} text */
function shapes(kind, text) {
  return [
    svg("path", { class: "seat-shape", d: kind.shape }),
    kind.mark ? svg("path", { class: "seat-mark", d: kind.mark }) : null,
    text ? svg("text", { class: "seat-letter", x: 22, y: 28 + (kind.drop ?? 0) }, text) : null,
  ].filter(Boolean);
}

/** A seat map in an element; `update` draws new values without losing the focus or the hint. */
class SeatMap {
  /** @param {HTMLElement} element  @param {{name: string}} lab  @param {System[]} systems  @param {Options} options */
  constructor(element, lab, systems, options) {
    this.element = element;
    this.lab = lab;
    this.options = { colour: "state", compact: false, ...options };
    this.facts = this.options.compact ? null : new Facts(element);
    /** @type {Map<number, {node: SVGElement, place: Place}>} */
    this.seats = new Map();
    /** @type {System[]} */
    this.systems = [];
    this.layout = "";
    this.current = 0;
    this.update(systems);
    if (!this.options.compact) this.listen();
  }

  /** @param {System[]} systems  @param {string} [colour] */
  update(systems, colour) {
    if (colour) this.options.colour = colour;
    const { places, columns, rows, unseated } = placeSeats(systems);
    this.systems = systems;
    const layout = JSON.stringify([...places].map(([one, place]) => [one.system_id, place]));
    if (layout !== this.layout) {
      this.layout = layout;
      this.rebuild(places, columns, rows, unseated);
    }
    const names = seatNames(systems);
    const domain = domainOf(this.options.colour, systems);
    for (const one of systems) this.paint(one, /** @type {string} */ (names.get(one)), domain);
    this.facts?.refresh(systems);
    this.drawing.setAttribute("aria-label", this.summary());
  }

  /** @param {Map<System, Place>} places  @param {number} columns  @param {number} rows
   * @param {number | null} unseated */
  rebuild(places, columns, rows, unseated) {
    const room = (this.element.parentElement?.clientWidth ?? 0) - PADDING;
    // On a phone the seats stand closer together, without their names, so that the whole lab is seen.
    const dense = !this.options.compact && room > 0 && columns * SIZES.full.width + 2 * SIZES.full.margin > room;
    const { width, height, margin } = this.options.compact || dense ? SIZES.compact : SIZES.full;
    const focused = this.element.contains(document.activeElement);
    const whole = [Math.round(columns * width) + 2 * margin, Math.round(rows * height) + 2 * margin];
    const [least, most] = dense ? [SMALLEST, 1] : [1, LARGEST];
    const scale = this.options.compact ? COMPACT_SCALE : Math.max(least, Math.min(most, room / whole[0]));
    this.drawing = svg("svg", {
      class: `seatmap${this.options.compact ? " compact" : dense ? " dense" : ""}`, viewBox: `0 0 ${whole[0]} ${whole[1]}`,
      width: whole[0] * scale, height: whole[1] * scale, role: this.options.compact ? "img" : "group",
    });
    this.seats.clear();
    if (unseated !== null && !this.options.compact)
      this.drawing.append(svg("text", { class: "seat-title", x: margin, y: Math.round(margin + unseated * height) - 10 }, "Without a seat"));
    const inOrder = [...places].sort(([, a], [, b]) => a.row - b.row || a.column - b.column);
    for (const [one, place] of inOrder) {
      const x = Math.round(margin + place.column * width) + (width - TILE) / 2;
      const y = Math.round(margin + place.row * height) + 4;
      const at = { transform: `translate(${x} ${y})`, "data-id": one.system_id };
      const node = this.options.compact
        ? svg("g", at)
        : svg("a", { ...at, href: this.options.href?.(one) ?? "#", tabindex: -1 });
      this.seats.set(one.system_id, { node, place });
      this.drawing.append(node);
    }
    this.element.querySelector(".seatmap")?.remove();
    this.element.prepend(this.drawing);
    if (!this.seats.has(this.current)) this.current = inOrder[0]?.[0].system_id ?? 0;
    this.seats.get(this.current)?.node.setAttribute("tabindex", "0");
    if (focused) this.focus(this.current);
  }

  /** @param {System} one  @param {string} name  @param {[number, number]} domain */
  paint(one, name, domain) {
    const seat = this.seats.get(one.system_id);
    if (!seat) return;
    const { colour, compact } = this.options;
    const kind = kindOf(one);
    const metric = colour !== "state";
    const step = metric ? stepOf(one[colour], domain) : null;
    const look = JSON.stringify([kind.kind, step, metric && one[colour], name, one.usage]);
    if (seat.node.dataset.look === look) return;
    seat.node.dataset.look = look;
    seat.node.setAttribute("class", `seat seat-${kind.kind}${metric ? ` seat-metric seat-m${step ?? "x"}` : ""}`);
    const valued = metric && step !== null;
    const square = /** @type {Kind} */ (BY_KIND.get("free"));
    const parts = [valued ? shapes(square, brief(one[colour])) : shapes(kind, kind.letter)];
    if (!compact) {
      if (valued) parts.push([svg("text", { class: "seat-corner", x: 39, y: 12 }, kind.letter)]);
      else if (one.usage === "busy" && kind.kind !== "busy") parts.push([person()]);
      parts.push([svg("text", { class: "seat-name", x: 22, y: 58 }, name)]);
    }
    seat.node.replaceChildren(...parts.flat().flatMap((part) => [part, " "]));
    if (compact) return;
    // Who speaks to the browser says what is seen, so the label begins with it.
    const seen = [...seat.node.querySelectorAll("text")].map((text) => text.textContent).join(" ");
    seat.node.setAttribute("aria-label", `${seen}: ${this.facts?.line(one) ?? name}`);
  }

  /** How many of each kind, in words. */
  summary() {
    const counts = new Map();
    for (const one of this.systems) counts.set(kindOf(one).word, (counts.get(kindOf(one).word) ?? 0) + 1);
    const words = [...counts].map(([word, count]) => `${count} ${word.toLowerCase()}`).join(", ");
    return `Seats of ${this.lab.name}: ${words || "none"}`;
  }

  listen() {
    /** @param {Event} event */
    const seatAt = (event) => {
      const node = /** @type {Element} */ (event.target).closest?.("[data-id]");
      return node ? this.systems.find((one) => String(one.system_id) === node.getAttribute("data-id")) : undefined;
    };
    this.element.addEventListener("pointerover", (event) => {
      const one = seatAt(event);
      if (one) this.facts?.show(one, /** @type {any} */ (this.seats.get(one.system_id)).node);
    });
    this.element.addEventListener("pointerleave", () => this.facts?.hide());
    this.element.addEventListener("focusin", (event) => {
      const one = seatAt(event);
      if (!one) return;
      this.move(one.system_id);
      this.facts?.show(one, /** @type {any} */ (this.seats.get(one.system_id)).node);
    });
    this.element.addEventListener("focusout", () => this.facts?.hide());
    this.element.addEventListener("click", (event) => {
      const one = seatAt(event);
      if (!one || !this.options.onSelect || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.options.onSelect(one);
    });
    this.element.addEventListener("keydown", (event) => this.key(event));
    addEventListener("resize", () => {
      this.layout = "";
      this.update(this.systems);
    });
  }

  /** Arrows go to the nearest seat that way, Home and End to the first and the last. @param {KeyboardEvent} event */
  key(event) {
    const here = this.seats.get(this.current)?.place;
    if (event.key === "Escape") this.facts?.hide();
    if (!here || event.ctrlKey || event.altKey || event.metaKey) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const all = [...this.seats];
    let next;
    if (event.key === "Home") next = all[0];
    else if (event.key === "End") next = all.at(-1);
    else if (way) {
      const [dx, dy] = way;
      const far = ([, { place }]) => {
        const along = (place.column - here.column) * dx + (place.row - here.row) * dy;
        const aside = Math.abs((place.column - here.column) * dy) + Math.abs((place.row - here.row) * dx);
        return along > 0 ? along + aside * 3 : Infinity;
      };
      next = all.filter((one) => far(one) < Infinity).sort((a, b) => far(a) - far(b))[0];
    }
    if (!next) return;
    event.preventDefault();
    this.focus(next[0]);
  }

  /** @param {number} id */
  focus(id) {
    /** @type {any} */ (this.seats.get(id)?.node)?.focus();
  }

  /** @param {number} id */
  move(id) {
    this.seats.get(this.current)?.node.setAttribute("tabindex", "-1");
    this.current = id;
    this.seats.get(id)?.node.setAttribute("tabindex", "0");
  }
}

/** Somebody sits at a system that has another state too. */
function person() {
  return svg("g", { class: "seat-person" },
    svg("circle", { cx: 40, cy: 5, r: 8 }),
    svg("path", { d: "M40 1.2a2.3 2.3 0 1 1-.01 0ZM35.6 9.6q0-3.6 4.4-3.6t4.4 3.6Z" }));
}

/**
 * Draw the seats of a lab.
 * @param {HTMLElement} element  @param {{name: string}} lab  @param {System[]} systems  @param {Options} [options]
 */
export function drawSeats(element, lab, systems, options = {}) {
  return new SeatMap(element, lab, systems, options);
}
