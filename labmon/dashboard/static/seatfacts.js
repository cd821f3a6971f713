/** The facts about a seat: a card beside it, shown on hover and on focus. */
import { ago, h, number, percent } from "./lib.js";
import { kindOf } from "./seatplan.js";

/** @typedef {import("./seatplan.js").System} System */

/** @param {System} one  @returns {[string, string][]} Names and values, without what is not known. */
function facts(one) {
  const usage = one.usage === "busy" ? "busy" : one.usage === "free" ? "free" : null;
  /** @type {[string, string | null][]} */
  const all = [
    ["Address", one.ip_address],
    ["Now", usage],
    ["Users", one.logged_in_users === null ? null : number(one.logged_in_users)],
    ["CPU", one.cpu_percent === null ? null : percent(one.cpu_percent)],
    ["Memory", one.ram_percent === null ? null : percent(one.ram_percent)],
    ["Disk", one.disk_percent === null ? null : percent(one.disk_percent)],
    ["Measured", one.last_collected ? ago(one.last_collected) : "never"],
  ];
  return /** @type {[string, string][]} */ (all.filter(([, value]) => value !== null && value !== undefined));
}

/** One card for all the seats of a map. */
export class Facts {
  /** @param {HTMLElement} element  That the map is in; it becomes the frame of the card. */
  constructor(element) {
    this.card = h("div", { class: "seat-facts", hidden: true });
    /** @type {{id: number, node: Element} | null} */
    this.shown = null;
    element.append(this.card);
    addEventListener("scroll", () => this.hide(), { passive: true, capture: true });
  }

  /** A seat in one line, for those who do not see the map. @param {System} one */
  line(one) {
    const known = facts(one).map(([name, value]) => `${name} ${value}`).join(", ");
    return `${one.hostname ?? one.ip_address ?? `system ${one.system_id}`}, ${kindOf(one).word}, ${known}`;
  }

  /** @param {System} one  @param {Element} node */
  show(one, node) {
    this.shown = { id: one.system_id, node };
    const rows = facts(one).flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]);
    this.card.replaceChildren(
      h("strong", {}, one.hostname ?? one.ip_address ?? `System ${one.system_id}`),
      h("span", { class: "seat-facts-kind" }, kindOf(one).word + (one.alerts ? ` · ${one.alerts} alert${one.alerts > 1 ? "s" : ""}` : "")),
      h("dl", {}, ...rows),
    );
    this.card.hidden = false;
    const seat = node.getBoundingClientRect();
    const { width, height } = this.card.getBoundingClientRect();
    const fits = seat.right + 8 + width < document.documentElement.clientWidth;
    const left = fits ? seat.right + 8 : Math.max(8, seat.left - width - 8);
    this.card.style.left = `${left}px`;
    this.card.style.top = `${Math.max(8, Math.min(seat.top, innerHeight - height - 8))}px`;
  }

  /** New values for the card that is shown. @param {System[]} systems */
  refresh(systems) {
    const { shown } = this;
    const one = shown && systems.find((system) => system.system_id === shown.id);
    if (shown && one && !this.card.hidden) this.show(one, shown.node);
    else this.hide();
  }

  hide() {
    this.card.hidden = true;
    this.shown = null;
  }
}
