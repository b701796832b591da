// What Node knows of its own process or thread: event-loop delay and utilization, garbage
// collections, the heap, handles. Everything is read when a report is made; only collections are
// told as they happen.

// A finer timer costs an idle app more; a stall shows at most this much too short.
const DELAY_RESOLUTION_MS = 20;
// Listing the handles takes longer with each open connection; a list that took longer is
// made only every tenth time.
const HANDLES_MAX_MS = 0.5;
const HANDLES_PAUSE = 10;

const GC_KINDS = new Map([[1, 'minor'], [2, 'minor'], [4, 'major'], [8, 'incremental'], [16, 'weak_callbacks']]);

class Delay {
  constructor(hooks) {
    this.histogram = hooks.monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS });
    this.histogram.enable();
  }

  // Each sample is the time between two runs of a timer that is due every `DELAY_RESOLUTION_MS`:
  // what is beyond that is how late it was.
  text() {
    const { histogram } = this;
    if (histogram.max === 0 || !Number.isFinite(histogram.mean)) return 'null';
    const late = (ns) => Math.max(0, Math.round(ns / 1e3 - DELAY_RESOLUTION_MS * 1e3));
    const p50 = late(histogram.percentile(50));
    const p99 = late(histogram.percentile(99));
    return `{"mean_us":${late(histogram.mean)},"p50_us":${p50},"p99_us":${p99},"max_us":${late(histogram.max)}}`;
  }

  clear() {
    this.histogram.reset();
  }
}

class Utilization {
  constructor(performance) {
    this.read = performance.eventLoopUtilization.bind(performance);
    this.last = this.read();
    this.seen = this.last;
  }

  text() {
    this.seen = this.read();
    const active = this.seen.active - this.last.active;
    const idle = this.seen.idle - this.last.idle;
    return `"active_ms":${decimal(active)},"idle_ms":${decimal(idle)}`;
  }

  clear() {
    this.last = this.seen;
  }
}

class Collections {
  constructor(hooks, guard) {
    this.kinds = { minor: null, major: null, incremental: null, weak_callbacks: null };
    this.clear();
    this.floor = undefined;
    const heard = guard((list) => {
      for (const entry of list.getEntries()) this.count(entry);
    });
    this.observer = new hooks.PerformanceObserver(heard);
    this.observer.observe({ entryTypes: ['gc'] });
  }

  count(entry) {
    const number = entry.detail ? entry.detail.kind : entry.kind;
    const kind = GC_KINDS.get(number);
    if (kind === undefined) return;
    const pauses = this.kinds[kind];
    const us = micros(entry.duration);
    pauses.count++;
    pauses.total_us += us;
    if (us > pauses.max_us) pauses.max_us = us;
    // Heard right after it, before the app could fill the heap much again.
    if (kind === 'major') this.floor = memoryUsage().heapUsed;
  }

  text() {
    return stringify(this.kinds);
  }

  clear() {
    for (const kind of Object.keys(this.kinds)) this.kinds[kind] = { count: 0, total_us: 0, max_us: 0 };
  }
}

class Handles {
  constructor(now) {
    this.now = now;
    this.count = 0;
    this.pause = 0;
  }

  read() {
    if (typeof process.getActiveResourcesInfo !== 'function') return 0;
    if (this.pause > 0) {
      this.pause--;
      return this.count;
    }
    const began = this.now();
    this.count = process.getActiveResourcesInfo().length;
    if (this.now() - began > HANDLES_MAX_MS) this.pause = HANDLES_PAUSE;
    return this.count;
  }
}

class Runtime {
  constructor(hooks, now) {
    startPart('event-loop-delay', () => { this.delay = new Delay(hooks); });
    startPart('event-loop-utilization', () => { this.utilization = new Utilization(hooks.performance); });
    startPart('gc', (guard) => { this.collections = new Collections(hooks, guard); });
    this.handles = new Handles(now);
    this.limit = askPart('heap', () => require('v8').getHeapStatistics().heap_size_limit) || 0;
  }

  // What throws is left out.
  text() {
    const { delay, utilization, collections } = this;
    const parts = [
      delay && askPart('event-loop-delay', () => `"delay":${delay.text()}`),
      utilization && askPart('event-loop-utilization', () => utilization.text()),
      collections && `"gc":${collections.text()}`,
      askPart('heap', () => `"heap":${this.heapText()}`),
      askPart('handles', () => `"handles":${this.handles.read()}`),
    ];
    return parts.filter(Boolean).join(',');
  }

  heapText() {
    const memory = memoryUsage();
    const floor = this.collections && this.collections.floor;
    return stringify({
      used_bytes: memory.heapUsed,
      total_bytes: memory.heapTotal,
      limit_bytes: this.limit,
      floor_bytes: floor,
      external_bytes: memory.external,
      array_buffers_bytes: memory.arrayBuffers || 0,
    });
  }

  clear() {
    if (this.delay) askPart('event-loop-delay', () => this.delay.clear());
    if (this.utilization) this.utilization.clear();
    if (this.collections) this.collections.clear();
  }
}

function decimal(number) {
  return number > 0 ? Math.round(number * 1000) / 1000 : 0;
}

