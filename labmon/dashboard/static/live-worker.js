// One stream of events for all tabs. Browsers open six connections to a host; with one stream in each tab
// the seventh tab would wait for ever. Classic script: module workers are missing from older Firefox.

/** Events of the stream; see the API. */
const NAMES = ["summary", "systems", "alerts", "queues", "problem", "reset"];
/** Kept for tabs that come later: they would wait for the next change. */
const KEPT = ["summary", "queues", "problem"];

/** @type {Set<MessagePort>} */
const ports = new Set();
/** @type {Map<string, string>} */
const kept = new Map();
/** @type {EventSource | null} */
let source = null;
let state = "connecting";
let opened = false;

/** @param {any} message */
const tell = (message) => ports.forEach((port) => port.postMessage(message));

/** @param {string} now */
function become(now) {
  state = now;
  tell({ state });
}

/** @param {string} url */
function open(url) {
  source = new EventSource(url);
  source.onopen = () => {
    become("live");
    kept.delete("problem");
    // Nothing is replayed: who was away reads the snapshot again.
    if (opened) tell({ event: "reset", data: "{}" });
    opened = true;
  };
  source.onerror = () => {
    become("reconnecting");
    if (source?.readyState !== EventSource.CLOSED) return;
    // The server refused, which a browser does not try again: a session that ended, or a proxy without a server.
    source = null;
    tell({ closed: true });
    setTimeout(() => source || !ports.size || open(url), 3000);
  };
  for (const name of NAMES)
    source.addEventListener(name, (event) => {
      if (name === "reset") kept.delete("problem");
      if (KEPT.includes(name)) kept.set(name, event.data);
      tell({ event: name, data: event.data });
    });
}

self.onconnect = (connected) => {
  const port = connected.ports[0];
  port.onmessage = ({ data }) => {
    if (data.bye) {
      ports.delete(port);
      if (ports.size) return;
      source?.close();
      source = null;
      opened = false;
      kept.clear();
      return;
    }
    ports.add(port);
    if (!source) open(data.url);
    port.postMessage({ state });
    for (const [event, text] of kept) port.postMessage({ event, data: text });
  };
};
