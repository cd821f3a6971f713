// Elements. Text always goes in as text: names and notes come from strangers' machines.

const SVG = "http://www.w3.org/2000/svg";

/** @typedef {Node | string | number | null | undefined | false | Array<any>} Child */

/**
 * Build an HTML element: `h("a", {class: "btn", href: "/x", onclick: go}, "Go")`.
 * Functions under `on...` become listeners, `style` and `dataset` are objects, `true` sets an
 * empty attribute; null, undefined and false leave an attribute or a child out.
 * @param {string} tag @param {Record<string, any> | null} [props] @param {...Child} children
 * @returns {any} the element
 */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG elements. @param {string} tag @returns {any} the element
 * @param {Record<string, any> | null} [props] @param {...Child} children */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** @param {Element} element @param {Record<string, any> | null | undefined} props @param {Child[]} children */
function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) set(element, name, value);
  append(element, children);
  // A select has nothing to choose from before its options are there.
  if (element instanceof HTMLSelectElement && props?.value !== undefined) element.value = props.value;
  return element;
}

/** @param {any} element @param {string} name @param {any} value */
function set(element, name, value) {
  if (value === null || value === undefined || value === false) return;
  if (typeof value === "function") element.addEventListener(name.slice(2), value);
  else if (name === "style") for (const key of Object.keys(value)) element.style.setProperty(key, value[key]);
  else if (name === "dataset") Object.assign(element.dataset, value);
  else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
  else element.setAttribute(name, value === true ? "" : String(value));
}

/** @param {Element} element @param {Child[]} children */
function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

/** Put children in place of whatever the element holds. @param {Element} element @param {...Child} children */
export function replace(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

/** First element that matches; throws where the page has none. @param {string} selector
 * @param {ParentNode} [within] @returns {any} */
export function find(selector, within = document) {
  const element = within.querySelector(selector);
  if (!element) throw new Error(`the page has no ${selector}`);
  return element;
}
