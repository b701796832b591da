// What the app asks of others: over HTTP by Node's own client and undici, which `fetch` is, and by
// the drivers that have tracing channels (ioredis from 5.11, mysql2). Nothing is done for those
// who ask nobody.

// Kind, channel, and what of the channel's context names the row beside the server.
const DRIVERS = [
  ['redis', 'tracing:ioredis:command', (context) => context.command],
  ['mysql', 'tracing:mysql2:query', (context) => verb(context.query)],
  ['mysql', 'tracing:mysql2:execute', (context) => verb(context.query)],
];

class Peer {
  constructor(kind, name) {
    this.kind = kind;
    this.name = name;
    this.latency = new Histogram();
    this.errors = 0;
  }

  text() {
    return `{"kind":${quote(this.kind)},"peer":${quote(this.name)},"errors":${this.errors},${this.latency.text()}}`;
  }

  clear() {
    this.latency.clear();
    this.errors = 0;
  }
}

class PeerTable {
  constructor() {
    this.peers = new Map();
    this.other = new Peer('*', OTHER);
  }

  peer(kind, name) {
    const key = `${kind} ${name}`;
    let peer = this.peers.get(key);
    if (peer === undefined) {
      if (this.peers.size >= MAX_PEERS) return this.other;
      peer = new Peer(kind, name);
      this.peers.set(key, peer);
    }
    return peer;
  }

  *busy() {
    for (const peer of this.peers.values()) if (peer.latency.count > 0) yield peer;
    if (this.other.latency.count > 0) yield this.other;
  }
}

class Outgoing {
  constructor(now) {
    this.now = now;
    this.table = new PeerTable();
    // When each began; a request that never ends costs nothing once it is collected.
    this.since = new WeakMap();
  }

  watch(channels, guard) {
    const on = (name, work) => channels.channel(name).subscribe(guard(work));
    const begin = ({ request }) => this.since.set(request, this.now());
    const fail = ({ request }) => this.end(request, request.getHeader('host'), true);
    on('http.client.request.start', tellsErrors() ? begin : this.beginner(begin, guard(fail)));
    on('http.client.response.finish', ({ request, response }) => {
      this.end(request, request.getHeader('host'), response.statusCode >= 500);
    });
    on('http.client.request.error', fail);
    const failed = new WeakSet();
    on('undici:request:create', begin);
    on('undici:request:headers', ({ request, response }) => {
      if (response.statusCode >= 500) failed.add(request);
    });
    on('undici:request:trailers', ({ request }) => this.end(request, origin(request), failed.has(request)));
    on('undici:request:error', ({ request }) => this.end(request, origin(request), true));
    for (const [kind, channel, what] of DRIVERS) {
      on(`${channel}:start`, (context) => this.since.set(context, this.now()));
      on(`${channel}:error`, (context) => failed.add(context));
      on(`${channel}:asyncEnd`, (context) => {
        this.end(context, `${place(context)} ${what(context)}`, failed.has(context), kind);
      });
    }
  }

  // A monitor of errors is no handler of them: what the app does not handle still ends it.
  beginner(begin, fail) {
    const { errorMonitor } = require('events');
    const failed = function failed() {
      fail({ request: this });
    };
    return (message) => {
      begin(message);
      message.request.once(errorMonitor, failed);
    };
  }

  end(request, peer, isError, kind = 'http') {
    const since = this.since.get(request);
    if (since === undefined) return;
    this.since.delete(request);
    const row = this.table.peer(kind, typeof peer === 'string' ? peer : OTHER);
    if (isError) row.errors++;
    row.latency.record(micros(this.now() - since));
  }
}

// Whether Node has a channel for errors of its client: surely from 22.12 on.
function tellsErrors() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  return major > 22 || (major === 22 && minor >= 12);
}

// `http://host:80` as `host:80`.
function origin(request) {
  return String(request.origin).replace(/^[a-z]+:\/\//, '');
}

// `127.0.0.1:3306`, or the path of a socket, which has no port.
function place({ serverAddress, serverPort }) {
  return serverPort === undefined ? serverAddress : `${serverAddress}:${serverPort}`;
}

// The first word of a statement: `SELECT`.
function verb(statement) {
  const word = /^\s*([a-z]+)/i.exec(String(statement));
  return word === null ? OTHER : word[1].toUpperCase();
}

