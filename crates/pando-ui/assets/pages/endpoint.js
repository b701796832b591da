// One endpoint of an app.

import { html } from "../vendor/preact-htm.js";
import { count, duration, rate, share } from "../format.js";
import { TimeChart, TimeCharts } from "../charts.js";
import { Empty, Problem, Route, Stat, errorShare, judge } from "../parts.js";
import { Picker } from "../picker.js";
import { only, useEndpoints, useEvents, useSeries } from "../data.js";
import { link, range } from "../route.js";
import { endpointName } from "./app.js";

const METRICS = ["rate", "errors4xx", "errors5xx", "latency_p50", "latency_p95", "latency_p99"];
const MEANING = {
  "(unmatched)": "Requests that no route of the app took: mostly answers with 404.",
  "(other)": "Routes beyond the first two hundred, as one.",
};

export function EndpointPage({ now, name, endpoint }) {
  const series = useSeries(METRICS, { app: name, endpoint });
  const events = useEvents(name);
  const all = useEndpoints(name);
  const found = (all.value ?? (all.failure ? now.apps.find((one) => one.name === name)?.endpoints : null) ?? []).find((one) => endpointName(one) === endpoint);
  const failure = series.failure ?? all.failure;
  const [method, ...route] = endpoint.split(" ");
  const line = (label, metric, color, more = {}) => ({ label, color, data: only(series.value, metric), ...more });
  const shared = { marks: events.value ?? [], bounds: series.bounds, note: series.value || series.failure ? "No request came in this time." : "Loading" };
  return html`<header class="page-head">
      <div>
        <h1 class="route"><${Route} kind=${method} text=${route.join(" ")} /></h1>
        <p class="about"><span>of <a href=${link("app", name)}>${name}</a></span>${MEANING[route.join(" ")] && html`<span>${MEANING[route.join(" ")]}</span>`}</p>
      </div>
    </header>
    <div class="page-tools"><${Picker} /></div>
    ${failure && html`<${Problem} problem=${failure} />`}
    ${found ? html`<${Span} endpoint=${found} />` : all.value && html`<${Empty} title="No request came to this endpoint in this time.">Choose a longer span of time.<//>`}
    <${TimeCharts}>
      <${TimeChart} title="Requests" unit="per_s" ...${shared} lines=${[line("requests", "rate", "--c1", { fill: true })]} />
      <${TimeChart} title="Errors" unit="per_s" ...${shared} lines=${[line("5xx", "errors5xx", "--bad", { fill: true }), line("4xx", "errors4xx", "--c4", { dash: true })]} />
      <${TimeChart} title="Duration" unit="us" ...${shared} lines=${[line("p50", "latency_p50", "--c3"), line("p95", "latency_p95", "--c1"), line("p99", "latency_p99", "--c2", { dash: true })]} />
    <//>`;
}

function Span({ endpoint: e }) {
  const errors = errorShare(e.traffic);
  const l = e.traffic.latency;
  return html`<dl class="stats" aria-label=${range().name ? `The last ${range().long}` : "The span that is shown"}>
    <${Stat} label="Requests" note=${rate(e.traffic.rate)}>${count(e.requests)}<//>
    <${Stat} label="Errors" level=${judge("errors", errors)} note=${`${rate(e.traffic.errors_5xx)} 5xx, ${rate(e.traffic.errors_4xx)} 4xx`}>${share(errors)}<//>
    <${Stat} label="p50">${duration(l?.p50_us)}<//>
    <${Stat} label="p95">${duration(l?.p95_us)}<//>
    <${Stat} label="p99" note=${`longest ${duration(l?.max_us)}`}>${duration(l?.p99_us)}<//>
    <${Stat} label="Time share" note="of all requests' time">${share(e.time_share)}<//>
  </dl>`;
}
