// Loaded before the agent: turns all that the agent does on and off in one process, and writes what
// a request cost in each slice of time. Two processes of one program differ by some percent for as
// long as they live (how V8 compiled, when it collects); slices of one process do not.
//
// Standard output gets `{"on": [us a request, ...], "off": [...]}`, in the order measured.
'use strict';
const channels = require('diagnostics_channel');
const hooks = require('perf_hooks');
const timers = require('timers');
const { setTimeout, setInterval } = timers;

const SLICE_MS = 1000; // the agent reports once in each
const SLICES = Number(process.env.SLICES);
const WARM_UP = 4;

let on = true;
const switches = [];

const { subscribe } = channels.Channel.prototype;
channels.Channel.prototype.subscribe = function noted(heard) {
  const { name } = this;
  switches.push(() => (on ? channels.channel(name).subscribe(heard) : channels.channel(name).unsubscribe(heard)));
  return subscribe.call(this, heard);
};

const { monitorEventLoopDelay, PerformanceObserver } = hooks;
const replace = (name, value) => Object.defineProperty(hooks, name, { value });
replace('monitorEventLoopDelay', (options) => {
  const histogram = monitorEventLoopDelay(options);
  switches.push(() => (on ? histogram.enable() : histogram.disable()));
  return histogram;
});
replace('PerformanceObserver', class extends PerformanceObserver {
  observe(options) {
    switches.push(() => (on ? super.observe(options) : this.disconnect()));
    super.observe(options);
  }
});

timers.setInterval = (work, ms) => setInterval(() => on && work(), ms);

function measure() {
  const { benchServed } = process;
  // After the agent's: what the app itself subscribes is no part of it.
  channels.Channel.prototype.subscribe = subscribe;
  const us = { on: [], off: [] };
  let slice = -WARM_UP;
  let served;
  let cpu;
  const begin = () => {
    // On, off, off, on: a drift falls on both alike.
    const now = (slice & 3) === 0 || (slice & 3) === 3;
    if (now !== on) {
      on = now;
      for (const turn of switches) turn();
    }
    served = benchServed.count;
    cpu = process.cpuUsage();
    setTimeout(end, SLICE_MS);
  };
  const end = () => {
    const { user, system } = process.cpuUsage(cpu);
    const count = benchServed.count - served;
    if (slice >= 0 && count > 0) us[on ? 'on' : 'off'].push((user + system) / count);
    slice++;
    if (slice < SLICES) begin();
    else process.stdout.write(`${JSON.stringify(us)}\n`);
  };
  begin();
}
setTimeout(measure, 2 * SLICE_MS);
