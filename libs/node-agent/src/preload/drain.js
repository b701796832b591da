// The end of a cluster's worker: told to drain, it lets every answer say `Connection: close`, and
// when no connection is left the supervisor hears of it.

const LOOK_EVERY_MS = 20;
// A connection on which nothing was ever sent (a browser's preconnect) is closed after this:
// no request can be lost with it, and Node itself would wait a minute for its first byte.
const SILENT_MS = 1000;

// Between the notice that an HTTP/2 connection takes no more requests and its closing: those that
// the client sent before it read the notice still come.
const NOTICE_MS = 1000;
const LAST_STREAM = 2 ** 31 - 1;

// Connections of servers that are neither upgraded (WebSocket) nor outgoing.
function isOpen(handle) {
  return handle && handle.server && !handle.destroyed && typeof handle.server.getConnections === 'function'
    && !(handle.parser === null && handle._httpMessage === undefined);
}

// One with an answer under way.
function isBusy(handle) {
  return isOpen(handle) && Boolean(handle._httpMessage);
}

function sayClose(response) {
  try {
    if (!response.headersSent) response.setHeader('Connection', 'close');
    response.shouldKeepAlive = false;
  } catch { /* headers are out: the next answer closes it */ }
}

function closeSilent() {
  for (const handle of process._getActiveHandles()) {
    if (isOpen(handle) && handle.bytesRead === 0) handle.destroy();
  }
}

// Tells HTTP/2 clients to go elsewhere, then closes their connections once the answers are out.
class Goodbye {
  constructor() {
    this.told = new WeakMap();
  }

  say(sessions, now) {
    for (const session of sessions) {
      if (session.closed || session.destroyed) continue;
      const told = this.told.get(session);
      if (told === undefined) {
        this.told.set(session, now);
        session.goaway(0, LAST_STREAM);
      } else if (now - told > NOTICE_MS) {
        session.close();
      }
    }
  }
}

function tellPrimary(body) {
  try {
    if (process.connected) process.send({ cmd: 'NODE_PANDO', ...body }, () => {});
  } catch { /* the channel is closing: nobody is there to hear it */ }
}

// `quick`: only answers under way are waited for, not clients that keep a connection idle.
function drain({ channels, timers, http2 }, signal, quick) {
  channels.channel('http.server.request.start').subscribe(({ response }) => sayClose(response));
  // Answers under way whose headers are not out yet.
  for (const handle of process._getActiveHandles()) {
    const response = handle && handle.server && handle._httpMessage;
    if (response && !response.headersSent) sayClose(response);
  }
  const began = Date.now();
  const goodbye = new Goodbye();
  const look = timers.setInterval(() => {
    let open = 1;
    try {
      goodbye.say(http2.sessions, Date.now());
      if (Date.now() - began > SILENT_MS) closeSilent();
      open = process._getActiveHandles().filter(quick ? isBusy : isOpen).length + http2.inFlight;
    } catch { /* the time limit ends the drain */ }
    if (open > 0) return;
    timers.clearInterval(look);
    // The signal that follows may end the process at once.
    lastWords();
    tellPrimary({ act: 'drained', handlesSignal: process.listenerCount(signal) > 0 });
  }, LOOK_EVERY_MS);
  look.unref();
}

function listenForDrain(parts) {
  let draining = false;
  process.on('internalMessage', (message) => {
    if (!message || message.cmd !== 'NODE_PANDO' || message.act !== 'drain' || draining) return;
    draining = true;
    try {
      drain(parts, message.signal, message.quick);
    } catch {
      tellPrimary({ act: 'drained', handlesSignal: false });
    }
  });
  tellPrimary({ act: 'hello' });
}

