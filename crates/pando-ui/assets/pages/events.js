// What happened, when, to whom.

import { html } from "../vendor/preact-htm.js";
import { clock, day } from "../format.js";
import { eventLevel, TimeChart, TimeCharts } from "../charts.js";
import { Choice, Empty, Mark, Problem } from "../parts.js";
import { Picker } from "../picker.js";
import { only, useEvents, useSeries } from "../data.js";
import { link, setParams, view } from "../route.js";
import { serverNow } from "../state.js";

const MOST = 500;

export function EventsPage({ now }) {
  const app = view.params.get("app") ?? "";
  const search = view.params.get("q") ?? "";
  const kind = view.params.get("kind") ?? "";
  const events = useEvents(app);
  const host = useSeries(app ? ["rate", "errors5xx"] : ["host_cpu"], { app });
  const all = events.value ?? [];
  const wanted = all.filter((event) => (!kind || eventLevel(event.kind) === kind) && has(event, search));
  const apps = [["", "all apps"], ...now.apps.map((one) => [one.name, one.name])];
  const kinds = [["", "all kinds"], ["bad", "troubles"], ["deploy", "changes"], ["plain", "the rest"]];
  const line = (label, metric, color) => ({ label, color, data: only(host.value, metric), fill: true });
  return html`<header class="page-head"><div><h1>Events</h1></div></header>
    <div class="page-tools">
      <${Picker} />
      <div class="filters">
        <${Choice} label="App" name="app" value=${app} options=${apps} />
        <${Choice} label="Kind" name="kind" value=${kind} options=${kinds} />
        <label class="search"><span>Search</span><input id="search" type="search" value=${search} onInput=${(e) => setParams({ q: e.target.value }, true)} /></label>
      </div>
    </div>
    ${events.failure && html`<${Problem} problem=${events.failure} />`}
    <${TimeCharts} one>
      ${app
        ? html`<${TimeChart} key="app" title=${`Requests of ${app}`} unit="per_s" marks=${wanted} bounds=${host.bounds} lines=${[line("requests", "rate", "--c1"), line("5xx", "errors5xx", "--bad")]} />`
        : html`<${TimeChart} key="host" title="CPU of the machine" unit="percent" most=${100} marks=${wanted} bounds=${host.bounds} lines=${[line("used", "host_cpu", "--c1")]} />`}
    <//>
    <${EventList} events=${events.value === null ? null : wanted} most=${MOST} />`;
}

const has = (event, search) => `${event.app} ${event.kind} ${event.text}`.toLowerCase().includes(search.toLowerCase());

const MARKS = { bad: "bad", deploy: "busy", plain: "good" };

// Newest first, by day.
export function EventList({ events, most, without }) {
  if (events === null) return null;
  if (events.length === 0) {
    return html`<${Empty} title="Nothing happened in this time.">Starts, reloads, exits, stalls and alerts show here. Choose a longer span of time for older ones.<//>`;
  }
  const shown = [...events].reverse().slice(0, most);
  let last = "";
  const rows = [];
  shown.forEach((event, i) => {
    const date = day(event.time_ms);
    if (date !== last) {
      if (last !== "" || date !== day(serverNow())) rows.push(html`<li class="day" key=${date}>${date}</li>`);
      last = date;
    }
    rows.push(html`<${Row} key=${`${event.time_ms}-${i}`} event=${event} without=${without} />`);
  });
  return html`<ol class="events ${without ? "narrow" : ""}">${rows}</ol>
    ${events.length > shown.length && html`<p class="rest">${events.length - shown.length} older ones are not shown.</p>`}`;
}

function Row({ event, without }) {
  const of = eventLevel(event.kind);
  const who = event.worker === null ? event.app : `${event.app}.${event.worker}`;
  const worker = event.worker === null ? "" : `worker ${event.worker}`;
  return html`<li class=${of}>
    <time datetime=${new Date(event.time_ms).toISOString()}>${clock(event.time_ms)}</time>
    <${Mark} level=${MARKS[of]} />
    <span class="kind">${event.kind}</span>
    <span class="who">${without ? worker : event.app ? html`<a href=${link("app", event.app)}>${who}</a>` : "Pando"}</span>
    <span class="what">${event.text}</span>
  </li>`;
}
