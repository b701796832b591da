// The address of a view is all after the #: a path, and the span of time.

import { changed, serverNow } from "./state.js";

const MINUTE = 60_000;
export const SPANS = [
  { name: "5m", label: "5 min", long: "5 minutes", ms: 5 * MINUTE, every: 2_000 },
  { name: "1h", label: "1 h", long: "1 hour", ms: 60 * MINUTE, every: 10_000 },
  { name: "24h", label: "24 h", long: "24 hours", ms: 24 * 60 * MINUTE, every: 30_000 },
  { name: "7d", label: "7 d", long: "7 days", ms: 7 * 24 * 60 * MINUTE, every: 60_000 },
  { name: "30d", label: "30 d", long: "30 days", ms: 30 * 24 * 60 * MINUTE, every: 60_000 },
];

export let view = read();

function read() {
  const [path, query] = location.hash.replace(/^#/, "").split("?");
  const parts = path.split("/").filter(Boolean).map(decode);
  const params = new URLSearchParams(query ?? "");
  return { parts, params };
}

function decode(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

addEventListener("hashchange", () => {
  const before = view.parts.join("/");
  view = read();
  if (view.parts.join("/") !== before) scrollTo(0, 0);
  changed();
});

const TIME = ["range", "from", "to"];

// To another view with the same span of time.
export function link(...parts) {
  const kept = new URLSearchParams();
  for (const name of TIME) if (view.params.has(name)) kept.set(name, view.params.get(name));
  return address(parts, kept);
}

function address(parts, params) {
  const query = params.toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${query ? `?${query}` : ""}`;
}

export function go(...parts) {
  location.hash = link(...parts);
}

// This view with other parameters; `replace` leaves no step to go back to.
export function setParams(values, replace = false) {
  const params = new URLSearchParams(view.params);
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === "") params.delete(name);
    else params.set(name, value);
  }
  const next = address(view.parts, params);
  if (next === location.hash) return;
  if (replace) {
    history.replaceState(null, "", next);
    view = read();
    changed();
  } else {
    location.hash = next;
  }
}

// The span that is looked at. A span that follows the clock has a name, one that was dragged has not.
export function range() {
  const from = Number(view.params.get("from"));
  const to = Number(view.params.get("to"));
  if (from > 0 && to > from) return { name: null, from, to, ms: to - from, every: 0 };
  const name = view.params.get("range");
  return SPANS.find((span) => span.name === name) ?? SPANS[0];
}

export function bounds(span) {
  if (span.name === null) return [span.from, span.to];
  const to = serverNow();
  return [to - span.ms, to];
}

export function choose(name) {
  setParams({ range: name === SPANS[0].name ? null : name, from: null, to: null });
}

const LEAST_MS = 5_000;

export function zoom(from, to) {
  if (to - from < LEAST_MS) return;
  setParams({ from: Math.round(from), to: Math.round(to) });
}
