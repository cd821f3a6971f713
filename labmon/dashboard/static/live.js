// Live changes: `live.on("systems", fn)`. One stream for all tabs where the browser has SharedWorker, one for
// each tab otherwise (closed while the tab is hidden).

import { api, root } from "./api.js";

const STREAM = `${root}/api/v1/stream`;
const WORKER = new URL("./live-worker.js", import.meta.url).href;
const NAMES = ["summary", "systems", "alerts", "queues", "problem", "reset"];

/** @type {Map<string, Set<(data: any) => void>>} */
const listeners = new Map();
/** When this tab was hidden, in ms of this browser's clock; 0 while it is shown. */
let hiddenAt = document.hidden ? Date.now() : 0;

export const live = {
  /** "connecting", "live", "reconnecting" or "paused" (tab hidden, no SharedWorker). */
  state: "connecting",

  /**
   * Hear an event: "summary", "systems", "alerts", "queues" (data as in the API), "reset" (read everything
   * again: changes may have been missed), "problem" ({detail}: the server cannot read changes, until "reset") or "state" (the connection's).
   * @param {string} event @param {(data: any) => void} run @returns {() => void} call it to stop
   */
  on(event, run) {
    if (!listeners.has(event)) listeners.set(event, new Set());
    listeners.get(event)?.add(run);
    return () => listeners.get(event)?.delete(run);
  },

  /** Hand data that a page read itself to the listeners. @param {string} event @param {any} data */
  emit(event, data) {
    for (const run of [...(listeners.get(event) ?? [])]) run(data);
  },
};

/** @param {{state?: string, event?: string, data?: string, closed?: boolean}} message */
function take({ state, event, data, closed }) {
  if (state && state !== live.state) {
    live.state = state;
    live.emit("state", state);
  }
  if (event) live.emit(event, data ? JSON.parse(data) : {});
  // An EventSource cannot see a 401; any request of the API leads to the login page if it is one.
  if (closed && !document.hidden) api.get("/me").catch(() => {});
}

function shared() {
  // Strict pages accept no text as a script's address; this policy lets one address through.
  const types = /** @type {any} */ (window).trustedTypes;
  const policy = types?.createPolicy("labmon", { createScriptURL: (/** @type {string} */ url) => {
    if (url !== WORKER) throw new TypeError("labmon starts one worker only");
    return url;
  } });
  const worker = new SharedWorker(policy ? policy.createScriptURL(WORKER) : WORKER, { name: "labmon live" });
  worker.port.onmessage = (message) => take(message.data);
  worker.port.start();
  const hello = () => worker.port.postMessage({ url: STREAM });
  hello();
  addEventListener("pagehide", () => worker.port.postMessage({ bye: true }));
  addEventListener("pageshow", (event) => event.persisted && hello());
}

function alone() {
  /** @type {EventSource | null} */
  let source = null;
  let opened = false;
  const open = () => {
    source = new EventSource(STREAM);
    source.onopen = () => {
      take({ state: "live" });
      if (opened) take({ event: "reset" });
      opened = true;
    };
    source.onerror = () => {
      const closed = source?.readyState === EventSource.CLOSED;
      take({ state: "reconnecting", closed });
      if (closed) setTimeout(() => document.hidden || open(), 3000);
    };
    for (const name of NAMES) source.addEventListener(name, (event) => take({ event: name, data: event.data }));
  };
  document.addEventListener("visibilitychange", () => {
    source?.close();
    if (document.hidden) take({ state: "paused" });
    else open();
  });
  if (!document.hidden) open();
}

document.addEventListener("visibilitychange", () => {
  // Browsers slow hidden tabs down and may freeze them: after a while, what is shown is read again.
  if (!document.hidden && hiddenAt && Date.now() - hiddenAt > 600_000) take({ event: "reset" });
  hiddenAt = document.hidden ? Date.now() : 0;
});

if ("SharedWorker" in window) shared();
else alone();
