// Requests that the process answers over HTTP/2, by the events of Node's own servers: their
// channels are younger than the Nodes that we serve. A server is met with its first connection,
// so nothing is loaded for apps that have none. HTTP/1 on such a server (`allowHTTP1`) comes by
// the channels of server.js.
//
// Absent: pushed streams, and extended CONNECT (WebSocket), which is no request with an answer.

const STREAM = Symbol('pando.stream');
// A client may say any word; each would be a row of its own.
const METHODS = new Set(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'CONNECT', 'TRACE', 'QUERY']);

class Exchange {
  constructor(headers, since) {
    const method = headers[':method'];
    this.method = METHODS.has(method) ? method : OTHER;
    this.url = headers[':path'] || '/';
    this.since = since;
    // The compatibility API's, which has a framework's marks.
    this.request = undefined;
  }
}

class Http2Server {
  constructor(router, now) {
    this.router = router;
    this.now = now;
    this.inFlight = 0;
    // Open ones, for the drain.
    this.sessions = new Set();
    // Servers that were met, and whether their `request` events are heard.
    this.servers = new WeakMap();
  }

  watch(channels, guard) {
    const begin = guard((message) => this.begin(message));
    const mark = guard((request) => this.mark(request));
    const end = guard((stream) => this.end(stream));
    const open = guard((session) => this.open(session));
    const closed = guard((session) => this.sessions.delete(session));
    this.onStream = function onStream(stream, headers) {
      begin({ server: this, stream, headers });
    };
    this.onRequest = function onRequest(request) {
      mark(request);
    };
    this.onClose = function onClose() {
      end(this);
    };
    this.onSession = function onSession(session) {
      open(session);
    };
    this.onSessionClose = function onSessionClose() {
      closed(this);
    };
    channels.channel('net.server.socket').subscribe(guard(({ socket }) => this.meet(socket.server)));
  }

  meet(server) {
    if (typeof server !== 'object' || server === null || this.servers.has(server)) return;
    const isHttp2 = typeof server.updateSettings === 'function';
    this.servers.set(server, !isHttp2);
    if (!isHttp2) return;
    server.prependListener('stream', this.onStream);
    server.prependListener('session', this.onSession);
  }

  // A server is met after its first session is open: that one is known by its first stream.
  open(session) {
    if (session === undefined || session.destroyed || this.sessions.has(session)) return;
    this.sessions.add(session);
    session.once('close', this.onSessionClose);
  }

  begin({ server, stream, headers }) {
    if (headers[':protocol'] !== undefined) return;
    // A listener of ours alone would turn the compatibility API on.
    if (this.servers.get(server) === false && server.listenerCount('request') > 0) {
      this.servers.set(server, true);
      server.prependListener('request', this.onRequest);
    }
    this.open(stream.session);
    stream[STREAM] = new Exchange(headers, this.now());
    stream.once('close', this.onClose);
    this.inFlight++;
  }

  mark(request) {
    const exchange = request.stream && request.stream[STREAM];
    if (exchange) exchange.request = request;
  }

  end(stream) {
    const exchange = stream[STREAM];
    if (exchange === undefined) return;
    stream[STREAM] = undefined;
    this.inFlight--;
    const ms = this.now() - exchange.since;
    const sent = stream.sentHeaders || {};
    const statusCode = sent[':status'] || 0;
    const row = this.row(exchange, { statusCode });
    if (statusCode >= 500) row.errors5xx++;
    else if (statusCode >= 400) row.errors4xx++;
    if (ms > STREAM_AFTER_MS && String(sent['content-type']).includes('text/event-stream')) {
      row.streams++;
      return;
    }
    if (stream.aborted || statusCode === 0) row.aborted++;
    row.latency.record(micros(ms));
  }

  row({ request, method, url }, response) {
    const known = request !== undefined && method !== OTHER;
    return this.router.row(known ? request : { method }, response, url);
  }
}

