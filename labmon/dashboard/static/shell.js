// What every page has around it: live indicator, alert badge, theme, menus, keys, log out.

import { find, h, replace } from "./dom.js";
import { api, page, root } from "./api.js";
import { ago, duration, ms, now } from "./format.js";
import { live } from "./live.js";
import { onKey } from "./keys.js";
import { act } from "./parts.js";

const WORDS = { connecting: "Connecting", live: "Live", reconnecting: "Reconnecting", paused: "Paused" };
/** The overview as it was last. @type {any} */
let last = null;
/** Why the server cannot read changes; what the page shows stays meanwhile. */
let problem = "";

/** What the indicator says: its state (which gives the shape), the word, and whether the age goes without saying. */
function said() {
  const word = WORDS[/** @type {keyof typeof WORDS} */ (live.state)];
  if (problem && live.state !== "reconnecting") return { state: "away", word: "Database away" };
  if (live.state !== "live") return { state: live.state, word };
  const age = last?.newest_reading_at ? (now() - ms(last.newest_reading_at)) / 1000 : 0;
  if (last?.stale_after_seconds && age > last.stale_after_seconds)
    return { state: "old", word: `Readings are ${duration(age)} old`, isAge: true };
  if (last?.no_worker) return { state: "old", word: "No worker is running" };
  return { state: "live", word };
}

function drawLive() {
  const element = document.getElementById("live");
  if (!element) return;
  const { state, word, isAge } = said();
  element.dataset.state = state;
  element.dataset.stream = live.state;
  element.title = problem;
  const age = last?.newest_reading_at && !isAge ? `newest reading ${ago(last.newest_reading_at)}` : "";
  // Only a change is written: the element is a live region, which screen readers read out.
  write(find(".word", element), word);
  write(find(".age", element), age);
}

/** @param {Element} element @param {string} text */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

live.on("state", drawLive);
live.on("problem", ({ detail }) => {
  problem = detail;
  drawLive();
});
live.on("reset", () => {
  problem = "";
  drawLive();
});
live.on("summary", (summary) => {
  last = summary;
  problem = "";
  drawLive();
  const badge = document.getElementById("alerts-badge");
  if (!badge) return;
  const { critical = 0, warning = 0, info = 0 } = summary.alerts ?? {};
  badge.hidden = critical + warning + info === 0;
  replace(badge, String(critical + warning + info), h("span", { class: "visually-hidden" }, " firing"));
});
setInterval(drawLive, 5000);

// The stream brings the summary of a page that has not read it itself; one that is slow to come is asked for.
setTimeout(() => last ?? api.get("/summary").then((data) => live.emit("summary", data), () => {}), 1500);

const dark = () => {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
};

function switchTheme() {
  const theme = dark() ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  // The server writes it into the page, so that nothing flashes.
  document.cookie = `labmon_theme=${theme}; Path=${root || "/"}; Max-Age=31536000; SameSite=Lax${secure}`;
}

document.getElementById("theme")?.addEventListener("click", switchTheme);
document.getElementById("logout")?.addEventListener("click", () => act(async () => {
  await api.post("/logout");
  location.assign(page("/login"));
}));
document.getElementById("help")?.addEventListener("click", () =>
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "?" })));

const toggle = document.getElementById("nav-toggle");
toggle?.addEventListener("click", () => {
  const open = find("#nav").classList.toggle("open");
  toggle.setAttribute("aria-expanded", String(open));
  for (const menu of find("#nav").querySelectorAll("details")) menu.open = open;
});

// A menu closes when something else is clicked, and on Escape.
document.addEventListener("click", (event) => closeMenus(/** @type {Node} */ (event.target)));
document.addEventListener("keydown", (event) => event.key === "Escape" && closeMenus(null));

/** @param {Node | null} except */
function closeMenus(except) {
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    if (except && menu.contains(except)) continue;
    if (document.getElementById("nav")?.classList.contains("open") && menu.closest("#nav")) continue;
    /** @type {HTMLDetailsElement} */ (menu).open = false;
    if (!except && menu.contains(document.activeElement)) find("summary", menu).focus();
  }
}

onKey("/", "Filter the list", () => {
  const box = /** @type {HTMLInputElement | null} */ (document.querySelector("[data-filter]"));
  box?.focus();
  box?.select();
});
onKey("t", "Light or dark", switchTheme);
for (const [key, name, path] of [["1", "Overview", "/"], ["2", "Systems", "/systems"], ["3", "Labs", "/labs"], ["4", "Alerts", "/alerts"], ["5", "Queues", "/queues"]])
  onKey(key, name, () => location.assign(page(path)));

if (document.body.hasAttribute("data-kiosk")) import("./kiosk.js");

drawLive();
