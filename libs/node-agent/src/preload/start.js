// Joins the parts and starts them, in the process that the supervisor started and in its worker
// threads; not in processes that it forks, which inherit NODE_OPTIONS.

const FD_VARIABLE = 'PANDO_AGENT_FD';
// Says whose environment it is: a thread has its process's, a child has its parent's.
const PID_VARIABLE = 'PANDO_AGENT_PID';
const THREAD_DATA = 'pando.agent.fd';

// Taken before the app can replace them.
const stringify = JSON.stringify;
const byteLength = Buffer.byteLength;
const memoryUsage = process.memoryUsage;

// JSON, cut to a name's length.
function quote(text) {
  const name = String(text);
  return stringify(name.length > MAX_NAME ? name.slice(0, MAX_NAME) : name);
}

// The inherited descriptor's number, taken out of the environment so that children do not see it.
function takeFd() {
  const { env } = process;
  const given = env[FD_VARIABLE];
  const own = String(process.pid);
  if (given === undefined && env[PID_VARIABLE] !== own) return undefined;
  let threads;
  startPart('threads', () => { threads = require('worker_threads'); });
  if (threads !== undefined && !threads.isMainThread) {
    return { fd: threads.getEnvironmentData(THREAD_DATA), thread: threads.threadId };
  }
  if (given === undefined) return undefined;
  delete env[FD_VARIABLE];
  env[PID_VARIABLE] = own;
  const fd = Number(given);
  if (threads !== undefined) threads.setEnvironmentData(THREAD_DATA, fd);
  return { fd, thread: 0 };
}

// Milliseconds of a monotonic clock, whatever the app did to the usual one.
function clock(hooks) {
  const performance = hooks.performance || globalThis.performance;
  try {
    const now = performance.now.bind(performance);
    if (now() >= 0) return now;
  } catch (error) {
    fails('clock', error);
  }
  const { hrtime } = process;
  return () => {
    const [seconds, ns] = hrtime();
    return seconds * 1e3 + ns / 1e6;
  };
}

// Reports what was counted since the last report. Nothing, while none are made.
let lastWords = () => {};

function startReports({ fd, thread }, { channels, timers, now, router, http2, hooks }) {
  const socket = new Socket(require('fs'), fd);
  if (!socket.isSocket) return;
  const server = new HttpServer(router, now);
  startPart('http-server', (guard) => server.watch(channels, guard));
  startPart('fastify', (guard) => new Fastify(router.table).watch(channels, guard));
  const outgoing = new Outgoing(now);
  startPart('outgoing', (guard) => outgoing.watch(channels, guard));
  const runtime = new Runtime(hooks, now);
  const reporter = new Reporter(socket, thread, { now, router, server, http2, runtime, outgoing });
  reporter.start(timers, Math.random);
  lastWords = () => reporter.lastWords();
  process.on('exit', lastWords);
}

function start() {
  const taken = takeFd();
  if (taken === undefined) return;
  const channels = require('diagnostics_channel');
  const { setTimeout, clearTimeout, setInterval, clearInterval } = require('timers');
  const timers = { setTimeout, clearTimeout, setInterval, clearInterval };
  const hooks = require('perf_hooks');
  const now = clock(hooks);
  const router = new Router();
  const http2 = new Http2Server(router, now);
  const parts = { channels, timers, now, router, http2, hooks };
  startPart('http2-server', (guard) => http2.watch(channels, guard));
  if (taken.thread === 0) {
    startPart('drain', () => {
      const isWorker = require('cluster').isWorker && typeof process.send === 'function';
      if (isWorker) listenForDrain(parts);
    });
  }
  if (Number.isInteger(taken.fd) && taken.fd > 2) startReports(taken, parts);
}

try {
  start();
} catch { /* the app runs without it */ }
