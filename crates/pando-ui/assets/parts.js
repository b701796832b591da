// Small pieces that pages are made of.

import { html } from "./vendor/preact-htm.js";
import { isKnown } from "./format.js";
import { setParams } from "./route.js";

// What a state means: a word always, a shape and a colour only where something is to be seen.
const LEVELS = {
  ready: "good",
  starting: "busy",
  reloading: "busy",
  draining: "busy",
  stopping: "busy",
  waiting: "busy",
  stopped: "off",
  exited: "off",
  degraded: "warn",
  backoff: "warn",
  unhealthy: "bad",
  stalled: "bad",
  "crash-loop": "bad",
};

export const level = (state) => LEVELS[state] ?? "off";

// A column of states sorts by how bad they are.
const SEVERITY = { good: 0, off: 1, busy: 2, warn: 3, bad: 4 };
export const worst = (state) => SEVERITY[level(state)];

const SHAPES = {
  good: "M6 2.2a3.8 3.8 0 1 0 0 7.6 3.8 3.8 0 0 0 0-7.6Z",
  busy: "M6 1.6 10.4 6 6 10.4 1.6 6Z",
  off: "M2 5h8v2H2Z",
  warn: "M6 1.5 11 10.5H1Z",
  bad: "M3.8 1h4.4L11 3.8v4.4L8.2 11H3.8L1 8.2V3.8Z",
};

// A shape beside a word that says the same; never alone.
export function Mark({ level: of }) {
  return html`<svg class="mark ${of}" viewBox="0 0 12 12" aria-hidden="true"><path d=${SHAPES[of]} /></svg>`;
}

export function State({ state }) {
  const of = level(state);
  return html`<span class="state ${of}"><${Mark} level=${of} />${state}</span>`;
}

// A value that is marked where it is out of the ordinary.
export function Value({ children, level: of, title }) {
  if (!of) return html`<span class="value" title=${title}>${children}</span>`;
  const words = of === "bad" ? "critical: " : "high: ";
  return html`<span class="value ${of}" title=${title}
    ><${Mark} level=${of} /><span class="unseen">${words}</span>${children}</span
  >`;
}

// Above which a value is marked; the same as in `terminal/verdict.rs`.
const LIMITS = {
  errors: [0.01, 0.05],
  lag: [100_000, 500_000],
  use: [0.8, 0.95],
  memory: [0.8, 0.95],
  wait: [20, 50],
};

export function judge(kind, value) {
  if (!isKnown(value)) return null;
  const [warn, bad] = LIMITS[kind];
  return value >= bad ? "bad" : value >= warn ? "warn" : null;
}

export const errorShare = (traffic) => (traffic.rate > 0 ? traffic.errors_5xx / traffic.rate : null);

// Fullness beside its number.
export function Meter({ value, most, label }) {
  if (!isKnown(value) || !most) return null;
  const part = Math.min(1, value / most);
  const of = judge("memory", part) ?? "";
  return html`<svg class="meter ${of}" viewBox="0 0 60 4" preserveAspectRatio="none" role="img" aria-label=${label}>
    <rect class="track" width="60" height="4" /><rect class="fill" width=${60 * part} height="4" />
  </svg>`;
}

// A path that breaks after its slashes, with its method.
export function Route({ kind, text }) {
  const pieces = text.split("/").flatMap((piece, i) => (i === 0 ? [piece] : ["/", html`<wbr />`, piece]));
  return html`${kind && kind !== "*" && html`<b>${kind}</b>\u00a0`}${pieces}`;
}

export function Stat({ label, children, note, level: of, title }) {
  return html`<div class="stat" title=${title}>
    <dt>${label}</dt>
    <dd><${Value} level=${of}>${children}<//>${note && html`<small title=${note}>${note}</small>`}</dd>
  </div>`;
}

// What there is to say where there is nothing to show.
export function Empty({ title, children }) {
  return html`<div class="empty"><p class="lead">${title}</p>${children && html`<p>${children}</p>`}</div>`;
}

export function Problem({ problem }) {
  return html`<div class="problem" role="alert">
    <p class="lead"><${Mark} level="bad" />${problem.what}</p>
    ${problem.why && html`<p>${problem.why}</p>`} ${problem.fix && html`<p>${problem.fix}</p>`}
    ${problem.stderr?.length > 0 && html`<pre>${problem.stderr.join("\n")}</pre>`}
  </div>`;
}

export function Section({ title, note, tools, children, id }) {
  return html`<section aria-labelledby=${id}>
    <div class="section-head">
      <h2 id=${id}>${title}</h2>
      ${note && html`<p>${note}</p>`}
      <div class="tools">${tools}</div>
    </div>
    ${children}
  </section>`;
}

// A choice of a few, in the address.
export function Choice({ label, name, options, value, fallback = "" }) {
  const chosen = (event) => setParams({ [name]: event.target.value === fallback ? null : event.target.value }, true);
  return html`<label class="choice"
    ><span>${label}</span>
    <select value=${value} onChange=${chosen}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select>
  </label>`;
}
