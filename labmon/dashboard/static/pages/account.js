// The user's own account: password, sessions, tokens.

import { act, api, confirm, dialog, find, h, may, since, tag, time, toast, user } from "../lib.js";
import { Listing } from "../listing.js";

/** @typedef {Record<string, any>} Row */

const form = find("#password");
form.addEventListener("submit", async (/** @type {Event} */ event) => {
  event.preventDefault();
  const values = Object.fromEntries(new FormData(form));
  const said = find("#password-said");
  said.hidden = values.new === values.again;
  said.textContent = "The new password and its repetition differ.";
  if (!said.hidden) return;
  try {
    await api.post("/password", { old: values.old, new: values.new });
    form.reset();
    toast("Password changed. Your other sessions have ended, and your tokens are revoked.");
    tokens.reload();
    sessions.reload();
  } catch (error) {
    said.textContent = error instanceof Error ? error.message : String(error);
    said.hidden = false;
  }
});

/** A browser's description of itself, in two words. @param {string} text */
function browser(text) {
  const name = [["Edg/", "Edge"], ["OPR/", "Opera"], ["Firefox/", "Firefox"], ["Chrome/", "Chrome"], ["Safari/", "Safari"]].find(([sign]) => text.includes(sign))?.[1];
  const system = [["Windows", "Windows"], ["Android", "Android"], ["iPhone", "iPhone"], ["iPad", "iPad"], ["Mac OS", "macOS"], ["Linux", "Linux"]].find(([sign]) => text.includes(sign))?.[1];
  return [name, system].filter(Boolean).join(" on ") || text || "Unknown browser";
}

const sessions = new Listing(find("#sessions"), {
  label: "Sessions",
  whole: true,
  path: "/sessions",
  key: "session_id",
  empty: { title: "No sessions", text: "You are not logged in by a password." },
  columns: [
    { title: "Browser", cell: (one) => h("span", { title: one.browser }, browser(one.browser), one.current ? [" ", tag("This one", "s-up")] : null) },
    { title: "Address", cell: (one) => one.address, css: "mono" },
    { title: "Logged in", cell: (one) => time(one.created_at), css: "nowrap" },
    { title: "Last used", cell: (one) => since(one.last_used_at), css: "nowrap" },
    { title: "", css: "num", cell: (one) => !one.current && h("button", { type: "button", class: "btn btn-small",
      "aria-label": `End the session of ${one.address}`, onclick: () => end(one) }, "End") },
  ],
});

sessions.table.classList.add("stacked");

/** @param {Row} one */
const end = (one) => act(async () => {
  await api.del(`/sessions/${one.session_id}`);
  await sessions.reload();
}, "Session ended");

find("#end-others").addEventListener("click", () => act(async () => {
  await api.del("/sessions");
  await sessions.reload();
}, "Your other sessions have ended"));

const tokens = new Listing(find("#tokens"), {
  label: "Tokens",
  whole: true,
  path: "/tokens",
  key: "token_id",
  empty: { title: "No tokens", text: "A program that reads the API logs in with a token." },
  columns: [
    { title: "Name", cell: (one) => h("span", { class: "strong" }, one.name), css: "wide-cell" },
    { title: "Role", cell: (one) => one.role },
    { title: "Made", cell: (one) => time(one.created_at), css: "nowrap" },
    { title: "Expires", cell: (one) => (one.expires_at ? time(one.expires_at, "date") : "never"), css: "nowrap" },
    { title: "Last used", cell: (one) => since(one.last_used_at), css: "nowrap" },
    { title: "", css: "num", cell: (one) => h("button", { type: "button", class: "btn btn-small", "aria-label": `Revoke ${one.name}`, onclick: () => revoke(one) }, "Revoke") },
  ],
});

tokens.table.classList.add("stacked");

/** @param {Row} one */
const revoke = (one) => confirm({
  title: `Revoke ${one.name}`, text: "Programs that use this token are refused from now on.", action: "Revoke",
  run: async () => {
    await api.del(`/tokens/${one.token_id}`);
    await tokens.reload();
  },
});

const ROLES = /** @type {[string, string][]} */ ([["viewer", "Viewer: reads"], ["operator", "Operator: acknowledges, replays"], ["admin", "Admin: everything"]]);

async function make() {
  /** @type {any} */
  let made = null;
  await dialog({
    title: "New token", action: "Make",
    fields: [
      { name: "name", label: "What is it for", required: true, placeholder: "Grafana" },
      { name: "role", label: "Role", type: "select", value: "viewer", options: ROLES.filter(([name]) => may(/** @type {any} */ (name))) },
      { name: "days", label: "Valid for", type: "select", value: "90", options: [["30", "30 days"], ["90", "90 days"], ["365", "1 year"], ["", "No end"]] },
    ],
    run: async ({ name, role, days }) => {
      made = await api.post("/tokens", { name: name.trim(), role, days: days ? Number(days) : null });
      await tokens.reload();
    },
  });
  if (!made) return;
  const shown = h("textarea", { readonly: true, rows: 2, value: made.token, "aria-label": "Token", class: "mono", onfocus: (/** @type {any} */ event) => event.target.select() });
  const said = h("p", { class: "muted", role: "status" });
  const copy = h("button", { type: "button", class: "btn", onclick: async () => {
    shown.select();
    // Over http to another machine there is no clipboard: the text stays selected.
    const done = await navigator.clipboard?.writeText(made.token).then(() => true, () => false);
    said.textContent = done ? "Copied." : "Selected: copy it with Ctrl-C.";
  } }, "Copy");
  await dialog({ title: "Your new token", text: "Copy it now: it is not shown again.", body: [shown, copy, said], action: null });
}

find("#new-token").addEventListener("click", make);
find("#account-sub").textContent = user;
sessions.reload();
tokens.reload();
