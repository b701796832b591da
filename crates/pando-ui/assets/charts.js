// Charts over time (uPlot), and the small ones of tables (a path, a canvas).

import { html, useEffect, useLayoutEffect, useRef } from "./vendor/preact-htm.js";
import { NONE, byUnit, clock, day, isKnown, tick } from "./format.js";
import { themeKey } from "./state.js";
import { zoom } from "./route.js";

// A custom property is text; only as the colour of something it becomes one that a canvas takes.
const probe = document.createElement("i");
probe.hidden = true;
document.body.append(probe);
const colors = new Map();

function color(name) {
  const key = `${themeKey()} ${name}`;
  if (!colors.has(key)) {
    probe.style.color = `var(${name})`;
    colors.set(key, getComputedStyle(probe).color);
  }
  return colors.get(key);
}

const faded = (name) => color(name).replace("rgb(", "rgba(").replace(")", ", 0.13)");
const HEIGHT = 168;
// Pixels from a marker within which it is told, and within which several are drawn as one.
const NEAR = 6;
// Events on one chart; the newest.
const MAX_MARKS = 1000;
const Y_AXIS = 58;
const RIGHT = 16;
// Steps of an axis of sizes, bytes.
const BINARY = Array.from({ length: 46 }, (_, power) => 2 ** power);

// Deploys, troubles and the rest, by the stable names of events.
export function eventLevel(kind) {
  if (/reload|start|scale|restart|deploy|upgrade|config|stopp/.test(kind) && !/fail|rolled/.test(kind)) return "deploy";
  if (/exit|stall|crash|unhealthy|fail|firing|rolled|kill|memory|oom|problem/.test(kind)) return "bad";
  return "plain";
}

// Series of the API on one axis of time, seconds.
function align(lines) {
  const tables = lines.map(({ data }) => {
    const values = data?.values ?? [];
    const times = values.map((_, i) => ((data?.start_ms ?? 0) + i * (data?.step_ms ?? 1000)) / 1000);
    return [times, values];
  });
  if (tables.length === 0) return [[]];
  const same = tables.every((t) => t[0].length === tables[0][0].length && t[0][0] === tables[0][0][0]);
  if (same) return [tables[0][0], ...tables.map((t) => t[1])];
  return uPlot.join(tables.map((t) => [t[0], t[1]]));
}

// lines: { label, data: a series of the API, color, fill, dash }. marks: events. limit: { value, label }.
export function TimeChart({ title, unit, lines, marks = [], bounds, least = 0, most, note, hint }) {
  const box = useRef(null);
  const head = useRef(null);
  const held = useRef({});
  const theme = themeKey();
  const shape = lines.map((line) => line.label).join("|");
  const known = lines.some((line) => line.data?.values.some(isKnown));
  held.current.lines = lines;
  held.current.known = known;
  held.current.marks = marks;
  held.current.bounds = bounds;

  useLayoutEffect(() => {
    const chart = make(box.current, head.current, held.current, { unit, least, most });
    held.current.chart = chart;
    const watch = new ResizeObserver(() => {
      const width = box.current?.clientWidth ?? 0;
      if (width > 0 && width !== chart.width) chart.setSize({ width, height: HEIGHT });
    });
    watch.observe(box.current);
    return () => {
      watch.disconnect();
      chart.destroy();
    };
  }, [theme, shape, unit]);

  useEffect(() => {
    const { chart } = held.current;
    chart.batch(() => {
      chart.setData(align(lines), false);
      chart.setScale("x", { min: bounds[0] / 1000, max: bounds[1] / 1000 });
    });
    tell(chart, head.current, held.current, unit);
  });

  return html`<figure class="chart ${known ? "" : "nothing"}">
    <figcaption ref=${head}>
      <h3 title=${hint}>${title}</h3>
      <span class="when"></span>
      <div class="legend">
        ${lines.map(
          (line) => html`<span key=${line.label}
            ><svg viewBox="0 0 14 8" class="swatch" aria-hidden="true"
              ><line x1="0" x2="14" y1="4" y2="4" stroke=${`var(${line.color})`} stroke-width="2.5" stroke-dasharray=${line.dash ? "3 2" : null} /></svg
            >${line.label} <b>${NONE}</b></span
          >`,
        )}
      </div>
    </figcaption>
    <div class="plot" ref=${box} role="img" aria-label=${summary(title, lines, unit)}></div>
    ${!known && html`<p class="blank">${note ?? "Nothing was measured in this time."}</p>`}
  </figure>`;
}

// Charts side by side.
export function TimeCharts({ one = false, children }) {
  return html`<section class="over-time" aria-labelledby="over-time">
    <h2 id="over-time" class="unseen">Over time</h2>
    <div class="charts ${one ? "one" : ""}">${children}</div>
  </section>`;
}

function summary(title, lines, unit) {
  const show = byUnit(unit);
  const each = lines.map((line) => {
    const values = (line.data?.values ?? []).filter(isKnown);
    if (values.length === 0) return `${line.label}: not known`;
    const top = values.reduce((a, b) => Math.max(a, b));
    return `${line.label}: now ${show(values.at(-1))}, highest ${show(top)}`;
  });
  return `${title}. ${each.join("; ")}.`;
}

function make(box, head, held, { unit, least, most }) {
  const axis = { stroke: color("--dim"), font: `11px ${getComputedStyle(box).fontFamily}`, grid: { stroke: color("--grid"), width: 1 }, ticks: { show: false } };
  const series = held.lines.map((line) => ({
    label: line.label,
    stroke: color(line.color),
    width: 1.5,
    fill: line.fill ? faded(line.color) : undefined,
    dash: line.dash ? [4, 3] : undefined,
    points: { show: false },
    spanGaps: false,
  }));
  const options = {
    width: Math.max(200, box.clientWidth),
    height: HEIGHT,
    padding: [10, RIGHT, 0, 0],
    legend: { show: false },
    cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false }, points: { size: 6 }, y: false },
    scales: {
      x: { time: true },
      y: {
        range: (_, low, high) => {
          const top = Math.max(high ?? 0, held.lines.reduce((m, l) => Math.max(m, l.limit ?? 0), 0));
          return [Math.min(least, low ?? 0), most ?? (top > 0 ? top * 1.12 : 1)];
        },
      },
    },
    axes: [
      { ...axis, space: (_, __, min, max, width) => labelSpace(max - min, width), size: 26, values: (chart, ticks) => uncut(chart, ticks, times(ticks, held.bounds)) },
      { ...axis, size: Y_AXIS, space: 32, incrs: /bytes/.test(unit) ? BINARY : undefined, values: (_, ticks) => ticks.map((t) => (held.known ? tick(unit)(t) : "")) },
    ],
    series: [{}, ...series],
    hooks: {
      draw: [(chart) => drawMarks(chart, held.marks)],
      setCursor: [(chart) => tell(chart, head, held, unit)],
      setSelect: [
        (chart) => {
          if (chart.select.width < 4) return;
          const at = (left) => chart.posToVal(left, "x") * 1000;
          zoom(at(chart.select.left), at(chart.select.left + chart.select.width));
          chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        },
      ],
    },
  };
  return new uPlot(options, align(held.lines), box);
}

const showsDays = ([from, to]) => to - from > 36 * 3600_000;

// Pixels from one label to the next. Where half a minute would nearly fit, its label is the longer.
function labelSpace(seconds, width) {
  if (showsDays([0, seconds * 1000])) return 84;
  return (width * 60) / seconds > 92 ? 62 : 46;
}

// Without the labels that would be cut off at the right end, or touch the other axis' at the left.
function uncut(chart, ticks, labels) {
  const { min, max } = chart.scales.x;
  const scale = (chart.width - Y_AXIS - RIGHT) / (max - min);
  return labels.map((label, i) => {
    const half = label.length * 3.4;
    const fits = (max - ticks[i]) * scale + RIGHT >= half && (ticks[i] - min) * scale >= half - 6;
    return fits ? label : "";
  });
}

// Ticks by how much time is seen.
function times(ticks, [from, to]) {
  const days = showsDays([from, to]);
  const seconds = ticks.some((t) => t % 60 !== 0);
  return ticks.map((t) => (days ? day(t * 1000).slice(5) + (to - from < 4 * 86400_000 ? ` ${clock(t * 1000, false)}` : "") : clock(t * 1000, seconds)));
}

// The values under the cursor, or the newest.
function tell(chart, head, held, unit) {
  if (!head) return;
  const show = byUnit(unit);
  const at = chart.cursor.idx;
  const under = isKnown(at) && chart.cursor.left >= 0;
  const cells = head.querySelectorAll("b");
  held.lines.forEach((line, i) => {
    const values = chart.data[i + 1] ?? [];
    const value = under ? values[at] : newest(values);
    // The text is changed, not replaced: it is the renderer's.
    if (cells[i]) cells[i].firstChild.data = isKnown(value) ? show(value) : NONE;
  });
  const when = head.querySelector(".when");
  if (!when) return;
  const [near, others] = under ? markNear(chart, held.marks) : [null, 0];
  const time = under ? chart.data[0][at] * 1000 : null;
  const more = others > 0 ? ` (and ${others} more)` : "";
  when.textContent = near ? `${clock(near.time_ms)} ${near.kind}: ${near.text}${more}` : time ? clock(time) : "";
}

function newest(values) {
  for (let i = values.length - 1; i >= 0 && i >= values.length - 5; i -= 1) if (isKnown(values[i])) return values[i];
  return null;
}

function markNear(chart, marks) {
  let best = null;
  let distance = NEAR;
  let near = 0;
  for (const mark of marks.slice(-MAX_MARKS)) {
    const away = Math.abs(chart.valToPos(mark.time_ms / 1000, "x") - chart.cursor.left);
    if (away <= NEAR) near += 1;
    if (away <= distance) [best, distance] = [mark, away];
  }
  return [best, near - 1];
}

const MARK_COLORS = { bad: "--bad", deploy: "--accent", plain: "--faint" };
const MARK_STRENGTH = { bad: 0.5, deploy: 0.6, plain: 0.3 };
const WEIGHT = { plain: 0, deploy: 1, bad: 2 };

// Where lines go: events that would cover each other are one, of the weightiest kind.
function markLines(chart, marks) {
  const { bbox } = chart;
  const lines = [];
  for (const mark of marks.slice(-MAX_MARKS)) {
    const x = Math.round(chart.valToPos(mark.time_ms / 1000, "x", true));
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    const of = eventLevel(mark.kind);
    const last = lines.at(-1);
    if (!last || x - last.x >= NEAR * devicePixelRatio) lines.push({ x, of });
    else if (WEIGHT[of] > WEIGHT[last.of]) last.of = of;
  }
  return lines;
}

// A line for each; its head has another shape for each kind.
function drawMarks(chart, marks) {
  const { ctx, bbox } = chart;
  const dpr = devicePixelRatio;
  ctx.save();
  for (const { x, of } of markLines(chart, marks)) {
    ctx.strokeStyle = ctx.fillStyle = color(MARK_COLORS[of]);
    ctx.lineWidth = dpr;
    ctx.setLineDash(of === "deploy" ? [] : [3 * dpr, 3 * dpr]);
    ctx.globalAlpha = MARK_STRENGTH[of];
    ctx.beginPath();
    ctx.moveTo(x, bbox.top);
    ctx.lineTo(x, bbox.top + bbox.height);
    ctx.stroke();
    ctx.globalAlpha = 1;
    markHead(ctx, of, x, bbox.top - 4 * dpr, 3.5 * dpr);
  }
  ctx.restore();
}

function markHead(ctx, of, x, y, r) {
  ctx.beginPath();
  if (of === "bad") {
    ctx.moveTo(x - r, y - r);
    ctx.lineTo(x + r, y - r);
    ctx.lineTo(x, y + r);
  } else if (of === "deploy") ctx.rect(x - r, y - r, 2 * r, 2 * r);
  else ctx.arc(x, y, r * 0.7, 0, 7);
  ctx.closePath();
  ctx.fill();
}

// The last two minutes as a line.
export function Spark({ values, label, kind = "", width = 96, height = 22 }) {
  const known = values.filter(isKnown);
  if (known.length < 2) return html`<svg class="spark" viewBox="0 0 ${width} ${height}" aria-hidden="true"></svg>`;
  const top = known.reduce((a, b) => Math.max(a, b), 0) || 1;
  const step = width / Math.max(1, values.length - 1);
  let path = "";
  let pen = false;
  values.forEach((value, i) => {
    if (!isKnown(value)) {
      pen = false;
      return;
    }
    path += `${pen ? "L" : "M"}${(i * step).toFixed(1)} ${(height - 1.5 - (value / top) * (height - 3)).toFixed(1)}`;
    pen = true;
  });
  return html`<svg class="spark ${kind}" viewBox="0 0 ${width} ${height}" preserveAspectRatio="none" role="img" aria-label=${label}>
    <path d=${path} vector-effect="non-scaling-stroke" />
  </svg>`;
}

// How busy each worker's event loop was: a row a worker, a column each 2 s, taller and darker the
// busier. The rows share HEAT_HEIGHT pixels.
export function Heat({ workers, label }) {
  const canvas = useRef(null);
  const each = Math.max(2, Math.min(14, Math.floor(HEAT_HEIGHT / Math.max(1, workers.length))));
  const row = each > 3 ? each - 1 : each;
  useEffect(() => drawHeat(canvas.current, workers, row, each));
  const height = Math.max(1, workers.length) * each;
  return html`<canvas class="heat" ref=${canvas} height=${height} style=${{ height: `${height}px` }} role="img" aria-label=${label}></canvas>`;
}

const HEAT_STEPS = [
  [0.95, "--bad"],
  [0.8, "--warn"],
  [0.5, "--heat-3"],
  [0.2, "--heat-2"],
  [0, "--heat-1"],
];
const HEAT_COLUMNS = 60;
const HEAT_HEIGHT = 26;
// Workers that have a row of their own.
export const HEAT_ROWS = 13;

function drawHeat(canvas, workers, row, each) {
  const width = canvas.clientWidth;
  if (width === 0) return;
  const dpr = devicePixelRatio;
  canvas.width = width * dpr;
  canvas.height = workers.length * each * dpr;
  const ctx = canvas.getContext("2d");
  ctx.scale(dpr, dpr);
  const step = width / HEAT_COLUMNS;
  const colors = HEAT_STEPS.map(([from, name]) => [from, color(name)]);
  workers.forEach((worker, at) => {
    const values = worker.history.utilization;
    const y = at * each;
    ctx.fillStyle = color("--track");
    ctx.fillRect(0, y, width, row);
    for (let column = 0; column < HEAT_COLUMNS; column += 1) {
      const end = values.length - (HEAT_COLUMNS - 1 - column) * 2;
      const pair = values.slice(Math.max(0, end - 2), Math.max(0, end)).filter(isKnown);
      if (pair.length === 0) continue;
      const value = Math.max(...pair);
      const tall = Math.max(1.5, Math.min(1, value) * row);
      ctx.fillStyle = colors.find(([from]) => value >= from)[1];
      ctx.fillRect(column * step, y + row - tall, Math.max(1, step - 0.5), tall);
    }
  });
}
