// Which span of time: named ones that follow the clock, or one that was dragged on a chart.

import { html } from "./vendor/preact-htm.js";
import { SPANS, choose, range, zoom } from "./route.js";
import { clock, day, span as length } from "./format.js";
import { serverNow } from "./state.js";

export function Picker() {
  const now = range();
  const back = () => history.back();
  const out = () => {
    const middle = (now.from + now.to) / 2;
    zoom(middle - now.ms, Math.min(serverNow(), middle + now.ms));
  };
  return html`<div class="picker" role="group" aria-label="Span of time">
    ${SPANS.map(
      (span) => html`<button key=${span.name} aria-pressed=${now.name === span.name} onClick=${() => choose(span.name)} title=${`The last ${span.long}`}>
        ${span.label}
      </button>`,
    )}
    ${now.name === null &&
    html`<span class="zoomed"
      ><b>${words(now)}</b>
      <button onClick=${back} title="Back to the span before (b)">Back</button>
      <button onClick=${out} title="Twice as much time">Zoom out</button></span
    >`}
  </div>`;
}

function words({ from, to, ms }) {
  const same = day(from) === day(to);
  const date = same && day(from) === day(serverNow()) ? "" : `${day(from)} `;
  const end = same ? clock(to) : `${day(to)} ${clock(to)}`;
  return `${date}${clock(from)} to ${end} (${length(ms)})`;
}
