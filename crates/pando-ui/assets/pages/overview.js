// All apps at one look: what is wrong first.

import { html, useState } from "../vendor/preact-htm.js";
import { bytes, count, duration, moment, percent, plural, share, span } from "../format.js";
import { HEAT_ROWS, Heat, Spark } from "../charts.js";
import { Empty, Mark, Meter, State, Value, errorShare, judge, level, worst } from "../parts.js";
import { Table } from "../table.js";
import { link } from "../route.js";

export function Overview({ now }) {
  return html`<h1 class="unseen">Overview</h1>
    ${(now.apps.length > 0 || troubles(now).length > 0) && html`<${Attention} now=${now} />`}
    <${HostLine} now=${now} />
    ${now.apps.length === 0
      ? html`<${Empty} title="No app runs yet."><code>pando start server.js</code> starts one; it shows here a second later.<//>`
      : html`<${Apps} apps=${now.apps} />`}`;
}

// What a person should look at, worst first.
export function troubles(now) {
  const list = [];
  for (const alert of now.alerts) {
    if (alert.state === "resolved") continue;
    const of = alert.state === "firing" ? "bad" : "warn";
    const kind = alert.state === "firing" ? "alert" : "alert pending";
    list.push({ level: of, app: alert.app, text: `${alert.name}: ${alert.text}`, kind, since: alert.since_ms });
  }
  for (const app of now.apps) {
    const of = level(app.status);
    const told = list.some((one) => one.app === app.name && one.text.startsWith(app.status));
    if (!told && (app.problem || of === "bad" || of === "warn")) {
      const text = app.problem ?? `${app.ready} of ${plural(app.wanted, "worker")} ready`;
      list.push({ level: of === "bad" ? "bad" : "warn", app: app.name, text, kind: app.status });
    }
    const wrong = errorShare(app.traffic);
    const alerted = list.some((one) => one.app === app.name && /error/.test(one.text));
    if (judge("errors", wrong) === "bad" && !alerted) {
      list.push({ level: "bad", app: app.name, text: `${share(wrong)} of its answers are 5xx`, kind: "errors" });
    }
    const grows = app.leak_bytes_per_hour;
    const leaks = list.some((one) => one.app === app.name && /grows/.test(one.text));
    if (grows > 0 && !leaks) list.push({ level: "warn", app: app.name, text: `its heap's floor grows by ${bytes(grows)} an hour`, kind: "leak" });
    const silent = app.workers.filter((w) => w.state === "ready" && !w.agent).length;
    if (silent > 0 && silent < app.workers.length) {
      list.push({ level: "warn", app: app.name, text: `${plural(silent, "worker")} of ${app.workers.length} do not report`, kind: "agent" });
    }
  }
  for (const text of now.problems) list.push({ level: "warn", app: "", text, kind: "measuring" });
  return list.sort((a, b) => (a.level === b.level ? 0 : a.level === "bad" ? -1 : 1));
}

// The rest is behind a button, so that the apps stay in sight.
const FIRST_TROUBLES = 8;

function Attention({ now }) {
  const [all, setAll] = useState(false);
  const list = troubles(now);
  const shown = all ? list : list.slice(0, FIRST_TROUBLES);
  const resolved = now.alerts.filter((alert) => alert.state === "resolved");
  if (list.length === 0) {
    const ready = now.apps.reduce((sum, app) => sum + app.ready, 0);
    const running = `${plural(now.apps.length, "app")}, ${plural(ready, "worker")} ready.`;
    return html`<section class="calm" aria-label="State">
      <p class="lead"><${Mark} level="good" />All is well.</p>
      <p>${running} ${resolved.map((alert) => `Resolved at ${moment(alert.since_ms, now.time_ms)}: ${alert.app} ${alert.name}.`).join(" ")}</p>
    </section>`;
  }
  return html`<section class="attention" aria-labelledby="attention">
    <h2 id="attention">Needs attention</h2>
    <ul>
      ${shown.map(
        (one) => html`<li class=${one.level} key=${one.app + one.text}>
          <${Mark} level=${one.level} />
          <span class="who">${one.app ? html`<a href=${link("app", one.app)}>${one.app}</a>` : "this machine"}</span>
          <span class="kind">${one.kind}</span>
          <span class="what">${one.text}</span>
          <span class="since">${one.since ? `for ${span(now.time_ms - one.since)}` : ""}</span>
        </li>`,
      )}
    </ul>
    ${shown.length < list.length && html`<button class="more" onClick=${() => setAll(true)}>Show ${list.length - shown.length} more</button>`}
  </section>`;
}

function HostLine({ now }) {
  const { host } = now;
  const used = host.memory_total_bytes - host.memory_available_bytes;
  const own = now.daemon.reduce((sum, p) => ({ cpu: sum.cpu + p.cpu_percent, memory: sum.memory + p.memory_bytes }), { cpu: 0, memory: 0 });
  const facts = [
    ["CPU", `${percent(host.cpu_percent)} of ${plural(host.cores, "core")}`],
    ["Memory", `${bytes(used)} of ${bytes(host.memory_total_bytes)}`],
    ["Load", count(host.load_1m)],
  ];
  if (host.cpu_pressure_percent !== null) facts.push(["Waiting for CPU", percent(host.cpu_pressure_percent), "Share of time in which some process was ready to run and had no CPU (PSI)"]);
  if (host.cgroup_cpu_limit) facts.push(["CPU limit", `${count(host.cgroup_cpu_limit)} cores, throttled ${percent(host.cgroup_throttled_percent ?? 0)}`]);
  if (host.cgroup_memory_limit_bytes) facts.push(["Memory limit", bytes(host.cgroup_memory_limit_bytes)]);
  facts.push(["Pando itself", `${percent(own.cpu)} CPU, ${bytes(own.memory)}`, now.daemon.map((p) => `${p.name}: process ${p.pid}, ${percent(p.cpu_percent)}, ${bytes(p.memory_bytes)}`).join("\n")]);
  return html`<dl class="facts" aria-label=${`Machine ${host.name}`}>
    ${facts.map(([name, value, title]) => html`<div key=${name} title=${title}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

const APP_COLUMNS = [
  { key: "app", label: "App", sort: (a) => a.name, cell: (a) => html`<a class="strong" href=${link("app", a.name)}>${a.name}</a>`, kind: "name" },
  { key: "state", label: "State", kind: "states", sort: (a) => worst(a.status), cell: (a) => html`<${State} state=${a.reloading ? "reloading" : a.status} /> <small>${a.ready}/${a.wanted}</small>` },
  {
    key: "rate",
    label: "Requests/s",
    num: true,
    sort: (a) => (a.traffic.source === "none" ? null : a.traffic.rate),
    cell: (a) => (a.traffic.source === "none" ? dash("nobody sees its requests") : count(a.traffic.rate)),
  },
  { key: "spark", label: "2 min", kind: "sparks", cell: (a) => html`<${Spark} values=${a.history.rate} label="Requests a second over two minutes" />` },
  { key: "p50", label: "p50", num: true, wide: true, kind: "roomy", sort: (a) => a.traffic.latency?.p50_us, cell: (a) => duration(a.traffic.latency?.p50_us), title: "Half of the requests are faster" },
  { key: "p95", label: "p95", num: true, sort: (a) => a.traffic.latency?.p95_us, cell: (a) => duration(a.traffic.latency?.p95_us), title: "95 of 100 requests are faster" },
  { key: "p99", label: "p99", num: true, wide: true, kind: "roomy", sort: (a) => a.traffic.latency?.p99_us, cell: (a) => duration(a.traffic.latency?.p99_us), title: "99 of 100 requests are faster" },
  {
    key: "errors",
    label: "Errors",
    num: true,
    sort: (a) => errorShare(a.traffic),
    cell: (a) => html`<${Value} level=${judge("errors", errorShare(a.traffic))}>${share(errorShare(a.traffic))}<//>`,
    title: "Share of answers with 5xx",
  },
  {
    key: "lag",
    label: "Loop lag",
    num: true,
    sort: (a) => a.lag_p99_us,
    cell: (a) => html`<${Value} level=${judge("lag", a.lag_p99_us)}>${duration(a.lag_p99_us)}<//>`,
    title: "How late the event loop of the worst worker comes to its work (p99)",
  },
  { key: "loop", label: "Loop use", num: true, kind: "heats loops", sort: (a) => a.utilization, title: "A strip for each worker over two minutes; the mean now", cell: (a) => html`<${Loop} app=${a} />` },
  { key: "cpu", label: "CPU", num: true, sort: (a) => a.cpu_percent, cell: (a) => percent(a.cpu_percent), title: "All workers together; 100% is one core" },
  { key: "memory", label: "Memory", num: true, sort: (a) => a.memory_bytes, cell: (a) => html`<${Memory} app=${a} />` },
];

const dash = (why) => html`<span class="none" title=${why}>–</span>`;

function Loop({ app }) {
  if (app.utilization === null) return dash("the event loop is not measured: the app has agent = false, or is no Node.js program");
  const busiest = app.workers.length > HEAT_ROWS ? [...app.workers].sort((a, b) => (b.utilization ?? -1) - (a.utilization ?? -1)) : app.workers;
  const workers = busiest.slice(0, HEAT_ROWS);
  const title = workers.length < app.workers.length ? `the ${workers.length} busiest of ${app.workers.length} workers` : null;
  return html`<div class="loop" title=${title}>
    <${Heat} workers=${workers} label=${workers.map((w) => `worker ${w.instance}: ${share(w.utilization)}`).join(", ")} />
    <${Value} level=${judge("use", app.utilization)}>${share(app.utilization)}<//>
  </div>`;
}

function Memory({ app }) {
  const limit = app.memory_limit_bytes;
  const largest = app.workers.reduce((most, w) => Math.max(most, w.memory_bytes), 0);
  const title = limit ? `largest worker: ${bytes(largest)} of ${bytes(limit)}` : "no limit is set";
  return html`<span title=${title}><${Value} level=${limit ? judge("memory", largest / limit) : null}>${bytes(app.memory_bytes)}<//></span>
    <${Meter} value=${largest} most=${limit} label=${title} />`;
}

function Apps({ apps }) {
  return html`<${Table} label="Apps" caption="All apps, over the last 10 seconds" columns=${APP_COLUMNS} rows=${apps} rowKey=${(a) => a.name} most=${100} />`;
}
