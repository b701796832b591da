// Whose row a request is counted in. A framework that says which route it took is believed:
// Express, NestJS on it and restify by `req.route`, Fastify by a mark of its hook, Next.js by its
// own meta data. All others are folded.

class Row {
  constructor(method, name) {
    this.method = method;
    this.name = name;
    this.latency = new Histogram();
    this.errors4xx = 0;
    this.errors5xx = 0;
    this.aborted = 0;
    this.streams = 0;
    // Made by the folder alone, so it may go when its name is merged away.
    this.folded = false;
    this.stale = false;
  }

  isEmpty() {
    return this.latency.count === 0 && this.streams === 0;
  }

  text() {
    const name = `"method":${quote(this.method)},"route":${quote(this.name)}`;
    const errors = `"errors_4xx":${this.errors4xx},"errors_5xx":${this.errors5xx}`;
    const ends = `"aborted":${this.aborted},"streams":${this.streams}`;
    return `{${name},${errors},${ends},${this.latency.text()}}`;
  }

  clear() {
    this.latency.clear();
    this.errors4xx = this.errors5xx = this.aborted = this.streams = 0;
  }
}

class RouteTable {
  constructor() {
    this.rows = new Map();
    this.other = new Row('*', OTHER);
    this.unmatched = new Row('*', UNMATCHED);
  }

  row(method, name, folded = false) {
    const short = name.length > MAX_NAME ? name.slice(0, MAX_NAME) : name;
    const key = `${method} ${short}`;
    let row = this.rows.get(key);
    if (row === undefined) {
      if (this.rows.size >= MAX_ROUTES) return this.other;
      row = new Row(method, short);
      row.folded = folded;
      this.rows.set(key, row);
    }
    row.folded = row.folded && folded;
    row.stale = false;
    return row;
  }

  release(row) {
    if (row.folded) row.stale = true;
  }

  // Those with something to say; rows that nobody uses any more go.
  *busy() {
    for (const [key, row] of this.rows) {
      if (!row.isEmpty()) yield row;
      else if (row.stale) this.rows.delete(key);
    }
    if (!this.other.isEmpty()) yield this.other;
    if (!this.unmatched.isEmpty()) yield this.unmatched;
  }
}

// Set by the hook in fastify.js: the row of the request.
const MARK = Symbol('pando.route');
const NEXT_META = Symbol.for('NextInternalRequestMeta');

class Router {
  constructor() {
    this.table = new RouteTable();
    this.folder = new Folder(this.table);
    // The last row of each Express route, with the base path and method that it is for.
    this.express = new WeakMap();
    this.mounted = false;
  }

  // `url` is the target as it came, before any middleware changed it. What the app hung on its
  // request may throw; the request counts all the same.
  row(request, response, url) {
    try {
      return this.find(request, response, url);
    } catch (error) {
      fails('routes', error);
      return this.table.other;
    }
  }

  find(request, response, url) {
    const mark = request[MARK];
    if (mark !== undefined) return mark;
    const route = request.route;
    if (route !== undefined && route !== null && typeof route === 'object') {
      const row = this.ofExpress(request, route, response.statusCode, url);
      if (row !== undefined) return row;
    }
    const meta = request[NEXT_META];
    if (meta !== undefined) {
      const row = this.ofNext(request, meta);
      if (row !== undefined) return row;
    }
    if (response.statusCode === 404) return this.table.unmatched;
    return this.folder.row(request.method, url);
  }

  ofExpress(request, route, status, url) {
    let base = request.baseUrl;
    if (typeof base !== 'string') base = '';
    const method = request.method;
    // An error that a mounted router passed on is answered outside of it, where its base is gone.
    if (status >= 400) {
      if (isCatchAll(route.path) && status === 404) return this.table.unmatched;
      if (base === '' && this.mounted) base = lostBase(route.path, url);
    } else if (base !== '') {
      this.mounted = true;
    }
    const last = this.express.get(route);
    if (last !== undefined && last.base === base && last.method === method) return last.row;
    const pattern = patternText(route.path);
    if (pattern === undefined) return undefined;
    const name = foldedBase(base) + (base !== '' && pattern === '/' ? '' : pattern);
    const row = this.table.row(method, name || '/');
    this.express.set(route, { base, method, row });
    return row;
  }

  ofNext(request, meta) {
    const definition = meta.match && meta.match.definition;
    const name = definition && (definition.pathname || definition.page);
    if (typeof name !== 'string') return undefined;
    if (name === '/_not-found' || name === '/404' || name === '/_error') return this.table.unmatched;
    return this.table.row(request.method, name);
  }
}

// A mounted router's base has the values of its parameters (`/users/12` of `/users/:id`).
function foldedBase(base) {
  if (base === '') return '';
  const parts = base.split('/');
  for (let at = 0; at < parts.length; at++) {
    const digits = parts[at].replace(/\D/g, '').length;
    parts[at] = parts[at] === '' ? '' : placeholder(parts[at], digits) || parts[at];
  }
  return parts.join('/');
}

function patternText(path) {
  if (typeof path === 'string') return path.startsWith('/') || path === '' ? path : `/${path}`;
  if (path instanceof RegExp) return String(path);
  if (Array.isArray(path)) return path.map(patternText).filter(Boolean).join('|');
  return undefined;
}

function isCatchAll(path) {
  return typeof path === 'string' && /^\/?(?:\*\w*|\{?\/?\*\w+\}?|\(\.\*\)|:\w+\(\.\*\))$/.test(path);
}

// The base of a pattern whose segments are one each: what the path has before them.
function lostBase(pattern, url) {
  if (typeof pattern !== 'string' || /[*?({+]/.test(pattern)) return '';
  const end = url.indexOf('?');
  const path = (end < 0 ? url : url.slice(0, end)).split('/').filter(Boolean);
  const own = pattern.split('/').filter(Boolean).length;
  const before = path.slice(0, Math.max(0, path.length - own));
  return before.length === 0 ? '' : `/${before.join('/')}`;
}

