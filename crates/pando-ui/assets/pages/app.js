// One app: how much, how fast, how wrong, and what its workers do.

import { html } from "../vendor/preact-htm.js";
import { bytes, count, duration, percent, plural, rate, share, span } from "../format.js";
import { Heat, TimeChart, TimeCharts } from "../charts.js";
import { Empty, Meter, Problem, Route, Section, Stat, State, Value, errorShare, judge, worst } from "../parts.js";
import { Table } from "../table.js";
import { Picker } from "../picker.js";
import { Actions } from "../actions.js";
import { only, recent, spread, useEndpoints, useEvents, useSeries } from "../data.js";
import { link, range } from "../route.js";
import { EventList } from "./events.js";
import { troubles } from "./overview.js";

const METRICS = ["rate", "errors4xx", "errors5xx", "latency_p50", "latency_p95", "latency_p99", "lag_p99", "lag_max", "cpu", "cpu_wait", "memory", "heap_used", "heap_floor", "gc"];

export function AppPage({ now, name }) {
  const app = now.apps.find((one) => one.name === name);
  if (!app) {
    return html`<${Empty} title=${`There is no app ${name}.`}
      >It was deleted, or has another name. <a href=${link()}>All apps</a><//
    >`;
  }
  return html`<${Inside} key=${name} now=${now} app=${app} />`;
}

function Inside({ now, app }) {
  const series = useSeries(METRICS, { app: app.name });
  const loops = useSeries(["utilization"], { app: app.name, by_worker: 1 });
  const events = useEvents(app.name);
  const failure = series.failure ?? events.failure;
  const wrong = troubles(now).filter((one) => one.app === app.name);
  return html`<header class="page-head">
      <div>
        <h1>${app.name}</h1>
        <p class="about"><${State} state=${app.reloading ? "reloading" : app.status} /> ${about(app)}</p>
      </div>
      <${Actions} app=${app} />
    </header>
    ${wrong.length > 0 &&
    html`<ul class="wrong" aria-label="What is wrong">
      ${wrong.map((one) => html`<li key=${one.text} class=${one.level}><b>${one.kind}</b> ${one.text}</li>`)}
    </ul>`}
    <${Now} app=${app} />
    ${app.traffic.source === "none" && html`<${Unseen} app=${app} />`}
    <div class="page-tools"><${Picker} /></div>
    ${failure && html`<${Problem} problem=${failure} />`}
    <${Charts} now=${now} app=${app} series=${series} loops=${loops} marks=${events.value ?? []} />
    <${Endpoints} app=${app} />
    <${Workers} app=${app} />
    <${Outgoing} app=${app} />
    <${Section} id="events" title="Events" note=${`in the ${rangeWords()}`} tools=${html`<a href=${link("logs", app.name)}>Logs of ${app.name}</a>`}>
      <${EventList} events=${events.value} most=${20} without="app" />
    <//>`;
}

const rangeWords = () => (range().name ? `last ${range().long}` : "span that is shown");

function about(app) {
  const facts = [app.command, app.mode, app.listen.length > 0 ? `listens on ${app.listen.join(", ")}` : "listens on nothing"];
  if (app.uptime_ms > 0) facts.push(`up ${span(app.uptime_ms)}`);
  facts.push(`${app.ready} of ${plural(app.wanted, "worker")} ready`);
  facts.push(plural(app.restarts, "unplanned restart"));
  return facts.filter(Boolean).map((fact) => html`<span key=${fact}>${fact}</span>`);
}

// Why there are no requests to be seen, and what to do.
function Unseen({ app }) {
  const silent = app.workers.length > 0 && app.workers.every((worker) => !worker.agent);
  if (!silent) return null;
  return html`<${Empty} title="Requests and the event loop of this app are not seen."
    >Its workers do not report: <code>agent = false</code> is set, it is no Node.js program, or it has only just started. CPU, memory and restarts are measured from outside.<//
  >`;
}

function Now({ app }) {
  const { traffic } = app;
  const errors = errorShare(traffic);
  const seen = traffic.source !== "none";
  const limit = app.memory_limit_bytes;
  const largest = app.workers.reduce((most, w) => Math.max(most, w.memory_bytes), 0);
  const l = traffic.latency;
  return html`<dl class="stats" aria-label="Over the last 10 seconds">
    ${seen &&
    html`<${Stat} label="Requests" note=${`${count(traffic.in_flight)} in flight`}>${rate(traffic.rate)}<//>
      <${Stat} label="Errors" level=${judge("errors", errors)} note=${`${rate(traffic.errors_5xx)} 5xx, ${rate(traffic.errors_4xx)} 4xx`} title="Share of answers with 5xx">${share(errors)}<//>
      <${Stat} label="p95" note=${l ? `p99 ${duration(l.p99_us)}` : "no request yet"} title=${traffic.source === "gateway" ? "Measured at the gateway" : "Measured inside the workers"}>${duration(l?.p95_us)}<//>`}
    ${app.utilization !== null &&
    html`<${Stat} label="Loop lag" level=${judge("lag", app.lag_p99_us)} note=${`at most ${duration(app.lag_max_us)}`} title="p99 of the worst worker">${duration(app.lag_p99_us)}<//>
      <${Stat} label="Loop use" level=${judge("use", app.utilization)} note="mean of the workers">${share(app.utilization)}<//>`}
    <${Stat} label="CPU" note="100% is one core">${percent(app.cpu_percent)}<//>
    <${Stat} label="Memory" level=${limit ? judge("memory", largest / limit) : null} note=${limit ? `${bytes(largest)} of ${bytes(limit)}` : "no limit"} title="All workers; below the largest of them, of its limit">${bytes(app.memory_bytes)}<//>
  </dl>`;
}

function Charts({ now, app, series, loops, marks }) {
  const stand = series.failure !== null && series.value === null;
  const kept = (metric) => (stand ? recent(app.history, metric, now.time_ms) : only(series.value, metric));
  const line = (label, metric, color, more = {}) => ({ label, color, data: kept(metric), ...more });
  const shared = { marks, bounds: series.bounds };
  const seen = app.traffic.source !== "none";
  const waiting = series.value === null && !stand ? "Loading" : undefined;
  const quiet = waiting ?? "No request came in this time.";
  const alive = app.workers.map((w) => recent(w.history, "utilization", now.time_ms, `worker ${w.instance}`)).filter(Boolean);
  const loop = stand ? alive : (loops.value?.utilization ?? []);
  const many = loop.length > MAX_LINES;
  return html`<${TimeCharts}>
    ${seen &&
    html`<${TimeChart} title="Requests" unit="per_s" ...${shared} note=${quiet} lines=${[line("requests", "rate", "--c1", { fill: true })]} />
      <${TimeChart} title="Errors" unit="per_s" ...${shared} note=${quiet} lines=${[line("5xx", "errors5xx", "--bad", { fill: true }), line("4xx", "errors4xx", "--c4", { dash: true })]} />
      <${TimeChart} title="Duration" unit="us" ...${shared} note=${quiet} hint=${app.traffic.source === "gateway" ? "Measured at the gateway" : "Measured inside the workers"}
        lines=${[line("p50", "latency_p50", "--c3"), line("p95", "latency_p95", "--c1"), line("p99", "latency_p99", "--c2", { dash: true })]} />`}
    ${app.utilization !== null &&
    html`<${TimeChart} title="Event loop lag" unit="us" ...${shared} note=${waiting} hint="How late timers and answers come to their turn" lines=${[line("p99", "lag_p99", "--c1"), line("max", "lag_max", "--c2", { dash: true })]} />
      <${TimeChart} title=${many ? `Event loop use of ${loop.length} workers` : "Event loop use by worker"} unit="ratio" most=${1} ...${shared} bounds=${loops.bounds} note=${waiting} hint="Share of time in which the loop worked, without waiting for a CPU"
        lines=${many ? spreadLines(loop) : loop.map((one, i) => ({ label: one.label.replace("worker ", ""), data: one, color: `--c${i + 1}`, dash: i >= 3 }))} />`}
    <${TimeChart} title="CPU" unit="percent" ...${shared} note=${waiting} hint="All workers; 100% is one core. Wait: ready to run without a CPU" lines=${[line("used", "cpu", "--c1", { fill: true }), line("waited", "cpu_wait", "--c4", { dash: true })]} />
    <${TimeChart} title="Memory" unit="bytes" ...${shared} note=${waiting} hint="Resident memory of all workers" lines=${[line("all workers", "memory", "--c1", { fill: true })]} />
    ${app.utilization !== null &&
    html`<${TimeChart} title="Heap" unit="bytes" ...${shared} note=${waiting} hint="The floor is what is left after a full collection: one that rises for hours is a leak" lines=${[line("used", "heap_used", "--c1", { fill: true }), line("floor", "heap_floor", "--c4", { dash: true })]} />
      <${TimeChart} title="Garbage collection" unit="percent" ...${shared} note=${waiting} hint="Share of time in which workers collected" lines=${[line("time", "gc", "--c1", { fill: true })]} />`}
  <//>`;
}

// Lines that a chart can hold apart.
const MAX_LINES = 6;

function spreadLines(loop) {
  const { most, mean, least } = spread(loop);
  return [
    { label: "busiest", data: most, color: "--c1" },
    { label: "mean", data: mean, color: "--c4", dash: true },
    { label: "least busy", data: least, color: "--c3" },
  ];
}

const latency = (key, label, wide, title) => ({
  key: label,
  label,
  num: true,
  wide,
  title,
  sort: (row) => row.traffic?.latency?.[key] ?? row.latency?.[key],
  cell: (row) => duration(row.traffic?.latency?.[key] ?? row.latency?.[key]),
});

const PERCENTILES = [
  latency("p50_us", "p50", true, "Half of the requests are faster"),
  latency("p95_us", "p95", false, "95 of 100 requests are faster"),
  latency("p99_us", "p99", true, "99 of 100 requests are faster"),
];

export const endpointName = (e) => `${e.method} ${e.route}`.trim();

function endpointColumns(app) {
  return [
    {
      key: "endpoint",
      label: "Endpoint",
      kind: "name",
      sort: (e) => e.route,
      cell: (e) => html`<a class="route" href=${link("app", app, "endpoint", endpointName(e))}><${Route} kind=${e.method} text=${e.route} /></a>`,
    },
    { key: "requests", label: "Requests", num: true, wide: true, sort: (e) => e.requests, cell: (e) => count(e.requests) },
    { key: "rate", label: "Rate", num: true, sort: (e) => e.traffic.rate, cell: (e) => rate(e.traffic.rate) },
    ...PERCENTILES,
    { key: "e5", label: "5xx", num: true, sort: (e) => errorShare(e.traffic), title: "Share of answers", cell: (e) => html`<${Value} level=${judge("errors", errorShare(e.traffic))}>${share(errorShare(e.traffic))}<//>` },
    { key: "e4", label: "4xx", num: true, wide: true, sort: (e) => e.traffic.errors_4xx / e.traffic.rate, title: "Share of answers", cell: (e) => share(e.traffic.rate > 0 ? e.traffic.errors_4xx / e.traffic.rate : null) },
    { key: "share", label: "Time share", num: true, sort: (e) => e.time_share, title: "Of all time that the app spends on requests. What is large here is worth making faster.", cell: (e) => html`<${Part} value=${e.time_share} />` },
  ];
}

function Part({ value }) {
  return html`<span class="part"
    ><svg viewBox="0 0 60 8" preserveAspectRatio="none" aria-hidden="true"><rect width=${60 * Math.min(1, value)} height="8" /></svg><span>${share(value)}</span></span
  >`;
}

function Endpoints({ app }) {
  const asked = useEndpoints(app.name);
  const rows = asked.value ?? (asked.failure ? app.endpoints : null);
  if (rows === null || (rows.length === 0 && app.traffic.source === "none")) return null;
  const note = asked.failure ? "over the last minute" : `over the ${rangeWords()}`;
  return html`<${Section} id="endpoints" title="Endpoints" note=${note}>
    ${rows.length === 0
      ? html`<${Empty} title="No request came in this time.">Routes show here with their first request.<//>`
      : html`<${Table} label="Endpoints" columns=${endpointColumns(app.name)} rows=${rows} rowKey=${endpointName} first=${{ key: "share", up: false }} most=${25} />`}
  <//>`;
}

function workerColumns(app) {
  const most = app.memory_limit_bytes;
  return [
    { key: "worker", label: "Worker", kind: "name", sort: (w) => String(w.instance).padStart(4, "0"), cell: (w) => html`<a class="strong" href=${link("app", app.name, "worker", String(w.instance))}>${w.instance}</a>` },
    { key: "state", label: "State", kind: "states", sort: (w) => worst(w.state), cell: (w) => html`<${State} state=${w.state} />` },
    { key: "pid", label: "PID", num: true, wide: true, cell: (w) => w.pid ?? "–" },
    { key: "up", label: "Up", num: true, wide: true, sort: (w) => w.uptime_ms, cell: (w) => (w.uptime_ms > 0 ? span(w.uptime_ms) : "–") },
    { key: "restarts", label: "Restarts", num: true, wide: true, sort: (w) => w.restarts, cell: (w) => html`<span title=${w.last_exit ?? ""}>${count(w.restarts)}</span>` },
    { key: "rate", label: "Rate", num: true, wide: true, sort: (w) => w.traffic.rate, cell: (w) => (w.agent ? rate(w.traffic.rate) : "–") },
    { key: "p95", label: "p95", num: true, wide: true, sort: (w) => w.traffic.latency?.p95_us, cell: (w) => duration(w.traffic.latency?.p95_us) },
    { key: "lag", label: "Loop lag", num: true, sort: (w) => w.lag_p99_us, cell: (w) => html`<${Value} level=${judge("lag", w.lag_p99_us)}>${duration(w.lag_p99_us)}<//>` },
    { key: "use", label: "Loop use", num: true, kind: "heats", sort: (w) => w.utilization, cell: (w) => html`<${WorkerLoop} worker=${w} />` },
    { key: "cpu", label: "CPU", num: true, sort: (w) => w.cpu_percent, cell: (w) => percent(w.cpu_percent) },
    { key: "wait", label: "CPU wait", num: true, wide: true, sort: (w) => w.cpu_wait_percent, title: "Share of time in which it was ready to run and had no CPU", cell: (w) => html`<${Value} level=${judge("wait", w.cpu_wait_percent)}>${percent(w.cpu_wait_percent)}<//>` },
    { key: "heap", label: "Heap", num: true, wide: true, sort: (w) => w.heap_used_bytes, cell: (w) => bytes(w.heap_used_bytes) },
    { key: "memory", label: "Memory", num: true, sort: (w) => w.memory_bytes, cell: (w) => html`<${Value} level=${most ? judge("memory", w.memory_bytes / most) : null}>${bytes(w.memory_bytes)}<//><${Meter} value=${w.memory_bytes} most=${most} label=${`of ${bytes(most)}`} />` },
  ];
}

function WorkerLoop({ worker }) {
  if (worker.utilization === null) return html`<span class="none">–</span>`;
  return html`<div class="loop"><${Heat} workers=${[worker]} label="Loop use over two minutes" /><${Value} level=${judge("use", worker.utilization)}>${share(worker.utilization)}<//></div>`;
}

function Workers({ app }) {
  return html`<${Section} id="workers" title="Workers" note="over the last 10 seconds">
    ${app.workers.length === 0
      ? html`<${Empty} title="No worker runs.">${app.status === "stopped" ? html`<code>pando start ${app.name}</code> starts it again.` : app.problem}<//>`
      : html`<${Table} label="Workers" columns=${workerColumns(app)} rows=${app.workers} rowKey=${(w) => `${w.instance}-${w.id}`} />`}
  <//>`;
}

const OUTGOING = [
  { key: "peer", label: "To", kind: "name", sort: (o) => o.peer, cell: (o) => html`<span class="route"><${Route} kind=${o.kind} text=${o.peer} /></span>` },
  { key: "rate", label: "Rate", num: true, sort: (o) => o.rate, cell: (o) => rate(o.rate) },
  ...PERCENTILES,
  { key: "errors", label: "Errors", num: true, sort: (o) => o.errors, cell: (o) => html`<${Value} level=${judge("errors", o.rate > 0 ? o.errors / o.rate : null)}>${rate(o.errors)}<//>` },
];

function Outgoing({ app }) {
  if (app.outgoing.length === 0) return null;
  return html`<${Section} id="outgoing" title="Outgoing calls" note="over the last minute">
    <${Table} label="Outgoing calls" columns=${OUTGOING} rows=${app.outgoing} rowKey=${(o) => `${o.kind} ${o.peer}`} first=${{ key: "rate", up: false }} />
  <//>`;
}
