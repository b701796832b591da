// Histograms with the buckets of libs/histogram: 32 an octave, whole microseconds.

const SMALL_BUCKETS = 512; // up to 1 s; a slower one makes room for all
const BUCKETS = 36 * 32;
const MAX_VALUE = 2 ** 40 - 1;

function bucketOf(value) {
  if (value < 64) return value;
  if (value < 0x80000000) {
    const shift = 26 - Math.clz32(value);
    return shift * 32 + (value >>> shift);
  }
  const shift = 42 - Math.clz32(Math.floor(value / 65536));
  return shift * 32 + Math.floor(value / 2 ** shift);
}

class Histogram {
  constructor() {
    this.counts = new Uint32Array(SMALL_BUCKETS);
    // The lowest and the highest bucket in use.
    this.low = BUCKETS;
    this.high = -1;
    this.count = 0;
    this.sum = 0;
    this.max = 0;
  }

  record(value) {
    const bucket = bucketOf(value);
    if (bucket >= this.counts.length) this.grow();
    this.counts[bucket] += 1;
    if (bucket < this.low) this.low = bucket;
    if (bucket > this.high) this.high = bucket;
    this.count += 1;
    this.sum += value;
    if (value > this.max) this.max = value;
  }

  grow() {
    const counts = new Uint32Array(BUCKETS);
    counts.set(this.counts);
    this.counts = counts;
  }

  // As libs/histogram reads it, without the braces.
  text() {
    const pairs = [];
    for (let bucket = this.low; bucket <= this.high; bucket++) {
      const times = this.counts[bucket];
      if (times > 0) pairs.push(bucket, times);
    }
    return `"h":[${pairs.join(',')}],"s":${this.sum},"x":${this.max}`;
  }

  clear() {
    if (this.high >= 0) this.counts.fill(0, this.low, this.high + 1);
    this.low = BUCKETS;
    this.high = -1;
    this.count = this.sum = this.max = 0;
  }
}

// Milliseconds of a clock to whole microseconds; a clock that went back counts as 0.
function micros(ms) {
  if (!(ms > 0)) return 0;
  if (ms < 2e6) return (ms * 1000 + 0.5) | 0;
  return Math.min(Math.round(ms * 1000), MAX_VALUE);
}

