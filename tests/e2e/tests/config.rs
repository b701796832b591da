//! pando.toml: plan, up, down, init, and its problems.

use anyhow::ensure;
use e2e::{Load, Pando, app, http, local, port};

fn config(port: u16, more: &str) -> String {
    format!(
        "[app.api]\nscript = {:?}\ninstances = 2\nenv = {{ PORT = \"{port}\" }}\n{more}\n",
        app("hello.js")
    )
}

#[test]
fn plan_shows_up_does_down_undoes() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let port = port::free()?;
    pando.write("pando.toml", &config(port, ""))?;
    let plan = pando.cmd(&["plan"])?.ok()?.stdout;
    ensure!(plan.contains("+ api"), "{plan}");
    pando.cmd(&["up"])?.ok()?;
    let first = pando.wait_ready("api", 2)?.pids();
    ensure!(http::get(local(port), "/hello")?.status == 200);
    pando.cmd(&["up"])?.ok()?;
    ensure!(
        pando.app("api")?.pids() == first,
        "an up without a change restarts workers"
    );
    pando.cmd(&["down"])?.ok()?;
    ensure!(pando.apps()?.is_empty());
    Ok(())
}

#[test]
fn up_takes_the_least_disturbing_way() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let port = port::free()?;
    pando.write("pando.toml", &config(port, ""))?;
    pando.cmd(&["up"])?.ok()?;
    let first = pando.wait_ready("api", 2)?.pids();
    let load = Load::open(port, 100).spawn()?;
    // A setting of the supervisor's own: nothing restarts.
    pando.write("pando.toml", &config(port, "memory = \"500M\""))?;
    pando.cmd(&["up"])?.ok()?;
    ensure!(pando.app("api")?.pids() == first);
    // One of the workers': a reload.
    let text = config(port, "memory = \"500M\"").replace("env = { ", "env = { RELEASE = \"two\", ");
    pando.write("pando.toml", &text)?;
    let plan = pando.cmd(&["plan", "--json"])?.ok()?.stdout;
    ensure!(
        plan.contains("reload") && plan.contains("RELEASE"),
        "{plan}"
    );
    pando.cmd(&["up"])?.ok()?;
    let second = pando.wait_ready("api", 2)?.pids();
    ensure!(second.iter().all(|pid| !first.contains(pid)));
    ensure!(http::get(local(port), "/release")?.text() == "two");
    // More workers: the others stay.
    pando.write(
        "pando.toml",
        &text.replace("instances = 2", "instances = 3"),
    )?;
    pando.cmd(&["up"])?.ok()?;
    let third = pando.wait_ready("api", 3)?.pids();
    ensure!(
        second.iter().all(|pid| third.contains(pid)),
        "{second:?} {third:?}"
    );
    let tally = load.finish()?;
    ensure!(tally.failures() == 0, "{}", tally.summary());
    Ok(())
}

#[test]
fn every_problem_is_told_at_once_with_its_place() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let text = "[app.api]\nscrpt = \"server.js\"\ninstances = \"many\"\nmemory = \"lots\"\n";
    pando.write("pando.toml", text)?;
    let refused = pando.cmd(&["up"])?.exits(2)?;
    let places = ["pando.toml:2", "pando.toml:3", "pando.toml:4"];
    refused.says(&places)?.says(&["did you mean", "script"])?;
    Ok(())
}

#[test]
fn an_app_waits_for_what_it_depends_on() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let (first, second) = (port::free()?, port::free()?);
    let text = format!(
        "[app.front]\nscript = {0:?}\nenv = {{ PORT = \"{first}\" }}\ndepends_on = [\"back\"]\n\n\
         [app.back]\nscript = {0:?}\nenv = {{ PORT = \"{second}\", BOOT_MS = \"1500\" }}\n",
        app("hello.js")
    );
    pando.write("pando.toml", &text)?;
    pando.cmd(&["up"])?.ok()?;
    let age = |name| {
        pando
            .app(name)
            .map(|app| app.0["uptime_ms"].as_u64().unwrap_or(0))
    };
    ensure!(age("back")? >= age("front")?, "front was ready before back");
    Ok(())
}

#[test]
fn init_writes_a_file_that_up_takes() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    std::fs::copy(app("hello.js"), pando.work().join("hello.js"))?;
    pando.write(
        "package.json",
        r#"{"name":"shop","scripts":{"start":"node hello.js"}}"#,
    )?;
    pando.env("PORT", port.to_string());
    pando.cmd(&["init"])?.ok()?;
    let written = std::fs::read_to_string(pando.work().join("pando.toml"))?;
    ensure!(written.contains("[app.shop]"), "{written}");
    ensure!(
        pando.cmd(&["init"])?.code != 0,
        "a second init overwrites the file"
    );
    pando.cmd(&["up"])?.ok()?;
    ensure!(http::get(local(port), "/hello")?.text() == "Hello, World!");
    Ok(())
}

#[test]
fn a_changed_file_reloads_what_watches_it() -> anyhow::Result<()> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    let code = |text: &str| {
        format!("require('http').createServer((q, r) => r.end('{text}')).listen(process.env.PORT);")
    };
    pando.write("site/server.js", &code("one"))?;
    pando
        .cmd(&[
            "start",
            "server.js",
            "--cwd",
            "site",
            "-n",
            "site",
            "--watch",
        ])?
        .ok()?;
    ensure!(http::get(local(port), "/")?.text() == "one");
    pando.write("site/server.js", &code("two"))?;
    e2e::wait::for_true("the new code serves", || {
        http::get(local(port), "/").is_ok_and(|response| response.text() == "two")
    })
}
