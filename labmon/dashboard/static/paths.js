// Path data of readings. A missing reading (null) ends the line: what was not measured is not drawn.

/** @typedef {Array<number | null>} Values */
/** @typedef {(n: number) => number} Scale */

const round = (/** @type {number} */ n) => Math.round(n * 10) / 10;

/** First and last index of each stretch without a gap. @param {Values} values @returns {Array<[number, number]>} */
export function stretches(values) {
  /** @type {Array<[number, number]>} */
  const found = [];
  let first = -1;
  for (let i = 0; i <= values.length; i += 1) {
    const is = i < values.length && values[i] !== null && values[i] !== undefined;
    if (is && first < 0) first = i;
    if (!is && first >= 0) {
      found.push([first, i - 1]);
      first = -1;
    }
  }
  return found;
}

/** A line through the values; a reading alone between gaps becomes a dot. @param {Values} values
 * @param {Scale} x of an index @param {Scale} y of a value @returns {string} */
export function line(values, x, y) {
  let path = "";
  for (const [first, last] of stretches(values)) {
    for (let i = first; i <= last; i += 1)
      path += `${i === first ? "M" : "L"}${round(x(i))} ${round(y(/** @type {number} */ (values[i])))}`;
    if (first === last) path += "h.01";
  }
  return path;
}

/** The area between the values and the lower ones, or the ground. @param {Values} upper
 * @param {Values | null} lower @param {Scale} x @param {Scale} y @param {number} ground in px @returns {string} */
export function area(upper, lower, x, y, ground) {
  let path = "";
  for (const [first, last] of stretches(upper)) {
    if (first === last) continue;
    for (let i = first; i <= last; i += 1)
      path += `${i === first ? "M" : "L"}${round(x(i))} ${round(y(/** @type {number} */ (upper[i])))}`;
    if (lower) for (let i = last; i >= first; i -= 1) path += `L${round(x(i))} ${round(y(lower[i] ?? 0))}`;
    else path += `V${round(ground)}H${round(x(first))}`;
    path += "Z";
  }
  return path;
}
