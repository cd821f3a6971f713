// State in the address: what is filtered and sorted can be sent to a colleague as a link.

/** @param {string} name @param {string} [fallback] @returns {string} */
export const param = (name, fallback = "") => new URLSearchParams(location.search).get(name) ?? fallback;

/** Set or remove (null, "") parameters. Replaces the history entry, or adds one with `push`.
 * @param {Record<string, string | number | null | undefined>} values @param {{push?: boolean}} [options] */
export function setParams(values, { push = false } = {}) {
  const url = new URL(location.href);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === undefined || value === "") url.searchParams.delete(name);
    else url.searchParams.set(name, String(value));
  }
  if (url.href === location.href) return;
  history[push ? "pushState" : "replaceState"](null, "", url);
}

/** Query text of the values that are set: `?a=1`, or "". @param {Record<string, any>} values */
export function query(values) {
  const pairs = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(pairs.map(([name, value]) => [name, String(value)])).toString();
  return text && `?${text}`;
}
