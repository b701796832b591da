// The frame around every page: head, banner of the connection, notices, keys.

import { html, render, useEffect, useState } from "./vendor/preact-htm.js";
import { dismiss, nextTheme, restoreTheme, state, useShared } from "./state.js";
import { SPANS, choose, go, link, range, view } from "./route.js";
import { clock, span } from "./format.js";
import { Empty, Mark, Problem } from "./parts.js";
import { Dialog } from "./actions.js";
import { start } from "./live.js";
import { Overview, troubles } from "./pages/overview.js";
import { AppPage } from "./pages/app.js";
import { EndpointPage } from "./pages/endpoint.js";
import { WorkerPage } from "./pages/worker.js";
import { GatewayPage } from "./pages/gateway.js";
import { EventsPage } from "./pages/events.js";
import { LogsPage } from "./pages/logs.js";

const TABS = [
  ["", "Overview", "o"],
  ["gateway", "Gateway", "w"],
  ["events", "Events", "e"],
  ["logs", "Logs", "l"],
];

function Page({ now }) {
  const [first, name, kind, which] = view.parts;
  if (first === undefined) return html`<${Overview} now=${now} />`;
  if (first === "app" && kind === undefined && name) return html`<${AppPage} now=${now} name=${name} />`;
  if (first === "app" && kind === "endpoint" && which) return html`<${EndpointPage} key=${name + which} now=${now} name=${name} endpoint=${which} />`;
  if (first === "app" && kind === "worker" && which) return html`<${WorkerPage} now=${now} name=${name} instance=${which} />`;
  if (first === "gateway") return html`<${GatewayPage} now=${now} />`;
  if (first === "events") return html`<${EventsPage} now=${now} />`;
  if (first === "logs") return html`<${LogsPage} now=${now} name=${name} />`;
  return html`<${Empty} title="There is no such page."><a href=${link()}>All apps</a><//>`;
}

function App() {
  const { now, connection, problem } = useShared();
  const [help, setHelp] = useState(false);
  useEffect(() => keys(setHelp), []);
  useEffect(() => {
    document.title = title(now);
  });
  const ok = connection === "live";
  return html`<a class="skip" href="#main" onClick=${skip}>To the content</a>
    <${Head} now=${now} connection=${connection} help=${() => setHelp(true)} />
    ${connection === "shut" ? html`<${Shut} />` : html`${!ok && now && html`<${Lost} connection=${connection} problem=${problem} />`}
        <main id="main" tabindex="-1" class=${ok || !now ? "" : "stale"}>${now ? html`<${Crumbs} now=${now} /><${Page} now=${now} />` : html`<${Waiting} connection=${connection} problem=${problem} />`}</main>`}
    <${Notices} />
    ${help && html`<${Help} close=${() => setHelp(false)} />`}`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main")?.focus();
}

function title(now) {
  const [, name, , which] = view.parts;
  const where = [which, name ?? (view.parts[0] || "overview")].filter(Boolean).join(", ");
  const bad = now ? troubles(now).filter((one) => one.level === "bad").length : 0;
  return `${bad > 0 ? `(${bad}) ` : ""}${where} · Pando`;
}

function Head({ now, connection, help }) {
  const here = view.parts[0] === "app" ? "" : (view.parts[0] ?? "");
  const words = { live: "live", connecting: "connecting", lost: "not answering", gone: "disconnected", shut: "no session" }[connection];
  const of = { live: "good", connecting: "busy", lost: "bad", gone: "bad", shut: "bad" }[connection];
  return html`<header class="top">
    <a class="brand" href=${link()}>Pando</a>
    <span class="host">${now?.host.name}</span>
    <nav aria-label="Pages">
      ${TABS.map(([path, label, key]) => html`<a key=${path} href=${path ? link(path) : link()} aria-current=${here === path ? "page" : null} title=${`g ${key}`}>${label}</a>`)}
    </nav>
    <span class="connection state ${of}" role="status"><${Mark} level=${of} />${words}${connection === "live" && now ? html` <time>${clock(now.time_ms)}</time>` : ""}</span>
    <button class="plain" onClick=${nextTheme} title="Colours: by the system, light, dark (t)" aria-label=${`Colours: ${state.theme}`}>${{ auto: "Auto", light: "Light", dark: "Dark" }[state.theme]}</button>
    <button class="plain" onClick=${help} title="Keys (?)" aria-label="Keys (?)">?</button>
  </header>`;
}

function Crumbs({ now }) {
  const [first, name, kind, which] = view.parts;
  if (first !== "app") return null;
  return html`<nav class="crumbs" aria-label="Where">
    <a href=${link()}>Overview</a>
    ${kind && html`<a href=${link("app", name)}>${name}</a>`}
    ${kind === "endpoint" && html`<span>endpoint</span>`}
    ${kind === "worker" &&
    html`<label class="choice"
      ><span class="unseen">Another worker</span
      ><select onChange=${(e) => go("app", name, "worker", e.target.value)}>
        ${(now.apps.find((app) => app.name === name)?.workers ?? []).map(
          (w) => html`<option key=${w.instance} value=${w.instance} selected=${String(w.instance) === which}>worker ${w.instance}</option>`,
        )}
      </select></label
    >`}
    ${!kind &&
    html`<label class="choice"
      ><span class="unseen">Another app</span
      ><select onChange=${(e) => go("app", e.target.value)}>
        ${now.apps.map((app) => html`<option key=${app.name} value=${app.name} selected=${app.name === name}>${app.name}</option>`)}
      </select></label
    >`}
  </nav>`;
}

function Lost({ connection, problem }) {
  const late = span(Date.now() - state.at);
  const gone = connection === "gone" || connection === "connecting";
  const what = gone ? "The dashboard does not answer" : "The daemon does not answer";
  const why = gone ? "The command `pando dashboard` has ended, or the tunnel to it is closed" : problem?.why;
  return html`<div class="lost" role="alert">
    <p><${Mark} level="bad" /><b>${what}.</b> ${why ? `${why}. ` : ""}What is shown is ${late} old; it is tried again every second.</p>
  </div>`;
}

function Shut() {
  return html`<main id="main" tabindex="-1"><${Empty} title="This browser has no session any more."
    >The dashboard was started again, or too many browsers opened it. Run <code>pando dashboard</code> and open the link that it prints.<//
  ></main>`;
}

function Waiting({ connection, problem }) {
  if (connection === "lost" && problem) return html`<${Problem} problem=${problem} />`;
  return html`<p class="boot">Waiting for the first picture</p>`;
}

function Notices() {
  return html`<div class="notices" role="status" aria-live="polite">
    ${state.notices.map(
      (one) => html`<div class="notice ${one.kind}" key=${one.id}>
        <p>${one.kind === "bad" && html`<${Mark} level="bad" />`}${one.text}</p>
        ${one.detail.map((text, i) => html`<p class="detail" key=${i}>${text}</p>`)}
        <button class="plain" onClick=${() => dismiss(one.id)} aria-label="Close this message">Close</button>
      </div>`,
    )}
  </div>`;
}

const KEYS = [
  ["g o", "overview of all apps"],
  ["g w", "gateway"],
  ["g e", "events"],
  ["g l", "logs, of the app that is shown"],
  ["1 … 5", `the last ${SPANS.map((one) => one.label).join(", ")}`],
  ["b", "back to the span before a zoom, or to the page before"],
  ["/", "search"],
  ["t", "colours: system, light, dark"],
  ["Esc", "close a question, leave the search"],
  ["?", "these keys"],
];

function Help({ close }) {
  return html`<${Dialog} title="Keys" close=${close}>
    <dl class="keys">${KEYS.map(([key, what]) => html`<div key=${key}><dt><kbd>${key}</kbd></dt><dd>${what}</dd></div>`)}</dl>
    <p>Drag over a chart to zoom in; the other charts follow. Columns of tables sort.</p>
    <div class="buttons"><button class="main" onClick=${close}>Close</button></div>
  <//>`;
}

function keys(setHelp) {
  let after = null;
  const pressed = (event) => {
    const { target, key } = event;
    const typing = target.matches?.("input, select, textarea");
    if (key === "Escape" && typing) target.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const g = after === "g";
    after = key === "g" && !g ? "g" : null;
    if (g && press(GO, key)) event.preventDefault();
    else if (!g && key === "?") setHelp(true);
    else if (!g && press(ALONE, key)) event.preventDefault();
  };
  addEventListener("keydown", pressed);
  return () => removeEventListener("keydown", pressed);
}

function press(map, key) {
  map[key]?.();
  return key in map;
}

const GO = {
  o: () => go(),
  w: () => go("gateway"),
  e: () => go("events"),
  l: () => (view.parts[0] === "app" ? go("logs", view.parts[1]) : go("logs")),
};

const ALONE = {
  t: nextTheme,
  b: () => history.back(),
  "/": () => document.getElementById("search")?.focus(),
  ...Object.fromEntries(SPANS.map((one, i) => [String(i + 1), () => range().name !== one.name && choose(one.name)])),
};

restoreTheme();
start();
const root = document.getElementById("root");
root.replaceChildren();
render(html`<${App} />`, root);
