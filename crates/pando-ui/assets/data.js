// Data over a span of time, asked for again as time goes on.

import { useEffect, useRef, useState } from "./vendor/preact-htm.js";
import { isKnown } from "./format.js";
import { get } from "./state.js";
import { bounds, range } from "./route.js";

// Points a chart can show; a chart is rarely wider.
const POINTS = 720;
const AFTER_FAILURE_MS = 10_000;

// Calls `ask(from, to, signal)` now and as often as the span asks for, keeps the last answer while
// the next is on its way.
export function useOverTime(key, ask) {
  const [result, setResult] = useState({ key: null, value: null, failure: null, bounds: null });
  const held = useRef(ask);
  held.current = ask;
  const span = range();
  const full = `${key} ${span.name ?? `${span.from}-${span.to}`}`;
  useEffect(() => {
    const stop = new AbortController();
    let timer = null;
    let busy = false;
    let missed = false;
    async function round() {
      const [from, to] = bounds(span);
      let failed = false;
      busy = true;
      missed = document.hidden;
      try {
        if (!missed) {
          const value = await held.current(Math.round(from), Math.round(to), stop.signal);
          if (!stop.signal.aborted) setResult({ key: full, value, failure: null, bounds: [from, to] });
        }
      } catch (error) {
        if (error.name === "AbortError" || stop.signal.aborted) return;
        const problem = error.problem ?? { what: "the page has a fault", why: String(error), fix: "" };
        setResult((last) => ({ ...last, failure: problem }));
        failed = true;
      }
      busy = false;
      const pause = failed ? Math.max(span.every, AFTER_FAILURE_MS) : span.every;
      if (pause > 0 && !stop.signal.aborted) timer = setTimeout(round, pause);
    }
    // What came due while nobody looked is asked for at once when somebody does.
    const seen = () => {
      if (document.hidden || busy || !missed) return;
      clearTimeout(timer);
      round();
    };
    document.addEventListener("visibilitychange", seen);
    round();
    return () => {
      document.removeEventListener("visibilitychange", seen);
      stop.abort();
      clearTimeout(timer);
    };
  }, [full]);
  // Another view's answer is not shown for this one, but another span's is until the new one comes.
  const mine = result.key !== null && result.key.split(" ")[0] === full.split(" ")[0];
  return mine ? result : { ...result, value: null, failure: result.failure, bounds: bounds(span) };
}

// Metrics by name: { rate: [series], … }.
export function useSeries(metrics, query) {
  const key = `${metrics.join(",")}|${JSON.stringify(query)}`.replaceAll(" ", "_");
  return useOverTime(key, async (from, to, signal) => {
    const answer = await get("api/series", { metrics: metrics.join(","), ...query, from, to, points: POINTS }, signal);
    return Object.fromEntries(answer.map((one) => [one.metric, one.series]));
  });
}

export function useEvents(app) {
  return useOverTime(`events|${app}`, (from, to, signal) => get("api/events", { app, from, to }, signal));
}

export function useEndpoints(app) {
  return useOverTime(`endpoints|${app}`, (from, to, signal) => get("api/endpoints", { app, from, to }, signal));
}

export const only = (value, metric) => value?.[metric]?.[0] ?? null;

// The highest, the mean and the lowest of several series of one step at each time.
export function spread(all) {
  const [{ step_ms: step }] = all;
  const start = all.reduce((first, one) => Math.min(first, one.start_ms), Infinity);
  const columns = [];
  for (const one of all) {
    const offset = Math.round((one.start_ms - start) / step);
    one.values.forEach((value, i) => {
      columns[offset + i] ??= [];
      if (isKnown(value)) columns[offset + i].push(value);
    });
  }
  const of = (pick) => ({ label: "", start_ms: start, step_ms: step, values: Array.from(columns, (c) => (c?.length > 0 ? pick(c) : null)) });
  return {
    most: of((c) => c.reduce((a, b) => Math.max(a, b))),
    mean: of((c) => c.reduce((a, b) => a + b) / c.length),
    least: of((c) => c.reduce((a, b) => Math.min(a, b))),
  };
}

// The fields of a picture's history, by metric.
const IN_PICTURE = {
  rate: "rate",
  errors5xx: "errors",
  latency_p95: "p95_us",
  lag_p99: "lag_us",
  utilization: "utilization",
  cpu: "cpu_percent",
  memory: "memory_bytes",
};

// The last two minutes, which each picture has, as a series: for while no histories can be read.
export function recent(history, metric, time, label = "") {
  const values = history[IN_PICTURE[metric]];
  if (!values?.length) return null;
  return { label, start_ms: time - (values.length - 1) * 1000, step_ms: 1000, values };
}
