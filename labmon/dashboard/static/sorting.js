// Order and search of rows: keys are worked out once for each value, so that a sort of thousands takes milliseconds.

const collator = /\d+/g;

/** A text key that puts pc9 before pc10 and 10.0.0.9 before 10.0.0.10. @param {string} text @returns {string} */
export const natural = (text) => text.toLowerCase().replace(collator, (digits) => digits.padStart(8, "0"));

/** Key of a value: numbers as they are, text as `natural`; null for what is missing. @param {any} value */
export function key(value) {
  if (value === null || value === undefined || value === "") return null;
  return typeof value === "string" ? natural(value) : typeof value === "object" ? natural(String(value)) : Number(value);
}

/**
 * Sort a list of rows in place; what has no value stands last in both directions, equals keep their order.
 * @template T @param {T[]} rows @param {(row: T) => any} value gives the value to sort by
 * @param {boolean} down @returns {T[]} the same list
 */
export function sortBy(rows, value, down) {
  const sign = down ? -1 : 1;
  const keyed = rows.map((row) => ({ row, key: key(value(row)) }));
  keyed.sort((a, b) => {
    if (a.key === b.key) return 0;
    if (a.key === null) return 1;
    if (b.key === null) return -1;
    return a.key < b.key ? -sign : sign;
  });
  keyed.forEach((entry, i) => { rows[i] = entry.row; });
  return rows;
}

/** A test for all the words of a text, in any order; "-word" must be missing; "=word" and a word in quotes
 * is a whole value. @param {string} text
 * @returns {(haystack: string) => boolean} takes lower-case text, a value on each line */
export function matcher(text) {
  const words = (text.toLowerCase().match(/-?"[^"]*"?|\S+/g) ?? []).filter((word) => !["-", "=", '"'].includes(word));
  return (haystack) => words.every((word) => holds(haystack, word));
}

/** @param {string} haystack @param {string} word @returns {boolean} */
function holds(haystack, word) {
  if (word.startsWith("-")) return !holds(haystack, word.slice(1));
  if (/^[="]/.test(word)) return haystack.split("\n").includes(word.replace(/^[="]+|[="]+$/g, ""));
  return haystack.includes(word);
}
