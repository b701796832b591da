// What all pages share: the newest picture, the connection, the theme; and how data is asked for.

import { useEffect, useState } from "./vendor/preact-htm.js";

export const state = {
  now: null,
  // When the picture came, by this clock.
  at: 0,
  // How far the server's clock is ahead of this one, milliseconds.
  ahead: 0,
  // connecting, live, lost (the daemon does not answer), gone (the dashboard's command has ended),
  // shut (no session).
  connection: "connecting",
  problem: null,
  hello: { csrf: "", read_only: true, version: "" },
  notices: [],
  theme: "auto",
};

const listeners = new Set();

export function changed() {
  for (const listener of listeners) listener();
}

// Draws a component again whenever anything of `state` has changed.
export function useShared() {
  const [, draw] = useState(0);
  useEffect(() => {
    const listener = () => draw((n) => n + 1);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, []);
  return state;
}

export class Failure extends Error {
  constructor(problem) {
    super(problem.what);
    this.problem = problem;
  }
}

async function asked(response) {
  const body = await response.json().catch(() => ({}));
  if (response.ok) return body;
  if (response.status === 401) {
    state.connection = "shut";
    changed();
  }
  throw new Failure(body.problem ?? { what: `the dashboard answers ${response.status}`, why: "", fix: "" });
}

const unreachable = {
  what: "the dashboard does not answer",
  why: "the command `pando dashboard` has ended, or the tunnel to it is closed",
  fix: "run `pando dashboard` again and open its link",
};

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure(unreachable);
  }
}

export async function get(path, query = {}, signal) {
  const given = Object.entries(query).filter(([, v]) => v !== undefined && v !== null && v !== "");
  const text = new URLSearchParams(given).toString();
  return asked(await reach(text ? `${path}?${text}` : path, { signal }));
}

export async function order(body) {
  const options = {
    method: "POST",
    headers: { "content-type": "application/json", "pando-csrf": state.hello.csrf },
    body: JSON.stringify(body),
  };
  return asked(await reach("api/action", options));
}

const MAX_NOTICES = 4;
let lastNotice = 0;

// A message at the foot of the page. Errors stay until they are closed.
export function notice(text, kind = "info", detail = []) {
  const id = ++lastNotice;
  state.notices = [...state.notices, { id, text, kind, detail }].slice(-MAX_NOTICES);
  changed();
  if (kind === "info") setTimeout(() => dismiss(id), 8000);
}

export function dismiss(id) {
  state.notices = state.notices.filter((one) => one.id !== id);
  changed();
}

// Times are the server's: the browser's clock may differ from it by hours.
export const serverNow = () => Date.now() + state.ahead;

const THEMES = ["auto", "light", "dark"];

export function setTheme(theme) {
  state.theme = THEMES.includes(theme) ? theme : "auto";
  if (state.theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = state.theme;
  try {
    localStorage.setItem("pando-theme", state.theme);
  } catch {
    // Without storage it is forgotten with the page.
  }
  changed();
}

export function nextTheme() {
  setTheme(THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length]);
}

export function restoreTheme() {
  let kept = "auto";
  try {
    kept = localStorage.getItem("pando-theme") ?? "auto";
  } catch {
    // As above.
  }
  setTheme(kept);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

// What charts are drawn anew for.
export function themeKey() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  return state.theme === "auto" ? (dark ? "dark" : "light") : state.theme;
}
