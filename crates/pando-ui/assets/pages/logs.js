// What apps write: followed, filtered and searched by the server.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-htm.js";
import { clock, count, day } from "../format.js";
import { Choice, Empty, Problem } from "../parts.js";
import { go, setParams, view } from "../route.js";
import { serverNow } from "../state.js";

// Lines that the page keeps.
const KEPT = 2000;
const SEARCH_PAUSE_MS = 300;
// Lines that came are shown so often, however fast they come.
const SHOW_EVERY_MS = 200;
// Characters of the widest name before a line.
const MAX_WHO = 18;

export function LogsPage({ now, name }) {
  const app = name ?? "";
  const worker = view.params.get("worker") ?? "";
  const stream = view.params.get("stream") ?? "";
  const search = view.params.get("q") ?? "";
  const [paused, setPaused] = useState(false);
  const logs = useLines({ app, worker, stream, q: search }, paused);
  const known = now.apps.find((one) => one.name === app);
  const apps = [["", "all apps"], ...now.apps.map((one) => [one.name, one.name])];
  if (app && !known) apps.push([app, app]);
  const workers = [["", "all workers"], ...(known?.workers ?? []).map((w) => [String(w.instance), `worker ${w.instance}`])];
  const streams = [["", "out and err"], ["out", "out"], ["err", "err"]];
  return html`<header class="page-head"><div><h1>Logs</h1></div></header>
    <div class="page-tools">
      <div class="filters">
        <label class="choice"
          ><span>App</span
          ><select onChange=${(e) => (e.target.value ? go("logs", e.target.value) : go("logs"))}>
            ${apps.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === app}>${text}</option>`)}
          </select></label
        >
        ${app && html`<${Choice} label="Worker" name="worker" value=${worker} options=${workers} />`}
        <${Choice} label="Stream" name="stream" value=${stream} options=${streams} />
        <${Search} value=${search} />
        <button aria-pressed=${paused} onClick=${() => setPaused(!paused)} title="Holds the lines still; they go on with the next press">${paused ? "Go on" : "Pause"}</button>
      </div>
      <p class="note" role="status">${status(logs, search, paused)}</p>
    </div>
    ${logs.failure && html`<${Problem} problem=${logs.failure} />`}
    <${Lines} logs=${logs} search=${search} app=${app} />`;
}

function status(logs, search, paused) {
  const found = `${count(logs.lines.length)} ${search ? "lines found" : "lines"}`;
  const missed = logs.missed > 0 ? `; ${count(logs.missed)} came too fast and are not shown` : "";
  const what = { open: paused ? "paused" : "following", wait: search ? "searching" : "loading", end: "ended", broken: "connecting again" }[logs.state];
  return `${found}, ${what}${missed}`;
}

function Search({ value }) {
  const [text, setText] = useState(value);
  const timer = useRef(null);
  useEffect(() => setText(value), [value]);
  const typed = (event) => {
    const next = event.target.value;
    setText(next);
    clearTimeout(timer.current);
    timer.current = setTimeout(() => setParams({ q: next }, true), SEARCH_PAUSE_MS);
  };
  return html`<label class="search"
    ><span>Search</span
    ><input id="search" type="search" value=${text} onInput=${typed} placeholder="text, or /expression/" spellcheck=${false} autocomplete="off"
  /></label>`;
}

// Follows; a new question starts anew.
function useLines(query, paused) {
  const [logs, setLogs] = useState({ lines: [], missed: 0, state: "wait", failure: null });
  const held = useRef({ paused, waiting: [] });
  held.current.paused = paused;
  const key = JSON.stringify(query);
  useEffect(() => {
    held.current.waiting = [];
    setLogs({ lines: [], missed: 0, state: "wait", failure: null });
    const given = Object.entries({ ...query, lines: 1000, follow: 1 }).filter(([, v]) => v !== "");
    const url = `api/logs?${new URLSearchParams(given)}`;
    return follow(url, held, setLogs);
  }, [key]);
  useEffect(() => {
    if (!paused && held.current.waiting.length > 0) {
      const lines = held.current.waiting;
      held.current.waiting = [];
      setLogs((last) => add(last, lines, 0));
    }
  }, [paused]);
  return logs;
}

let lastLine = 0;

const add = (last, lines, missed) => ({ ...last, state: "open", lines: [...last.lines, ...lines].slice(-KEPT), missed: last.missed + missed });

function follow(url, held, setLogs) {
  const source = new EventSource(url);
  let fresh = false;
  let arrived = [];
  let unseen = 0;
  let timer = null;
  const show = () => {
    timer = null;
    const [lines, missed, first] = [arrived, unseen, fresh];
    arrived = [];
    unseen = 0;
    fresh = false;
    setLogs((last) => add(first ? { ...last, lines: [], missed: 0 } : last, lines, missed));
  };
  source.addEventListener("open", () => {
    // A stream that is opened again tells its last lines again.
    fresh = true;
    setLogs((last) => ({ ...last, state: last.lines.length > 0 ? "open" : "wait", failure: null }));
    setTimeout(() => setLogs((last) => (last.state === "wait" ? { ...last, state: "open" } : last)), 1500);
  });
  source.addEventListener("lines", (event) => {
    const { lines, missed } = JSON.parse(event.data);
    for (const line of lines) line.id = ++lastLine;
    if (held.current.paused) {
      held.current.waiting = [...held.current.waiting, ...lines].slice(-KEPT);
      return;
    }
    arrived = [...arrived, ...lines].slice(-KEPT);
    unseen += missed;
    timer ??= setTimeout(show, SHOW_EVERY_MS);
  });
  source.addEventListener("failed", (event) => {
    source.close();
    setLogs((last) => ({ ...last, state: "end", failure: JSON.parse(event.data) }));
  });
  source.addEventListener("end", () => {
    source.close();
    if (timer !== null) {
      clearTimeout(timer);
      show();
    }
    setLogs((last) => ({ ...last, state: "end" }));
  });
  source.addEventListener("error", () => {
    if (source.readyState !== EventSource.CLOSED) {
      setLogs((last) => ({ ...last, state: "broken" }));
      return;
    }
    // Refused: the reason is in the answer's body, which an event source does not give.
    const stop = new AbortController();
    fetch(url, { signal: stop.signal })
      .then(async (response) => (response.ok ? null : (await response.json()).problem))
      .catch(() => null)
      .then((failure) => {
        setLogs((last) => ({ ...last, state: "end", failure: failure ?? { what: "the logs cannot be read", why: "", fix: "load the page again" } }));
        stop.abort();
      });
  });
  return () => {
    clearTimeout(timer);
    source.close();
  };
}

// At the foot it stays at the foot; who has scrolled up is left alone.
function Lines({ logs, search, app }) {
  const box = useRef(null);
  const atFoot = useRef(true);
  useLayoutEffect(() => {
    if (atFoot.current && box.current) box.current.scrollTop = box.current.scrollHeight;
  }, [logs.lines]);
  const scrolled = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    atFoot.current = scrollHeight - scrollTop - clientHeight < 30;
  };
  if (logs.lines.length === 0 && logs.state !== "wait" && !logs.failure) {
    return search
      ? html`<${Empty} title="No line has this.">The search went through all lines that are kept. Text between slashes is a regular expression: <code>/status=5\\d\\d/</code><//>`
      : html`<${Empty} title="Nothing was written yet.">Lines show here as the app writes them to its standard output or error.<//>`;
  }
  const find = finder(search);
  const who = (line) => (app ? String(line.worker) : `${line.app}.${line.worker}`);
  const widest = logs.lines.reduce((most, line) => Math.max(most, who(line).length), 2);
  const width = `${Math.min(widest, MAX_WHO)}ch`;
  const today = day(serverNow());
  let last = "";
  return html`<div class="log" ref=${box} style=${{ "--who": width }} onScroll=${scrolled} tabindex="0" role="log" aria-label="Log lines" aria-live="off">
    ${logs.lines.map((line) => {
      const date = day(line.time_ms);
      const head = date !== last && date !== today ? html`<p class="day" key=${date}>${date}</p>` : null;
      last = date;
      return [
        head,
        drawn(line, who(line), search, find),
      ];
    })}
  </div>`;
}

// Drawn once: of thousands of lines a few are new each time.
function drawn(line, who, search, find) {
  const key = `${who} ${search}`;
  if (line.drawn?.key !== key) {
    const err = line.stream === "err";
    const node = html`<p class="${line.stream} ${SOLID.test(line.text) ? "solid" : ""}" key=${line.id}>
      <time>${clock(line.time_ms)}</time><span class="who" title=${who.length > MAX_WHO ? who : null}>${who}</span
      ><span class="stream">${err ? "err" : ""}</span><span class="text" dir="auto"><${Text} text=${line.text} find=${find} /></span>
    </p>`;
    line.drawn = { key, node };
  }
  return line.drawn.node;
}

// Text without a space for so long, JSON mostly, breaks wherever the row ends.
const SOLID = /\S{100}/;

function finder(search) {
  if (!search) return null;
  try {
    const inner = /^\/(.+)\/$/s.exec(search);
    return inner ? new RegExp(inner[1], "g") : new RegExp(search.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), "gi");
  } catch {
    // The server's expressions are a little different; then nothing is marked.
    return null;
  }
}

// Characters of a line that are shown without asking.
const FIRST_CHARACTERS = 1200;

// A long line fills the screen only for who opens it, or searches for what is in its rest.
function Text({ text, find }) {
  if (text.length <= 1.5 * FIRST_CHARACTERS) return marked(text, find);
  const rest = marked(text.slice(FIRST_CHARACTERS), find);
  return html`${marked(text.slice(0, FIRST_CHARACTERS), find)}<details open=${Array.isArray(rest) && rest.length > 1}><summary>${count(text.length - FIRST_CHARACTERS)} characters more</summary>${rest}</details>`;
}

const MAX_MARKED = 20;

// Text with what was searched for marked; text all the same.
function marked(text, find) {
  if (!find) return text;
  const parts = [];
  let at = 0;
  for (const match of text.matchAll(find)) {
    if (match[0] === "" || parts.length > 2 * MAX_MARKED) break;
    parts.push(text.slice(at, match.index), html`<mark>${match[0]}</mark>`);
    at = match.index + match[0].length;
  }
  parts.push(text.slice(at));
  return parts;
}
