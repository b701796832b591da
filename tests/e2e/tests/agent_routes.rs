//! By which names the preload counts requests of frameworks: each request of a table is made three
//! times, and every row must be one of the table with its exact count.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use anyhow::ensure;
use e2e::http::Connection;
use e2e::{Preloaded, local, npm, port, wait};

const TIMES: u64 = 3;

/// Requests as `GET /path`, and the row `method route` of each.
type Table = [(&'static str, &'static str)];

fn ask(server: SocketAddr, table: &Table) -> anyhow::Result<()> {
    let mut connection = Connection::open(server)?;
    for (request, _) in table {
        for _ in 0..TIMES {
            match request.split_once(' ') {
                Some(("POST", path)) => connection.post(path, "text/plain", b"body")?,
                Some((_, path)) => connection.get(path)?,
                None => anyhow::bail!("{request} has no method"),
            };
        }
    }
    Ok(())
}

fn names_are(packages: &[&str], name: &str, text: &str, table: &Table) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join(name), text)?;
    let modules = npm::install(packages)?.join("node_modules");
    std::os::unix::fs::symlink(modules, dir.path().join("node_modules"))?;
    let port = port::free()?;
    let env = [("PORT", &*port.to_string())];
    let mut node = Preloaded::start(Path::new("node"), &[name], dir.path(), &env)?;
    let up = wait::for_true("the server", || {
        std::net::TcpStream::connect(local(port)).is_ok()
    });
    up.map_err(|error| error.context(format!("{:?}", node.printed())))?;
    ask(local(port), table)?;
    let mut expect: BTreeMap<(String, String), u64> = BTreeMap::new();
    for (_, row) in table {
        let (method, route) = row.split_once(' ').unwrap_or_default();
        *expect.entry((method.into(), route.into())).or_default() += TIMES;
    }
    let all = TIMES * u64::try_from(table.len())?;
    let seen = node.until("all requests", |seen| seen.requests() >= all)?;
    let found: BTreeMap<_, _> = seen
        .routes
        .iter()
        .map(|(name, route)| (name.clone(), route.count))
        .collect();
    ensure!(found == expect, "{found:#?}\nnot {expect:#?}");
    ensure!(seen.broken().is_empty(), "{:?}", seen.last());
    Ok(())
}

const EXPRESS: &str = "
const express = require('express');
const app = express();
const fails = (q, r, next) => next(new Error('no'));
app.get('/', (q, r) => r.send('root'));
app.route('/users/:id').get((q, r) => r.send('user')).post((q, r) => r.send('made'));
app.get(['/one/:a', '/two/:a'], (q, r) => r.send('array'));
app.get(/^\\/old-.+$/, (q, r) => r.send('regex'));

const items = express.Router({ mergeParams: true });
items.get('/', (q, r) => r.send('items'));
items.get('/:item', (q, r) => r.send(q.params.shop + q.params.item));
items.get('/:item/fails', fails);
const shops = express.Router();
shops.use('/:shop/items', items);
shops.get('/:shop', (q, r) => r.send('shop'));
app.use('/api/shops', shops);

const admin = express();
admin.get('/', (q, r) => r.send('admin'));
admin.get('/users/:id', (q, r) => r.send('admin user'));
admin.use('/deep', express.Router().get('/er/:way', (q, r) => r.send('deep')));
app.use('/admin', admin);

app.use((error, q, r, next) => r.status(500).send('no'));
app.listen(process.env.PORT);
";
const EXPRESS_TABLE: &Table = &[
    ("GET /", "GET /"),
    ("GET /users/ann?x=1", "GET /users/:id"),
    ("POST /users/ben", "POST /users/:id"),
    ("GET /two/x", "GET /one/:a|/two/:a"),
    ("GET /old-page", "GET /^\\/old-.+$/"),
    ("GET /api/shops/12/items", "GET /api/shops/:id/items"),
    (
        "GET /api/shops/12/items/pen",
        "GET /api/shops/:id/items/:item",
    ),
    (
        "GET /api/shops/12/items/pen/fails",
        "GET /api/shops/:id/items/:item/fails",
    ),
    ("GET /api/shops/mine", "GET /api/shops/:shop"),
    ("GET /admin", "GET /admin"),
    ("GET /admin/users/ann", "GET /admin/users/:id"),
    ("GET /admin/deep/er/way", "GET /admin/deep/er/:way"),
    ("GET /nowhere", "* (unmatched)"),
    ("GET /admin/nowhere", "* (unmatched)"),
];

#[test]
fn express_4() -> anyhow::Result<()> {
    names_are(&["express@4"], "server.js", EXPRESS, EXPRESS_TABLE)
}

#[test]
fn express_5() -> anyhow::Result<()> {
    names_are(&["express@5"], "server.js", EXPRESS, EXPRESS_TABLE)
}

const FASTIFY: &str = "
const app = require('fastify')();
app.get('/users/:id', async () => 'user');
app.post('/users/:id', async () => 'made');
app.get('/files/*', async () => 'file');
app.register(async (api) => {
  api.get('/', async () => 'api');
  api.register(async (shop) => {
    shop.get('/items/:item', async () => 'item');
    shop.get('/fails', async () => { throw new Error('no'); });
  }, { prefix: '/shops/:shop' });
}, { prefix: '/api' });
app.listen({ port: Number(process.env.PORT) });
";
const FASTIFY_TABLE: &Table = &[
    ("GET /users/ann?x=1", "GET /users/:id"),
    ("POST /users/ann", "POST /users/:id"),
    ("GET /files/a/b.txt", "GET /files/*"),
    ("GET /api", "GET /api"),
    (
        "GET /api/shops/mine/items/pen",
        "GET /api/shops/:shop/items/:item",
    ),
    ("GET /api/shops/mine/fails", "GET /api/shops/:shop/fails"),
    ("GET /nowhere", "* (unmatched)"),
];

#[test]
fn fastify_4() -> anyhow::Result<()> {
    names_are(&["fastify@4"], "server.js", FASTIFY, FASTIFY_TABLE)
}

#[test]
fn fastify_5() -> anyhow::Result<()> {
    names_are(&["fastify@5"], "server.js", FASTIFY, FASTIFY_TABLE)
}

/// Neither Koa nor Hono leave their route where Node's request is, so paths are folded.
const FOLDED_TABLE: &Table = &[
    ("GET /", "GET /"),
    ("GET /users/12?x=1", "GET /users/:id"),
    ("GET /users/345", "GET /users/:id"),
    ("POST /users/12", "POST /users/:id"),
    ("GET /api/shops/7/items/9", "GET /api/shops/:id/items/:id"),
    ("GET /api/fails", "GET /api/fails"),
    ("GET /nowhere", "* (unmatched)"),
];

#[test]
fn koa() -> anyhow::Result<()> {
    let text = "
        const Koa = require('koa');
        const Router = require('@koa/router');
        const root = new Router();
        root.get('/', (ctx) => { ctx.body = 'root'; });
        root.get('/users/:id', (ctx) => { ctx.body = 'user'; });
        root.post('/users/:id', (ctx) => { ctx.body = 'made'; });
        const api = new Router({ prefix: '/api' });
        api.get('/shops/:shop/items/:item', (ctx) => { ctx.body = ctx.params.item; });
        api.get('/fails', () => { throw new Error('no'); });
        root.use(api.routes());
        new Koa().on('error', () => {}).use(root.routes()).use(root.allowedMethods()).listen(process.env.PORT);";
    names_are(
        &["koa@3", "@koa/router@14"],
        "server.js",
        text,
        FOLDED_TABLE,
    )
}

#[test]
fn hono() -> anyhow::Result<()> {
    let text = "
        import { serve } from '@hono/node-server';
        import { Hono } from 'hono';
        const app = new Hono();
        app.get('/', (c) => c.text('root'));
        app.get('/users/:id', (c) => c.text('user'));
        app.post('/users/:id', (c) => c.text('made'));
        const api = new Hono();
        api.get('/shops/:shop/items/:item', (c) => c.json(c.req.param()));
        api.get('/fails', () => { throw new Error('no'); });
        app.route('/api', api);
        serve({ fetch: app.fetch, port: Number(process.env.PORT) });";
    names_are(
        &["hono@4", "@hono/node-server@1"],
        "server.mjs",
        text,
        FOLDED_TABLE,
    )
}

#[test]
fn nest() -> anyhow::Result<()> {
    // Decorators by hand: what the TypeScript compiler makes of controllers.
    let text = "
        require('reflect-metadata');
        const { Controller, Get, Post, Module, NotFoundException, VersioningType } = require('@nestjs/common');
        const { NestFactory } = require('@nestjs/core');
        const controller = (path, routes) => {
          class Made {}
          for (const [name, [decorate, answer]] of Object.entries(routes)) {
            Made.prototype[name] = answer;
            decorate(Made.prototype, name, Object.getOwnPropertyDescriptor(Made.prototype, name));
          }
          Controller(path)(Made);
          return Made;
        };
        const users = controller('users', {
          all: [Get(), () => 'all'],
          one: [Get(':id'), () => 'one'],
          make: [Post(':id'), () => 'made'],
          missing: [Get(':id/missing'), () => { throw new NotFoundException(); }],
        });
        const items = controller({ path: 'shops/:shop/items', version: '2' }, {
          one: [Get(':item'), () => 'item'],
          fails: [Get(':item/fails'), () => { throw new Error('no'); }],
        });
        class Root {}
        Module({ controllers: [users, items] })(Root);
        NestFactory.create(Root, { logger: false }).then((app) => {
          app.setGlobalPrefix('api');
          app.enableVersioning({ type: VersioningType.URI, defaultVersion: undefined });
          return app.listen(process.env.PORT);
        }).catch((error) => { console.error(error); process.exit(1); });";
    names_are(
        &npm::NEST,
        "main.js",
        text,
        &[
            ("GET /api/users", "GET /api/users"),
            ("GET /api/users/ann", "GET /api/users/:id"),
            ("POST /api/users/ann", "POST /api/users/:id"),
            ("GET /api/users/ann/missing", "GET /api/users/:id/missing"),
            (
                "GET /api/v2/shops/mine/items/pen",
                "GET /api/v2/shops/:shop/items/:item",
            ),
            (
                "GET /api/v2/shops/mine/items/pen/fails",
                "GET /api/v2/shops/:shop/items/:item/fails",
            ),
            ("GET /api/nowhere", "* (unmatched)"),
        ],
    )
}
