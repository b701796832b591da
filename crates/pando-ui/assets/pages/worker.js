// One worker: what its process and its heap do.

import { html } from "../vendor/preact-htm.js";
import { bytes, count, duration, percent, rate, share, span } from "../format.js";
import { TimeChart, TimeCharts } from "../charts.js";
import { Empty, Problem, Stat, State, errorShare, judge } from "../parts.js";
import { Picker } from "../picker.js";
import { only, recent, useEvents, useSeries } from "../data.js";
import { link } from "../route.js";

const OUTSIDE = ["cpu", "cpu_wait", "memory", "pss", "fds"];
const INSIDE = ["rate", "errors5xx", "latency_p50", "latency_p95", "lag_p99", "lag_max", "utilization", "heap_used", "heap_total", "heap_floor", "gc", "handles"];

export function WorkerPage({ now, name, instance }) {
  const app = now.apps.find((one) => one.name === name);
  const of = app?.workers.filter((one) => String(one.instance) === instance) ?? [];
  const worker = of.find((one) => one.state === "ready") ?? of[0];
  if (!worker) {
    return html`<${Empty} title=${`${name} has no worker ${instance} now.`}><a href=${link("app", name)}>All workers of ${name}</a><//>`;
  }
  return html`<${Inside} key=${`${name}.${instance}`} now=${now} app=${app} worker=${worker} />`;
}

function Inside({ now, app, worker }) {
  const query = { app: app.name, worker: worker.instance };
  const outside = useSeries(OUTSIDE, query);
  const inside = useSeries(INSIDE, query);
  const events = useEvents(app.name);
  const marks = (events.value ?? []).filter((event) => event.worker === null || event.worker === worker.instance);
  const failure = outside.failure ?? inside.failure;
  return html`<header class="page-head">
      <div>
        <h1>${app.name}, worker ${worker.instance}</h1>
        <p class="about"><${State} state=${worker.state} /> ${about(worker)}</p>
      </div>
      <a class="button" href=${`${link("logs", app.name)}${link().includes("?") ? "&" : "?"}worker=${worker.instance}`}>Its logs</a>
    </header>
    ${worker.leak_bytes_per_hour > 0 &&
    html`<ul class="wrong"><li class="warn"><b>leak</b> The heap's floor after full collections grows by ${bytes(worker.leak_bytes_per_hour)} an hour.</li></ul>`}
    <${Now} worker=${worker} limit=${app.memory_limit_bytes} />
    ${!worker.agent && html`<${Empty} title="This worker does not report from inside.">Its requests, event loop and heap are not seen: <code>agent = false</code> is set, it is no Node.js program, or it has only just started.<//>`}
    <div class="page-tools"><${Picker} /></div>
    ${failure && html`<${Problem} problem=${failure} />`}
    <${Charts} now=${now} worker=${worker} outside=${outside} inside=${inside} marks=${marks} limit=${app.memory_limit_bytes} />`;
}

function about(worker) {
  const facts = [];
  if (worker.pid) facts.push(`process ${worker.pid}`);
  if (worker.node) facts.push(`Node.js ${worker.node}`);
  if (worker.uptime_ms > 0) facts.push(`up ${span(worker.uptime_ms)}`);
  facts.push(`${count(worker.restarts)} restarts${worker.last_exit ? `, the last by ${worker.last_exit}` : ""}`);
  return facts.map((fact) => html`<span key=${fact}>${fact}</span>`);
}

function Now({ worker: w, limit }) {
  const errors = errorShare(w.traffic);
  return html`<dl class="stats" aria-label="Over the last 10 seconds">
    ${w.agent &&
    html`<${Stat} label="Requests" note=${`${count(w.traffic.in_flight)} in flight`}>${rate(w.traffic.rate)}<//>
      <${Stat} label="Errors" level=${judge("errors", errors)}>${share(errors)}<//>
      <${Stat} label="p95" note=${`p50 ${duration(w.traffic.latency?.p50_us)}`}>${duration(w.traffic.latency?.p95_us)}<//>
      <${Stat} label="Loop lag" level=${judge("lag", w.lag_p99_us)} note=${`at most ${duration(w.lag_max_us)}`}>${duration(w.lag_p99_us)}<//>
      <${Stat} label="Loop use" level=${judge("use", w.utilization)}>${share(w.utilization)}<//>
      <${Stat} label="Heap" note=${`limit ${bytes(w.heap_limit_bytes)}`} level=${w.heap_limit_bytes ? judge("memory", w.heap_used_bytes / w.heap_limit_bytes) : null}>${bytes(w.heap_used_bytes)}<//>
      <${Stat} label="Collection" note="of garbage">${count(w.gc_ms_per_s)} ms/s<//>`}
    <${Stat} label="CPU" note=${`waited ${percent(w.cpu_wait_percent)}`} level=${judge("wait", w.cpu_wait_percent)}>${percent(w.cpu_percent)}<//>
    <${Stat} label="Memory" note=${limit ? `of ${bytes(limit)}` : "no limit"} level=${limit ? judge("memory", w.memory_bytes / limit) : null}>${bytes(w.memory_bytes)}<//>
    <${Stat} label="Descriptors" note=${`${count(w.threads)} threads`}>${count(w.fds)}<//>
  </dl>`;
}

function Charts({ now, worker, outside, inside, marks, limit }) {
  const from = (result) => (label, metric, color, more = {}) => ({ label, color, data: result.failure && !result.value ? recent(worker.history, metric, now.time_ms) : only(result.value, metric), ...more });
  const [out, into] = [from(outside), from(inside)];
  const shared = { marks, bounds: outside.bounds, note: outside.value || outside.failure ? undefined : "Loading" };
  const memory = [out("resident", "memory", "--c1", { fill: true, limit: limit ?? 0 }), out("PSS", "pss", "--c3", { dash: true })];
  return html`<${TimeCharts}>
    ${worker.agent &&
    html`<${TimeChart} title="Heap" unit="bytes" ...${shared} hint="The floor is what is left after a full collection: a floor that rises for hours is a leak"
        lines=${[into("used", "heap_used", "--c1", { fill: true }), into("total", "heap_total", "--c3"), into("floor", "heap_floor", "--c4", { dash: true })]} />`}
    <${TimeChart} title="Memory" unit="bytes" ...${shared} hint="PSS: pages that several processes share count by their part" lines=${limit ? [...memory, limitLine(memory[0].data, limit)] : memory} />
    ${worker.agent &&
    html`<${TimeChart} title="Garbage collection" unit="percent" ...${shared} hint="Share of time in which the worker collected" lines=${[into("time", "gc", "--c1", { fill: true })]} />
      <${TimeChart} title="Event loop lag" unit="us" ...${shared} lines=${[into("p99", "lag_p99", "--c1"), into("max", "lag_max", "--c2", { dash: true })]} />
      <${TimeChart} title="Event loop use" unit="ratio" most=${1} ...${shared} lines=${[into("use", "utilization", "--c1", { fill: true })]} />`}
    <${TimeChart} title="CPU" unit="percent" ...${shared} hint="Waited: ready to run without a CPU" lines=${[out("used", "cpu", "--c1", { fill: true }), out("waited", "cpu_wait", "--c4", { dash: true })]} />
    ${worker.agent &&
    html`<${TimeChart} title="Requests" unit="per_s" ...${shared} lines=${[into("requests", "rate", "--c1", { fill: true }), into("5xx", "errors5xx", "--bad")]} />
      <${TimeChart} title="Duration" unit="us" ...${shared} lines=${[into("p50", "latency_p50", "--c3"), into("p95", "latency_p95", "--c1")]} />`}
    <${TimeChart} title="Descriptors and handles" unit="count" ...${shared} lines=${[out("descriptors", "fds", "--c1"), ...(worker.agent ? [into("handles", "handles", "--c4", { dash: true })] : [])]} />
  <//>`;
}

function limitLine(like, limit) {
  const data = like && { ...like, values: like.values.map(() => limit) };
  return { label: "limit", color: "--bad", dash: true, data };
}
