//! `pando run`: the foreground, as the main process of a container.

use std::process::{Child, Stdio};

use anyhow::{Context, ensure};
use e2e::{Pando, app, exit_code, http, local, port, process, wait, wait_within};
use rustix::process::Signal;

struct Foreground {
    pando: Pando,
    child: Child,
    port: u16,
}

fn run(env: &[(&str, &str)], args: &[&str]) -> anyhow::Result<Foreground> {
    let mut pando = Pando::new()?;
    let port = port::free()?;
    pando.env("PORT", port.to_string());
    for (name, value) in env {
        pando.env(name, *value);
    }
    let script = app("hello.js").display().to_string();
    let out = std::fs::File::create(pando.work().join("out"))?;
    let err = std::fs::File::create(pando.work().join("err"))?;
    let all = [&["run", &script], args].concat();
    let child = pando
        .command(&all)
        .stdout(Stdio::from(out))
        .stderr(Stdio::from(err))
        .spawn()?;
    Ok(Foreground { pando, child, port })
}

impl Foreground {
    fn printed(&self) -> String {
        let read = |name| std::fs::read_to_string(self.pando.work().join(name)).unwrap_or_default();
        read("out") + &read("err")
    }

    fn wait_serving(&mut self) -> anyhow::Result<()> {
        let port = self.port;
        wait::for_true("it serves", || {
            http::get(local(port), "/hello").is_ok_and(|r| r.status == 200)
        })
        .with_context(|| self.printed())
    }

    /// Its exit code, and nothing of it is left.
    fn ends(&mut self) -> anyhow::Result<i32> {
        let status = wait_within(&mut self.child, wait::GENEROUS).context("it does not end")?;
        wait::for_true("nothing is left", || self.pando.processes().is_empty())?;
        Ok(exit_code(&status))
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_signal_ends_it_in_order() -> anyhow::Result<()> {
    for signal in [Signal::TERM, Signal::INT] {
        let mut foreground = run(&[], &["-i", "2"])?;
        foreground.wait_serving()?;
        let port = foreground.port;
        let slow = std::thread::spawn(move || http::get(local(port), "/wait?ms=1500"));
        std::thread::sleep(std::time::Duration::from_millis(400));
        process::signal(foreground.child.id(), signal);
        let answer = slow.join().map_err(|_| anyhow::anyhow!("panicked"))??;
        ensure!(answer.status == 200);
        let code = foreground.ends()?;
        ensure!(
            [0, 128 + signal.as_raw()].contains(&code),
            "{signal:?}: {code}"
        );
    }
    Ok(())
}

#[test]
fn it_returns_the_exit_code_of_the_app() -> anyhow::Result<()> {
    for code in [0, 7] {
        let mut foreground = run(&[], &["--restart", "never"])?;
        foreground.wait_serving()?;
        let _ = http::get(local(foreground.port), &format!("/exit?code={code}"));
        let got = foreground.ends()?;
        ensure!(got == code, "the app ended with {code}, pando with {got}");
    }
    Ok(())
}

#[test]
fn an_app_that_throws_at_boot_fails_it() -> anyhow::Result<()> {
    let pando = Pando::new()?;
    let script = app("broken.js").display().to_string();
    let output = pando.cmd(&["run", &script, "--restart", "never"])?;
    ensure!(output.code == 1, "{output:?}");
    let said = format!("{}{}", output.stdout, output.stderr);
    ensure!(said.contains("the database is not there"), "{said}");
    Ok(())
}

#[test]
fn logs_go_to_stdout_as_text_or_json() -> anyhow::Result<()> {
    let mut text = run(&[], &[])?;
    text.wait_serving()?;
    wait::for_true("its line is printed", || {
        text.printed().contains("listening after")
    })?;
    let mut json = run(&[], &["--log-format", "json"])?;
    json.wait_serving()?;
    let has_line = |printed: &str| {
        printed
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .any(|line| line["app"] == "hello" && line.to_string().contains("listening after"))
    };
    wait::for_true("its line is JSON", || has_line(&json.printed())).with_context(|| json.printed())
}

#[test]
fn a_worker_that_dies_is_followed_in_the_foreground_too() -> anyhow::Result<()> {
    let mut foreground = run(&[], &["-i", "1"])?;
    foreground.wait_serving()?;
    let pid: u32 = http::get(local(foreground.port), "/")?.text().parse()?;
    process::kill(pid);
    let port = foreground.port;
    wait::for_true("a successor answers", || {
        http::get(local(port), "/").is_ok_and(|response| response.text() != pid.to_string())
    })?;
    process::signal(foreground.child.id(), Signal::TERM);
    foreground.ends().map(drop)
}
