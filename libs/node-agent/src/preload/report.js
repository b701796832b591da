// One report a second, as a datagram. What could not be sent stays where it is counted and goes
// with the next one, so a reader that is late or away costs resolution and no counts.

const VERSION = 1;
const EVERY_MS = 1000;
// Below the reader's limit and the socket's buffer; rows beyond it wait for the next report.
const MAX_BYTES = 100 * 1024;
// What is tried after a report that was too long for the socket.
const MIN_BYTES = 4 * 1024;

class Reporter {
  constructor(socket, thread, parts) {
    this.socket = socket;
    this.thread = thread;
    this.parts = parts;
    this.dropped = 0;
    this.maxBytes = MAX_BYTES;
    this.last = parts.now();
    this.node = quote(process.versions.node);
    this.turn = 0;
  }

  // Phases are spread, so that many workers do not report at the same instant.
  start(timers, random) {
    const tick = () => this.tick();
    const every = () => {
      tick();
      this.timer = timers.setInterval(tick, EVERY_MS);
      this.timer.unref();
    };
    const second = () => {
      tick();
      this.timer = timers.setTimeout(every, EVERY_MS * (0.5 + random()));
      this.timer.unref();
    };
    this.timer = timers.setTimeout(second, EVERY_MS);
    this.timer.unref();
    this.stop = () => timers.clearTimeout(this.timer);
  }

  // A report that throws is left out: what it was about goes with the next one that does not.
  tick() {
    broken.delete('report');
    try {
      const { text, rows } = this.build();
      this.send(text, rows);
    } catch (error) {
      fails('report', error);
      if (this.socket.write(this.bareText()) === 'gone') this.stop();
    }
  }

  // At the end: what nobody was told of yet, if there is anything.
  lastWords() {
    try {
      const { router, outgoing } = this.parts;
      const isTold = (table) => table.busy().next().done;
      if (!isTold(router.table) || !isTold(outgoing.table)) this.tick();
    } catch (error) {
      fails('report', error);
    }
  }

  // Nothing but that something is wrong.
  bareText() {
    return `{"v":${VERSION},"thread":${this.thread},"node":${this.node}${brokenText()}}`;
  }

  build() {
    const { runtime, server, http2, now } = this.parts;
    this.seen = now();
    const took = decimal(this.seen - this.last);
    const head = `"v":${VERSION},"thread":${this.thread},"node":${this.node},"took_ms":${took}`;
    const measured = runtime.text();
    const inFlight = (broken.has('http-server') ? 0 : server.inFlight) + (broken.has('http2-server') ? 0 : http2.inFlight);
    const numbers = `"in_flight":${Math.max(0, inFlight)},"dropped":${this.dropped}${brokenText()}`;
    const fixed = `{${head},${measured === '' ? '' : `${measured},`}${numbers}`;
    const rows = [];
    const budget = { left: this.maxBytes - fixed.length };
    const routes = this.rows(this.parts.router.table, budget, rows);
    const outgoing = this.rows(this.parts.outgoing.table, budget, rows);
    return { text: `${fixed},"routes":[${routes}],"outgoing":[${outgoing}]}`, rows };
  }

  // Those that find room; which come first changes from report to report.
  rows(table, budget, taken) {
    const busy = [...table.busy()];
    const texts = [];
    this.turn++;
    for (let at = 0; at < busy.length; at++) {
      const row = busy[(at + this.turn) % busy.length];
      const text = row.text();
      const bytes = byteLength(text) + 1;
      if (bytes > budget.left) break;
      budget.left -= bytes;
      texts.push(text);
      taken.push(row);
    }
    return texts.join(',');
  }

  send(text, rows) {
    const sent = this.socket.write(text);
    if (sent === 'full') {
      this.dropped++;
      return;
    }
    if (sent === 'long') {
      this.dropped++;
      this.maxBytes = Math.max(MIN_BYTES, this.maxBytes >> 1);
      return;
    }
    if (sent !== 'sent') {
      this.stop();
      return;
    }
    for (const row of rows) row.clear();
    this.parts.runtime.clear();
    this.dropped = 0;
    this.last = this.seen;
  }
}

// Node's `realpathSync` stops at a link if the last plain `stat` of anybody was of a socket or a pipe
// (its `statValues`), and the app would load its modules under wrong names. This one leaves nothing there.
const BIGINT = { bigint: true };

// The inherited descriptor. It is written to only while it still is the socket that it was: an
// app may close it, and another file may get its number.
class Socket {
  constructor(fs, fd) {
    this.fstat = fs.fstatSync;
    this.writeSync = fs.writeSync;
    this.fd = fd;
    const stat = this.fstat(fd, BIGINT);
    this.ino = stat.ino;
    this.isSocket = stat.isSocket();
  }

  write(text) {
    try {
      if (this.fstat(this.fd, BIGINT).ino !== this.ino) return 'gone';
      this.writeSync(this.fd, text);
      return 'sent';
    } catch (error) {
      switch (error && error.code) {
        case 'EAGAIN':
        case 'ENOBUFS':
        case 'ENOMEM':
        case 'EINTR':
          return 'full';
        case 'EMSGSIZE':
          return 'long';
        default:
          return 'gone';
      }
    }
  }
}

