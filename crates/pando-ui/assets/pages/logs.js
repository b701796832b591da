// What apps write: followed, filtered and searched by the server.

import { html, useEffect, useLayoutEffect, useRef, useState } from "../vendor/preact-htm.js";
import { clock, count, day } from "../format.js";
import { Choice, Empty, Problem } from "../parts.js";
import { go, setParams, view } from "../route.js";

// Lines that the page keeps.
const KEPT = 2000;
const SEARCH_PAUSE_MS = 300;

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
    const first = fresh;
    fresh = false;
    setLogs((last) => add(first ? { ...last, lines: [], missed: 0 } : last, lines, missed));
  });
  source.addEventListener("failed", (event) => {
    source.close();
    setLogs((last) => ({ ...last, state: "end", failure: JSON.parse(event.data) }));
  });
  source.addEventListener("end", () => {
    source.close();
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
  return () => source.close();
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
  let last = "";
  return html`<div class="log" ref=${box} onScroll=${scrolled} tabindex="0" role="log" aria-label="Log lines" aria-live="off">
    ${logs.lines.map((line) => {
      const date = day(line.time_ms);
      const head = date !== last && date !== day(Date.now()) ? html`<p class="day" key=${date}>${date}</p>` : null;
      last = date;
      return [
        head,
        html`<p class=${line.stream} key=${line.id}>
          <time>${clock(line.time_ms)}</time><span class="who">${app ? line.worker : `${line.app}.${line.worker}`}</span
          ><span class="stream">${line.stream === "err" ? "err" : ""}</span><span class="text">${marked(line.text, find)}</span>
        </p>`,
      ];
    })}
  </div>`;
}

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
