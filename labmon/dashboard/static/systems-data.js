// Rows of /systems as objects, and what the stream changes in them. They come as columns and rows, which is
// a third of the size of objects.

/** @typedef {Record<string, any>} Row */
/** @typedef {{columns: string[], rows: any[][], removed?: number[]}} Columnar */

/** @param {string[]} columns @param {any[]} values @returns {Row} */
export function objectOf(columns, values) {
  /** @type {Row} */
  const row = {};
  columns.forEach((name, index) => (row[name] = values[index]));
  return row;
}

/** In the order of the answer. @param {Columnar} answer @returns {Row[]} */
export const decode = ({ columns, rows }) => rows.map((values) => objectOf(columns, values));

/** By system ID. @param {Columnar} answer @returns {Map<number, Row>} */
export function rowsOf(answer) {
  return new Map(decode(answer).map((row) => [row.system_id, row]));
}

/** Take changed rows in. Returns true when one is new, is gone, or has moved to another
 * lab: then a page reads everything again.
 * @param {Map<number, Row>} known @param {Columnar} change */
export function merge(known, { columns, rows, removed = [] }) {
  let moved = false;
  for (const id of removed) moved = known.delete(id) || moved;
  for (const values of rows ?? []) {
    const row = objectOf(columns, values);
    const before = known.get(row.system_id);
    moved ||= !before || before.lab_id !== row.lab_id;
    known.set(row.system_id, row);
  }
  return moved;
}

/** What a system is called: its name, its address, or its number. @param {Row} system @returns {string} */
export const nameOf = (system) => system.hostname || system.ip_address || `System ${system.system_id}`;
