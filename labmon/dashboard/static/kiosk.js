// A wall screen: a line with clock and state instead of the header, the overview and the labs in turn, large type, no pointer.

import { find, now, page, param } from "./lib.js";

const PAGES = ["/", "/labs"];
/** Seconds that a page stays; `?kiosk=90` sets another time. */
const asked = Number(param("kiosk"));
// A timer of more than 2^31 ms, or of Infinity, ends at once.
const SECONDS = asked > 1 ? Math.min(3600, Math.max(5, asked)) : 30;

const here = document.querySelector("main")?.dataset.page === "labs" ? 1 : 0;
const next = page(`${PAGES[1 - here]}?kiosk=${param("kiosk") || "1"}`);

async function turn() {
  // Where the server does not answer the page stays: a wall of old numbers is better than an error page.
  const answer = await fetch(next, { credentials: "same-origin" }).catch(() => null);
  if (answer?.ok) location.replace(next);
  else setTimeout(turn, SECONDS * 1000);
}

setTimeout(turn, SECONDS * 1000);

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const tick = () => { find("#clock").textContent = clock.format(now()); };
setInterval(tick, 1000);
tick();

let idle = 0;
addEventListener("pointermove", () => {
  document.body.classList.remove("idle");
  clearTimeout(idle);
  idle = window.setTimeout(() => document.body.classList.add("idle"), 3000);
});
document.body.classList.add("idle");
addEventListener("keydown", (event) => event.key === "Escape" && location.assign(page("/")));
