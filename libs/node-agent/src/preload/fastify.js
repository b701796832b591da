// Fastify, and NestJS on it: an instance says of itself when it is made, and a hook marks each
// request with the row of the route that took it. The patterns of routes are not in the raw
// request, where all other frameworks leave them.

class Fastify {
  constructor(table) {
    this.table = table;
  }

  watch(channels, guard) {
    channels.channel('fastify.initialization').subscribe(guard(({ fastify }) => {
      const mark = guard((request) => this.mark(request));
      // The hook of the root is that of every plugin below it.
      fastify.addHook('onRequest', (request, reply, done) => {
        mark(request);
        done();
      });
    }));
  }

  mark(request) {
    const options = request.routeOptions;
    const url = options === undefined ? request.routerPath : options.url;
    if (typeof url === 'string') request.raw[MARK] = this.table.row(request.method, url);
    else if (request.is404) request.raw[MARK] = this.table.unmatched;
  }
}

