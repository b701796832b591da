//! Unmodified apps of the frameworks that people use, and every Node there is.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use e2e::http::Connection;
use e2e::{Load, Pando, app, http, local, npm, port};

/// A Pando whose work directory has the packages and these files; its apps get a free port.
fn project(packages: &[&str], files: &[(&str, &str)]) -> anyhow::Result<(Pando, u16)> {
    let mut pando = Pando::new()?;
    let modules = npm::install(packages)?.join("node_modules");
    symlink(modules, pando.work().join("node_modules"))?;
    for (name, text) in files {
        pando.write(name, text)?;
    }
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    Ok((pando, port))
}

/// It serves from two workers, and a reload under load costs no request.
fn serves_and_reloads(pando: &Pando, port: u16, name: &str) -> anyhow::Result<()> {
    let app = pando.wait_ready(name, 2)?;
    ensure!(app.mode() == "cluster", "{app:?}");
    let load = Load::open(port, 100).spawn()?;
    let kept = Load::keep_alive(port, 4)
        .pausing(std::time::Duration::from_millis(10))
        .spawn()?;
    pando.cmd(&["reload", name])?.ok()?;
    let (new, kept) = (load.finish()?, kept.finish()?);
    ensure!(new.failures() == 0, "{}", new.summary());
    ensure!(kept.failures() == 0, "kept: {}", kept.summary());
    pando.wait_ready(name, 2)?;
    Ok(())
}

#[test]
fn express() -> anyhow::Result<()> {
    let text = "
        const app = require('express')();
        app.get('/', (request, response) => response.json({ pid: process.pid }));
        app.listen(process.env.PORT);";
    let (pando, port) = project(&["express@5"], &[("server.js", text)])?;
    pando.cmd(&["start", "server.js", "-i", "2"])?.ok()?;
    serves_and_reloads(&pando, port, "server")
}

#[test]
fn fastify() -> anyhow::Result<()> {
    let text = "
        const app = require('fastify')();
        app.get('/', async () => ({ pid: process.pid }));
        app.listen({ port: Number(process.env.PORT), host: '0.0.0.0' }).catch((error) => {
          console.error(error);
          process.exit(1);
        });";
    let (pando, port) = project(&["fastify@5"], &[("server.js", text)])?;
    pando.cmd(&["start", "server.js", "-i", "2"])?.ok()?;
    serves_and_reloads(&pando, port, "server")
}

#[test]
fn an_es_module() -> anyhow::Result<()> {
    let text = "
        import express from 'express';
        const app = express();
        app.get('/', (request, response) => response.send(import.meta.url));
        await new Promise((resolve) => app.listen(process.env.PORT, resolve));";
    let (pando, port) = project(&["express@5"], &[("server.mjs", text)])?;
    pando.cmd(&["start", "server.mjs", "-i", "2"])?.ok()?;
    serves_and_reloads(&pando, port, "server")
}

const WS_SERVER: &str = "
    const http = require('node:http');
    const { WebSocketServer } = require('ws');
    const server = http.createServer((request, response) => response.end('ok'));
    new WebSocketServer({ server }).on('connection', (socket) => {
      socket.on('message', (data) => socket.send(`${process.pid}:${data}`));
    });
    server.listen(process.env.PORT);";

const WS_CLIENT: &str = "
    const { WebSocket } = require('ws');
    const all = Array.from({ length: 20 }, (_, n) => new Promise((resolve, reject) => {
      const socket = new WebSocket(`ws://127.0.0.1:${process.env.PORT}/`);
      socket.on('open', () => socket.send(`hello ${n}`));
      socket.on('message', (data) => {
        if (!String(data).endsWith(`:hello ${n}`)) reject(new Error(String(data)));
        socket.close();
        resolve();
      });
      socket.on('error', reject);
    }));
    Promise.all(all).then(() => console.log('20 echoes'));";

/// Runs a client script of the project with its own node; what it prints.
fn client(pando: &Pando, port: u16, script: &str) -> anyhow::Result<String> {
    let output = Command::new("node")
        .arg(script)
        .current_dir(pando.work())
        .env("PORT", port.to_string())
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{script}: {text}{errors}");
    Ok(text)
}

#[test]
fn web_sockets() -> anyhow::Result<()> {
    let files = [("server.js", WS_SERVER), ("client.js", WS_CLIENT)];
    let (pando, port) = project(&["ws@8"], &files)?;
    pando.cmd(&["start", "server.js", "-i", "2"])?.ok()?;
    ensure!(client(&pando, port, "client.js")?.contains("20 echoes"));
    serves_and_reloads(&pando, port, "server")?;
    ensure!(client(&pando, port, "client.js")?.contains("20 echoes"));
    Ok(())
}

const SOCKET_IO_SERVER: &str = "
    const server = require('node:http').createServer((request, response) => response.end('ok'));
    const { Server } = require('socket.io');
    new Server(server).on('connection', (socket) => {
      socket.on('ask', (text, answer) => answer(`${process.pid}:${text}`));
    });
    server.listen(process.env.PORT);";

const SOCKET_IO_CLIENT: &str = "
    const { io } = require('socket.io-client');
    const all = Array.from({ length: 6 }, (_, n) => new Promise((resolve, reject) => {
      const socket = io(`http://127.0.0.1:${process.env.PORT}`, {
        transports: ['polling'], reconnection: false, forceNew: true,
      });
      const timer = setTimeout(() => reject(new Error('no answer')), 30000);
      socket.on('connect_error', reject);
      socket.on('disconnect', (reason) => {
        if (reason !== 'io client disconnect') reject(new Error(reason));
      });
      socket.on('connect', async () => {
        for (let i = 0; i < 10; i++) await socket.emitWithAck('ask', `hello ${n}`);
        clearTimeout(timer);
        socket.disconnect();
        resolve();
      });
    }));
    Promise.all(all).then(() => { console.log('all answered'); process.exit(0); });";

#[test]
fn socket_io_by_polling_under_ip_hash() -> anyhow::Result<()> {
    let files = [
        ("server.js", SOCKET_IO_SERVER),
        ("client.js", SOCKET_IO_CLIENT),
    ];
    let (pando, port) = project(&["socket.io@4", "socket.io-client@4"], &files)?;
    pando
        .cmd(&["start", "server.js", "-i", "2", "--balance", "ip-hash"])?
        .ok()?;
    ensure!(client(&pando, port, "client.js")?.contains("all answered"));
    pando.cmd(&["reload", "server"])?.ok()?;
    ensure!(client(&pando, port, "client.js")?.contains("all answered"));
    Ok(())
}

#[test]
fn nest() -> anyhow::Result<()> {
    // Decorators by hand: what the TypeScript compiler makes of a controller.
    let text = "
        require('reflect-metadata');
        const { Controller, Get, Module } = require('@nestjs/common');
        const { NestFactory } = require('@nestjs/core');
        class Hello {
          hello() { return { pid: process.pid }; }
        }
        Controller()(Hello);
        Get('/')(Hello.prototype, 'hello', Object.getOwnPropertyDescriptor(Hello.prototype, 'hello'));
        class Root {}
        Module({ controllers: [Hello] })(Root);
        NestFactory.create(Root, { logger: false }).then((app) => {
          app.enableShutdownHooks();
          return app.listen(process.env.PORT);
        }).catch((error) => { console.error(error); process.exit(1); });";
    let (pando, port) = project(&npm::NEST, &[("main.js", text)])?;
    pando
        .cmd(&["start", "main.js", "--name", "nest", "-i", "2"])?
        .ok()?;
    ensure!(http::get(local(port), "/")?.text().contains("pid"));
    serves_and_reloads(&pando, port, "nest")
}

#[test]
fn request_bodies_arrive_whole() -> anyhow::Result<()> {
    let text = "
        const app = require('express')();
        app.use(require('express').raw({ type: '*/*', limit: '20mb' }));
        app.post('/', (request, response) => response.send(String(request.body.length)));
        app.listen(process.env.PORT);";
    let (pando, port) = project(&["express@5"], &[("server.js", text)])?;
    for balance in ["steered", "round-robin"] {
        let args = [
            "start",
            "server.js",
            "-n",
            balance,
            "-i",
            "2",
            "--balance",
            balance,
        ];
        pando.cmd(&args)?.ok()?;
        let body = vec![7; 5 << 20];
        let mut connection = Connection::open(local(port))?;
        let answer = connection.post("/", "application/octet-stream", &body)?;
        ensure!(
            answer.text() == body.len().to_string(),
            "{balance}: {answer:?}"
        );
        pando.cmd(&["delete", balance])?.ok()?;
    }
    Ok(())
}

fn on_node(major: u32) -> anyhow::Result<()> {
    let bin = npm::node_bin_dir(major)?;
    let version = node_version(&bin)?;
    for balance in ["steered", "round-robin"] {
        let mut pando = Pando::new()?;
        pando.env("PATH", npm::path_with(&bin)?);
        let port = pando.start_hello("2", &["--balance", balance])?;
        ensure!(http::get(local(port), "/version")?.text() == version);
        serves_and_reloads(&pando, port, "api")
            .with_context(|| format!("Node {major}, {balance}"))?;
    }
    Ok(())
}

fn node_version(bin: &Path) -> anyhow::Result<String> {
    let output = Command::new(bin.join("node")).arg("--version").output()?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[test]
fn node_18() -> anyhow::Result<()> {
    on_node(18)
}

#[test]
fn node_20() -> anyhow::Result<()> {
    on_node(20)
}

#[test]
fn node_22() -> anyhow::Result<()> {
    on_node(22)
}

#[test]
fn node_24() -> anyhow::Result<()> {
    on_node(24)
}

#[test]
fn node_26() -> anyhow::Result<()> {
    on_node(26)
}

#[test]
fn a_worker_that_disconnects_itself_is_followed() -> anyhow::Result<()> {
    let text = "
        const cluster = require('node:cluster');
        require('node:http').createServer((request, response) => {
          response.end(String(process.pid));
          if (request.url === '/leave') cluster.worker.disconnect();
        }).listen(process.env.PORT);";
    let mut pando = Pando::new()?;
    let path = pando.write("server.js", text)?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    pando
        .cmd(&["start", &path.display().to_string(), "-n", "api", "-i", "2"])?
        .ok()?;
    let gone: u32 = http::get(local(port), "/leave")?.text().parse()?;
    pando.wait_app("api", "a successor", |app| {
        app.ready() == 2 && !app.pids().contains(&gone)
    })?;
    Ok(())
}

#[test]
fn two_ports_of_one_app() -> anyhow::Result<()> {
    let text = "
        const http = require('node:http');
        for (const port of process.env.PORTS.split(','))
          http.createServer((request, response) => response.end(port)).listen(Number(port));";
    let mut pando = Pando::new()?;
    let path = pando.write("server.js", text)?;
    let ports = [port::free()?, port::free()?];
    pando.env("PORTS", format!("{},{}", ports[0], ports[1]));
    pando
        .cmd(&["start", &path.display().to_string(), "-n", "api", "-i", "2"])?
        .ok()?;
    for port in ports {
        ensure!(http::get(local(port), "/")?.text() == port.to_string());
    }
    pando.cmd(&["reload", "api"])?.ok()?;
    for port in ports {
        ensure!(http::get(local(port), "/")?.text() == port.to_string());
    }
    Ok(())
}

#[test]
fn fork_mode_runs_node_too() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", "1");
    let script = app("hello.js").display().to_string();
    let args = [
        "start",
        &script,
        "-n",
        "api",
        "--mode",
        "fork",
        "-i",
        "2",
        "-p",
        &port.to_string(),
    ];
    pando.cmd(&args)?.ok()?;
    let app = pando.wait_ready("api", 2)?;
    for worker in app.workers() {
        let port = worker.port().context("a fork-mode worker has a port")?;
        ensure!(Some(http::get(local(port), "/")?.text().parse()?) == worker.pid());
    }
    Ok(())
}
