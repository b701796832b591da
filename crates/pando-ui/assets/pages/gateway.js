// The HTTP edge: what comes in, where it goes, what is kept.

import { html } from "../vendor/preact-htm.js";
import { bytesPerSecond, count, day, duration, rate, share } from "../format.js";
import { TimeChart, TimeCharts } from "../charts.js";
import { Empty, Problem, Section, Stat, Value, errorShare, judge } from "../parts.js";
import { Table } from "../table.js";
import { Picker } from "../picker.js";
import { only, useEvents, useSeries } from "../data.js";
import { link } from "../route.js";
import { serverNow } from "../state.js";

const METRICS = ["rate", "errors4xx", "errors5xx", "latency_p50", "latency_p95", "latency_p99", "connections", "bytes_in", "bytes_out", "cache_hits", "cache_misses", "limited", "retries"];

export function GatewayPage({ now }) {
  if (!now.gateway) {
    return html`<h1>Gateway</h1>
      <${Empty} title="No gateway serves."
        >A <code>[gateway]</code> table and a <code>[site]</code> in pando.toml, then <code>pando up</code>, put one before the apps: TLS, routes, caching, limits.<//
      >`;
  }
  return html`<${Inside} gateway=${now.gateway} />`;
}

function Inside({ gateway: g }) {
  const series = useSeries(METRICS, {});
  const events = useEvents("");
  const line = (label, metric, color, more = {}) => ({ label, color, data: only(series.value, metric), ...more });
  // What happens to apps that it does not serve explains nothing here.
  const served = new Set(["", "gateway", ...g.routes.map((route) => route.app)]);
  const shared = { marks: (events.value ?? []).filter((event) => served.has(event.app ?? "")), bounds: series.bounds, note: series.value || series.failure ? undefined : "Loading" };
  const inBytes = (one) => ({ ...one, data: one.data && { ...one.data, unit: "bytes_per_s" } });
  return html`<header class="page-head"><div>
        <h1>Gateway</h1>
        <p class="about"><span>${count(g.connections)} connections open</span><span>${count(g.tunnels)} upgraded</span></p>
      </div></header>
    <${Now} gateway=${g} />
    <div class="page-tools"><${Picker} /></div>
    ${series.failure && html`<${Problem} problem=${series.failure} />`}
    <${TimeCharts}>
      <${TimeChart} title="Requests" unit="per_s" ...${shared} lines=${[line("requests", "rate", "--c1", { fill: true })]} />
      <${TimeChart} title="Errors" unit="per_s" ...${shared} lines=${[line("5xx", "errors5xx", "--bad", { fill: true }), line("4xx", "errors4xx", "--c4", { dash: true }), line("limited", "limited", "--c2"), line("retried", "retries", "--c5")]} />
      <${TimeChart} title="Duration" unit="us" ...${shared} hint="From the request's head to the answer's last byte" lines=${[line("p50", "latency_p50", "--c3"), line("p95", "latency_p95", "--c1"), line("p99", "latency_p99", "--c2", { dash: true })]} />
      <${TimeChart} title="Traffic" unit="bytes_per_s" ...${shared} lines=${[inBytes(line("out", "bytes_out", "--c1", { fill: true })), inBytes(line("in", "bytes_in", "--c4", { dash: true }))]} />
      <${TimeChart} title="Cache" unit="per_s" ...${shared} lines=${[line("hits", "cache_hits", "--c1", { fill: true }), line("misses", "cache_misses", "--c4", { dash: true })]} />
      <${TimeChart} title="Connections" unit="count" ...${shared} lines=${[line("open", "connections", "--c1", { fill: true })]} />
    <//>
    <${Routes} rows=${g.routes} />
    <${Upstreams} rows=${g.upstreams} />
    <${Certificates} rows=${g.certificates} />`;
}

function Now({ gateway: g }) {
  const errors = errorShare(g.traffic);
  const l = g.traffic.latency;
  return html`<dl class="stats" aria-label="Over the last 10 seconds">
    <${Stat} label="Requests" note=${`${count(g.traffic.in_flight)} in flight`}>${rate(g.traffic.rate)}<//>
    <${Stat} label="Errors" level=${judge("errors", errors)} note=${`${rate(g.traffic.errors_5xx)} 5xx, ${rate(g.traffic.errors_4xx)} 4xx`}>${share(errors)}<//>
    <${Stat} label="p95" note=${`p99 ${duration(l?.p99_us)}`}>${duration(l?.p95_us)}<//>
    <${Stat} label="Out" note=${`in ${bytesPerSecond(g.bytes_in_per_s)}`}>${bytesPerSecond(g.bytes_out_per_s)}<//>
    <${Stat} label="Cache hits" note="of what may be cached">${share(g.cache_hit_ratio)}<//>
    <${Stat} label="Limited" note=${`${rate(g.retries)} retried`}>${rate(g.limited)}<//>
  </dl>`;
}

const ROUTES = [
  { key: "site", label: "Site", kind: "name", sort: (r) => r.site, cell: (r) => html`<span class="route">${r.site} <b>${r.route}</b></span>` },
  { key: "to", label: "To", wide: true, sort: (r) => r.app ?? "", cell: (r) => (r.app ? html`<a href=${link("app", r.app)}>${r.app}</a>` : html`<span class="none">files or upstreams</span>`) },
  { key: "rate", label: "Rate", num: true, sort: (r) => r.traffic.rate, cell: (r) => rate(r.traffic.rate) },
  { key: "p50", label: "p50", num: true, wide: true, sort: (r) => r.traffic.latency?.p50_us, cell: (r) => duration(r.traffic.latency?.p50_us) },
  { key: "p95", label: "p95", num: true, sort: (r) => r.traffic.latency?.p95_us, cell: (r) => duration(r.traffic.latency?.p95_us) },
  { key: "p99", label: "p99", num: true, wide: true, sort: (r) => r.traffic.latency?.p99_us, cell: (r) => duration(r.traffic.latency?.p99_us) },
  { key: "e5", label: "5xx", num: true, sort: (r) => errorShare(r.traffic), cell: (r) => html`<${Value} level=${judge("errors", errorShare(r.traffic))}>${share(errorShare(r.traffic))}<//>` },
  { key: "e4", label: "4xx", num: true, wide: true, sort: (r) => r.traffic.errors_4xx, cell: (r) => rate(r.traffic.errors_4xx) },
];

function Routes({ rows }) {
  return html`<${Section} id="routes" title="Sites and routes" note="over the last 10 seconds">
    ${rows.length === 0
      ? html`<${Empty} title="No request came yet.">Routes show here with their first request.<//>`
      : html`<${Table} label="Sites and routes" columns=${ROUTES} rows=${rows} rowKey=${(r) => `${r.site} ${r.route}`} first=${{ key: "rate", up: false }} />`}
  <//>`;
}

const UPSTREAMS = [
  { key: "address", label: "Address", kind: "name", sort: (u) => u.address, cell: (u) => html`<span class="route">${u.address}</span>` },
  { key: "group", label: "Of", sort: (u) => u.group, cell: (u) => (u.instance === null ? u.group : html`<a href=${link("app", u.group, "worker", String(u.instance))}>${u.group}, worker ${u.instance}</a>`) },
  { key: "state", label: "State", sort: (u) => (u.available ? "b" : "a"), cell: (u) => html`<${Value} level=${u.available ? null : "bad"}>${u.available ? "available" : "out"}<//>` },
  { key: "requests", label: "Requests/s", num: true, sort: (u) => u.requests, cell: (u) => count(u.requests) },
  { key: "failures", label: "Failures/s", num: true, sort: (u) => u.failures, cell: (u) => html`<${Value} level=${u.failures > 0 ? "warn" : null}>${count(u.failures)}<//>` },
  { key: "flight", label: "In flight", num: true, wide: true, sort: (u) => u.in_flight, cell: (u) => count(u.in_flight) },
];

function Upstreams({ rows }) {
  if (rows.length === 0) return null;
  return html`<${Section} id="upstreams" title="Upstreams" note="in the last second">
    <${Table} label="Upstreams" columns=${UPSTREAMS} rows=${rows} rowKey=${(u) => `${u.group} ${u.address}`} />
  <//>`;
}

const DAY_S = 86400;
const daysLeft = (c) => (c.not_after_s === null ? null : (c.not_after_s - serverNow() / 1000) / DAY_S);

function certificateLevel(c) {
  const days = daysLeft(c);
  if (days === null || days < 7) return "bad";
  return days < 21 || c.problem ? "warn" : null;
}

const CERTIFICATES = [
  { key: "host", label: "Host", kind: "name", sort: (c) => c.host, cell: (c) => html`<span class="route">${c.host}</span>` },
  { key: "until", label: "Good until", sort: (c) => c.not_after_s ?? 0, cell: (c) => (c.not_after_s === null ? "none yet" : day(c.not_after_s * 1000)) },
  { key: "left", label: "Left", num: true, sort: daysLeft, cell: (c) => html`<${Value} level=${certificateLevel(c)}>${daysLeft(c) === null ? "stand-in" : `${Math.floor(daysLeft(c))} days`}<//>` },
  { key: "problem", label: "Problem", kind: "text", cell: (c) => c.problem ?? "" },
];

function Certificates({ rows }) {
  if (rows.length === 0) return null;
  return html`<${Section} id="certificates" title="Certificates">
    <${Table} label="Certificates" columns=${CERTIFICATES} rows=${rows} rowKey=${(c) => c.host} first=${{ key: "left", up: true }} />
  <//>`;
}
