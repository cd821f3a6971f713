// The API. Every answer sets the clock; every failure is a Problem whose message a person can read.

import { setClock, timeText } from "./format.js";

/** Path the dashboard is mounted under: "" or "/monitor". */
export const root = document.documentElement.dataset.root ?? "";

/** @param {string} name */
const meta = (name) => document.querySelector(`meta[name="${name}"]`)?.getAttribute("content") ?? "";

/** Name of the user who is logged in; empty on public pages. */
export const user = meta("user");

const RANKS = ["viewer", "operator", "admin"];

/** Role of the user. @returns {string} viewer, operator, admin; empty on public pages */
export const role = () => meta("role");

/** True when the user may do what `wanted` may: hide the buttons of the others.
 * @param {"viewer" | "operator" | "admin"} wanted */
export const may = (wanted) => RANKS.indexOf(role()) >= RANKS.indexOf(wanted);

/** Address of a page: `page("/systems/7")`. @param {string} path */
export const page = (path) => root + path;

/** A failed request. `status` 0: no answer at all. */
export class Problem extends Error {
  /** @param {number} status @param {string} title @param {string} detail */
  constructor(status, title, detail) {
    const text = sentence(detail || title);
    super(text);
    this.status = status;
    this.title = title;
    this.detail = text;
  }
}

/** Seconds until a request is given up: longer than the server itself waits for its database. */
const PATIENCE = 20;

const MOMENT = /\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)/g;

/** What the API says, as a sentence on a page: times in the viewer's zone. @param {string} text */
function sentence(text) {
  const said = text.replaceAll("`", "").replace(MOMENT, (at) => timeText(at.replace(" ", "T")));
  return said.charAt(0).toUpperCase() + said.slice(1);
}

/** @param {string} method @param {string} path @param {any} [body] @param {AbortSignal} [signal] */
async function request(method, path, body, signal) {
  const giving = new AbortController();
  const stop = () => giving.abort();
  const timer = setTimeout(stop, PATIENCE * 1000);
  signal?.addEventListener("abort", stop);
  if (signal?.aborted) stop();
  try {
    return await send(method, path, body, giving.signal);
  } catch (error) {
    if (error instanceof Problem || signal?.aborted) throw error;
    throw new Problem(0, "No answer", giving.signal.aborted
      ? `The dashboard has not answered for ${PATIENCE} s. Whether it did what was asked is not known.`
      : "The dashboard does not answer. The page tries again by itself.");
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** @param {string} method @param {string} path @param {any} body @param {AbortSignal} signal */
async function send(method, path, body, signal) {
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = meta("csrf");
  if (body !== undefined) headers["Content-Type"] = "application/json";
  const options = { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) };
  const answer = await fetch(`${root}/api/v1${path}`, { ...options, credentials: "same-origin" });
  setClock(answer.headers.get("Date"));
  if (answer.ok) return answer.status === 204 ? null : await answer.json();
  throw await problem(answer);
}

/** @param {Response} answer */
async function problem(answer) {
  if (answer.status === 401 && user) logIn();
  const said = await answer.json().catch(() => ({}));
  const detail = typeof said.detail === "string" ? said.detail : "";
  return new Problem(answer.status, said.title || answer.statusText || `Error ${answer.status}`, detail);
}

/** Go to the login page and come back here afterwards. */
export function logIn() {
  const here = location.pathname.slice(root.length) + location.search;
  location.assign(`${root}/login?next=${encodeURIComponent(here)}`);
}

/** Requests below /api/v1; each resolves to the decoded JSON or rejects with a Problem. A session that
 * ended leads to the login page. */
export const api = {
  /** @param {string} path @param {AbortSignal} [signal] */
  get: (path, signal) => request("GET", path, undefined, signal),
  /** @param {string} path @param {any} [body] */
  post: (path, body) => request("POST", path, body ?? {}),
  /** @param {string} path @param {any} [body] */
  patch: (path, body) => request("PATCH", path, body ?? {}),
  /** @param {string} path @param {any} [body] */
  put: (path, body) => request("PUT", path, body ?? {}),
  /** @param {string} path @param {any} [body] */
  del: (path, body) => request("DELETE", path, body),
};
