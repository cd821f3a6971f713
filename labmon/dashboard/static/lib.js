// What every page uses, from one place: `import { h, api, state } from "../lib.js"`.
//
//   dom.js      h(tag, props, ...children), svg(...), replace(element, ...children), find(selector)
//   format.js   ago, timeText, duration, number, percent, bytes, now, ms, zone   (all return text or numbers)
//   moment.js   time(iso): <time> with date and clock; since(iso): <time> that keeps saying "3 min ago"
//   api.js      api.get/post/patch/put/del, Problem, role(), may("operator"), page(path), user, root
//   states.js   state(name), severity(name), tag(word), stateBar(counts), glyph(shape), STATES, SEVERITIES
//   dialog.js   toast(text, kind), dialog({...}) -> values or null, field({...})
//   url.js      param(name), setParams({...}), query({...})
//   parts.js    meter(percent), empty({...}), notice(text), segment({...}), keys: onKey(key, help, fn), load(...)

export * from "./dom.js";
export * from "./format.js";
export * from "./moment.js";
export * from "./api.js";
export * from "./states.js";
export * from "./dialog.js";
export * from "./url.js";
export * from "./parts.js";
export * from "./keys.js";
