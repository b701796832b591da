// Names for requests to servers that have no router that we know: the path, with what looks like
// an identifier replaced, and siblings merged when they get too many.
//
// The paths seen so far are a trie of segments. A node with more than `MAX_SIBLINGS` literal
// children loses them all to one `*`.

const MAX_SIBLINGS = 20;
const MAX_DEPTH = 12;
const MAX_SEGMENT = 64;
const MAX_NODES = 2000;
// Literal paths that are found without a walk.
const MAX_KNOWN_PATHS = 500;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
const ULID = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/i;
const HEX = /^(?:0x)?[0-9a-f]{8,}$/i;
const DATE = /^\d{4}-\d{2}-\d{2}(?:T[\d:.]+(?:Z|[+-]\d{2}:?\d{2})?)?$/;
const EMAIL = /^[^@]+(?:@|%40)[^@]+\.[^@]+$/i;
const LONG_MIXED = 16;

const SLASH = 47;
const QUESTION = 63;
const HASH = 35;

// What a segment stands for, or undefined if it is a word. `digits` is how many of its characters
// are digits: a segment without any is looked at only if it could be an address or a long token.
function placeholder(segment, digits) {
  const length = segment.length;
  if (digits === length) return ':id';
  if (length > MAX_SEGMENT) return ':id';
  if (segment.includes('@') || segment.includes('%40')) return EMAIL.test(segment) ? ':email' : undefined;
  if (digits === 0) return undefined;
  if (length >= 10 && DATE.test(segment)) return ':date';
  if (length >= 8 && HEX.test(segment)) return ':id';
  if (length === 36 && UUID.test(segment)) return ':id';
  if (length === 26 && ULID.test(segment)) return ':id';
  // Letters and several digits without a word's separators: a token.
  if (length >= LONG_MIXED && digits >= 3 && !segment.includes('.')) return ':id';
  return undefined;
}

class Node {
  constructor(name, parent) {
    this.name = name;
    this.parent = parent;
    this.words = new Map(); // literal children
    this.holes = new Map(); // children by placeholder, `*` among them
    this.rows = new Map(); // by method
  }

  path() {
    if (this.parent === null) return '';
    return `${this.parent.path()}/${this.name}`;
  }
}

class Folder {
  constructor(table) {
    this.table = table;
    this.root = new Node('', null);
    this.nodes = 1;
    this.known = new Map();
  }

  // The row of a request to `url`.
  row(method, url) {
    const known = this.known.get(url);
    if (known !== undefined) return this.at(known, method);
    return this.at(this.walk(url), method);
  }

  at(node, method) {
    let row = node.rows.get(method);
    if (row === undefined) {
      row = this.table.row(method, node.path() || '/', true);
      node.rows.set(method, row);
    }
    return row;
  }

  walk(url) {
    let node = this.root;
    let from = 0;
    let depth = 0;
    let literal = true;
    const length = url.length;
    // An absolute-form target (`GET http://host/path`) has its path after the authority.
    if (url.charCodeAt(0) !== SLASH) from = Math.max(0, pathStart(url));
    for (let at = from, digits = 0; at <= length; at++) {
      const code = at < length ? url.charCodeAt(at) : QUESTION;
      if (code >= 48 && code <= 57) {
        digits++;
        continue;
      }
      const ends = code === QUESTION || code === HASH;
      if (code !== SLASH && !ends) continue;
      if (at > from) {
        const next = depth < MAX_DEPTH ? this.child(node, url.slice(from, at), digits) : node;
        literal = literal && next.literal === true;
        node = next;
        depth++;
      }
      if (ends) {
        if (at < length) literal = false;
        break;
      }
      from = at + 1;
      digits = 0;
    }
    if (literal && this.known.size < MAX_KNOWN_PATHS) this.known.set(url, node);
    return node;
  }

  child(node, segment, digits) {
    const known = node.words.get(segment);
    if (known !== undefined) return known;
    const hole = placeholder(segment, digits);
    if (hole !== undefined) return this.hole(node, hole);
    const merged = node.holes.get('*');
    if (merged !== undefined) return merged;
    if (node.words.size >= MAX_SIBLINGS || this.nodes >= MAX_NODES) return this.merge(node);
    const word = new Node(segment, node);
    word.literal = true;
    node.words.set(segment, word);
    this.nodes++;
    return word;
  }

  hole(node, name) {
    let child = node.holes.get(name);
    if (child === undefined) {
      child = new Node(name, node);
      node.holes.set(name, child);
      this.nodes++;
    }
    return child;
  }

  // The literal children are forgotten; what is counted of them already stays theirs.
  merge(node) {
    for (const word of node.words.values()) this.forget(word);
    node.words.clear();
    this.known.clear();
    return this.hole(node, '*');
  }

  forget(node) {
    this.nodes--;
    for (const row of node.rows.values()) this.table.release(row);
    for (const child of node.words.values()) this.forget(child);
    for (const child of node.holes.values()) this.forget(child);
  }
}

function pathStart(url) {
  const scheme = url.indexOf('://');
  if (scheme < 0) return 0;
  const slash = url.indexOf('/', scheme + 3);
  return slash < 0 ? url.length : slash;
}

