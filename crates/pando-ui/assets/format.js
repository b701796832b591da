// Numbers, sizes and times as the `pando` commands write them. Every function takes what the API
// sends and gives NONE for what is not known.

export const NONE = "–";
export const isKnown = (value) => value !== null && value !== undefined && Number.isFinite(value);

// Three digits, no exponent: 0.042, 8.31, 84.2, 812.
function digits(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.01) return value.toFixed(3);
  if (size < 9.995) return value.toFixed(2);
  if (size < 99.95) return value.toFixed(1);
  return Math.round(value).toString();
}

export function count(value) {
  if (!isKnown(value)) return NONE;
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 10_000) return String(value);
  if (size < 10_000) return digits(value);
  if (size < 999_500) return `${digits(value / 1e3)}k`;
  if (size < 999.5e6) return `${digits(value / 1e6)}M`;
  return `${digits(value / 1e9)}G`;
}

export const rate = (value) => (isKnown(value) ? `${count(value)}/s` : NONE);

// From microseconds.
export function duration(us) {
  if (!isKnown(us)) return NONE;
  if (us < 999.5) return us === 0 ? "0 ms" : `${digits(us)} µs`;
  if (us < 999_500) return `${digits(us / 1e3)} ms`;
  if (us < 60e6) return `${digits(us / 1e6)} s`;
  return `${digits(us / 60e6)} min`;
}

// A KB is 1024 B, as in `memory = "512M"`.
export function bytes(value) {
  if (!isKnown(value)) return NONE;
  const units = ["B", "KB", "MB", "GB", "TB"];
  let unit = 0;
  let size = value;
  while (Math.abs(size) >= 999.5 && unit + 1 < units.length) {
    size /= 1024;
    unit += 1;
  }
  if (unit === 0) return `${Math.round(size)} B`;
  return `${Math.abs(size) < 99.95 ? size.toFixed(1) : Math.round(size)} ${units[unit]}`;
}

export const bytesPerSecond = (value) => (isKnown(value) ? `${bytes(value)}/s` : NONE);

export function percent(value) {
  if (!isKnown(value)) return NONE;
  if (Math.abs(value) < 0.05) return "0%";
  return `${Math.abs(value) < 9.95 ? value.toFixed(1) : Math.round(value)}%`;
}

// From 0 to 1.
export const share = (value) => (isKnown(value) ? percent(value * 100) : NONE);

// From milliseconds, the two largest units: 3d 4h.
export function span(ms) {
  if (!isKnown(ms)) return NONE;
  const s = Math.max(0, Math.floor(ms / 1000));
  const units = [
    [Math.floor(s / 86400), "d"],
    [Math.floor(s / 3600) % 24, "h"],
    [Math.floor(s / 60) % 60, "m"],
    [s % 60, "s"],
  ];
  const first = units.findIndex(([n]) => n > 0);
  if (first < 0) return "0s";
  const shown = units.slice(first, first + 2).filter(([n]) => n > 0);
  return shown.map(([n, unit]) => `${n}${unit}`).join(" ");
}

const two = (n) => String(n).padStart(2, "0");

export function clock(ms, withSeconds = true) {
  const d = new Date(ms);
  const time = `${two(d.getHours())}:${two(d.getMinutes())}`;
  return withSeconds ? `${time}:${two(d.getSeconds())}` : time;
}

export function day(ms) {
  const d = new Date(ms);
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())}`;
}

// The time alone today, with the date otherwise.
export const moment = (ms, now) => (day(ms) === day(now) ? clock(ms) : `${day(ms)} ${clock(ms)}`);

export const plural = (n, word, many = `${word}s`) => `${count(n)} ${n === 1 ? word : many}`;

const BY_UNIT = {
  us: duration,
  bytes,
  percent,
  ratio: share,
  per_s: rate,
  bytes_per_s: bytesPerSecond,
};

export const byUnit = (unit) => BY_UNIT[unit] ?? count;

// For the ticks of an axis: without zeros that say nothing.
export const tick = (unit) => (value) => byUnit(unit)(value).replace(/\.0+(?=\D|$)|(\.\d*[1-9])0+(?=\D|$)/, "$1");
