// Requests that the process answers, by the diagnostics channels of Node's HTTP/1 server. What is
// known of a request lies with its connection, since a connection has one at a time (pipelined
// ones wait in order); so a request costs no object, and a connection that closes early says
// itself which request was cut off.
//
// Upgraded requests (WebSocket) never come by these channels.

const CONNECTION = Symbol('pando.connection');
// Event streams stay open by design: the time of one that lasted longer is no latency.
const STREAM_AFTER_MS = 1000;
// Pipelined requests that are kept apart on one connection.
const MAX_PIPELINED = 1000;

class Connection {
  constructor() {
    this.request = null;
    this.response = null;
    this.url = '';
    this.since = 0.5;
    this.waiting = null;
  }

  begin(request, response, since) {
    this.request = request;
    this.response = response;
    this.url = request.url;
    this.since = since;
  }

  // The next one that was pipelined, if any.
  next() {
    const next = this.waiting === null ? undefined : this.waiting.shift();
    if (next === undefined) {
      this.request = this.response = null;
      this.waiting = null;
    } else {
      this.begin(next.request, next.response, next.since);
    }
  }
}

class HttpServer {
  constructor(router, now) {
    this.router = router;
    this.now = now;
    this.inFlight = 0;
  }

  watch(channels, guard) {
    const start = guard((message) => this.start(message));
    const finish = guard((message) => this.finish(message));
    const closed = guard((connection) => this.closed(connection));
    // Shared by all connections.
    this.onClose = function onClose() {
      closed(this[CONNECTION]);
    };
    channels.channel('http.server.request.start').subscribe(start);
    channels.channel('http.server.response.finish').subscribe(finish);
  }

  start(message) {
    const socket = message.socket;
    let connection = socket[CONNECTION];
    if (connection === undefined) {
      connection = socket[CONNECTION] = new Connection();
      socket.on('close', this.onClose);
    }
    if (connection.request === null) {
      connection.begin(message.request, message.response, this.now());
    } else {
      connection.waiting = connection.waiting || [];
      if (connection.waiting.length >= MAX_PIPELINED) return;
      const { request, response } = message;
      connection.waiting.push({ request, response, since: this.now() });
    }
    this.inFlight++;
  }

  finish(message) {
    const connection = message.socket[CONNECTION];
    // One that began before we listened, or was too many, is not known.
    if (connection === undefined || connection.request !== message.request) return;
    this.count(message.request, message.response, connection, false);
  }

  closed(connection) {
    if (connection === undefined) return;
    for (let left = MAX_PIPELINED; connection.request !== null && left > 0; left--) {
      this.count(connection.request, connection.response, connection, true);
    }
  }

  count(request, response, connection, aborted) {
    const ms = this.now() - connection.since;
    const url = connection.url;
    connection.next();
    this.inFlight--;
    const row = this.router.row(request, response, url);
    const status = response.statusCode;
    if (status >= 400) {
      if (status >= 500) row.errors5xx++;
      else row.errors4xx++;
    }
    if (ms > STREAM_AFTER_MS && isEventStream(response)) {
      row.streams++;
      return;
    }
    if (aborted) row.aborted++;
    row.latency.record(micros(ms));
  }
}

function isEventStream(response) {
  const type = response.getHeader('content-type');
  // Headers given to writeHead directly are in the text alone.
  const text = type === undefined ? response._header : type;
  return typeof text === 'string' && text.toLowerCase().includes('text/event-stream');
}

