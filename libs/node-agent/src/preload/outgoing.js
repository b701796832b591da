// What the app asks of others over HTTP: Node's own client and undici, which `fetch` is. Nothing
// is done for those who ask nobody.

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
    this.other = new Peer('http', OTHER);
  }

  peer(name) {
    let peer = this.peers.get(name);
    if (peer === undefined) {
      if (this.peers.size >= MAX_PEERS) return this.other;
      peer = new Peer('http', name);
      this.peers.set(name, peer);
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
    on('http.client.request.start', begin);
    on('http.client.response.finish', ({ request, response }) => {
      this.end(request, request.getHeader('host'), response.statusCode >= 500);
    });
    on('http.client.request.error', ({ request }) => this.end(request, request.getHeader('host'), true));
    const failed = new WeakSet();
    on('undici:request:create', begin);
    on('undici:request:headers', ({ request, response }) => {
      if (response.statusCode >= 500) failed.add(request);
    });
    on('undici:request:trailers', ({ request }) => this.end(request, origin(request), failed.has(request)));
    on('undici:request:error', ({ request }) => this.end(request, origin(request), true));
  }

  end(request, peer, isError) {
    const since = this.since.get(request);
    if (since === undefined) return;
    this.since.delete(request);
    const row = this.table.peer(typeof peer === 'string' ? peer : OTHER);
    if (isError) row.errors++;
    row.latency.record(micros(this.now() - since));
  }
}

// `http://host:80` as `host:80`.
function origin(request) {
  return String(request.origin).replace(/^[a-z]+:\/\//, '');
}

