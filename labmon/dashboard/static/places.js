// Where a rule or a maintenance is to count: departments and labs to choose from.

import { api } from "./lib.js";

/**
 * The choices of a field, as they are now; only `everything` while the server does not answer.
 * @param {string} everything its key
 * @returns {Promise<[string, string][]>}
 */
export async function places(everything) {
  /** @type {Record<string, any>[]} */
  const labs = await api.get("/labs").catch(() => []);
  const departments = [...new Set(labs.map((one) => one.dept_id))].sort((a, b) => a - b);
  return [
    [everything, "Everything"],
    ...departments.map((id) => /** @type {[string, string]} */ ([`dept ${id}`, `Department ${id}`])),
    ...labs.map((one) => /** @type {[string, string]} */ ([`lab ${one.lab_id}`, `Lab ${one.name}`])),
  ];
}
