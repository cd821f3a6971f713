// Users and their roles: for admins.

import { api, confirm, dialog, find, h, number, replace, since, time, toast } from "../lib.js";
import { Listing } from "../listing.js";

/** @typedef {Record<string, any>} Row */

const ROLES = /** @type {[string, string][]} */ ([["viewer", "Viewer: reads"], ["operator", "Operator: acknowledges, replays, plans maintenance"], ["admin", "Admin: rules, users, audit too"]]);

const list = new Listing(find("#users"), {
  label: "Users",
  whole: true,
  path: "/users",
  key: "name",
  onread: () => replace(find("#users-sub"), number(list.items.length)),
  empty: { title: "No users yet", text: "Until there is one, the dashboard listens on this machine only.", commands: ["labmon dashboard users add NAME --role admin"] },
  columns: [
    { title: "Name", cell: (one) => h("span", { class: "strong" }, one.name), css: "wide-cell" },
    { title: "Role", cell: (one) => one.role },
    { title: "Since", cell: (one) => time(one.created_at), css: "nowrap" },
    { title: "Last login", cell: (one) => since(one.last_login_at), css: "nowrap" },
    { title: "Sessions", cell: (one) => number(one.sessions), css: "num" },
    { title: "Tokens", cell: (one) => number(one.tokens), css: "num" },
    { title: "", css: "num", cell: (one) => h("span", { class: "row-actions" },
      h("button", { type: "button", class: "btn btn-small", "aria-label": `Change ${one.name}`, onclick: () => change(one) }, "Change"),
      h("button", { type: "button", class: "btn btn-small", "aria-label": `Remove ${one.name}`, onclick: () => remove(one) }, "Remove")) },
  ],
});
list.table.classList.add("stacked");

const add = () => dialog({
  title: "Add a user", action: "Add",
  fields: [
    { name: "name", label: "Name", required: true, autocomplete: "off" },
    { name: "role", label: "Role", type: "select", value: "viewer", options: ROLES },
    { name: "password", label: "Password", type: "password", required: true, autocomplete: "new-password", hint: "They change it under Account." },
  ],
  run: async ({ name, role, password }) => {
    await api.post("/users", { name: name.trim(), role, password });
    toast(`${name.trim()} added`);
    await list.reload();
  },
});

/** @param {Row} one */
const change = (one) => dialog({
  title: `Change ${one.name}`, action: "Save",
  fields: [
    { name: "role", label: "Role", type: "select", value: one.role, options: ROLES },
    { name: "password", label: "New password", type: "password", autocomplete: "new-password", hint: "Empty: stays as it is. A new one ends all their sessions." },
  ],
  run: async ({ role, password }) => {
    /** @type {Row} */
    const values = {};
    if (role !== one.role) values.role = role;
    if (password) values.password = password;
    if (Object.keys(values).length) await api.patch(`/users/${encodeURIComponent(one.name)}`, values);
    await list.reload();
  },
});

/** @param {Row} one */
const remove = (one) => confirm({
  title: `Remove ${one.name}`, text: "Their sessions and tokens end at once. What they did stays in the audit.", action: "Remove",
  run: async () => {
    await api.del(`/users/${encodeURIComponent(one.name)}`);
    toast(`${one.name} removed`);
    await list.reload();
  },
});

find("#add").addEventListener("click", add);
list.reload();
