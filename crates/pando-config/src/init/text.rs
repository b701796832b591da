//! An app as a commented section of pando.toml.

use super::detect::{Found, Start};

pub(super) const HEAD: &str = "\
# What runs here. `pando plan` shows what would change, `pando up` does it without downtime.
";

const COMMENT_COLUMN: usize = 36;

/// A string as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn list(items: &[String]) -> String {
    let items: Vec<String> = items.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}

/// A line with its comment in the common column.
fn line(setting: &str, comment: &str) -> String {
    if comment.is_empty() {
        return format!("{setting}\n");
    }
    format!("{setting:COMMENT_COLUMN$}# {comment}\n")
}

pub(super) fn section(app: &Found) -> String {
    let bare = app
        .name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let name = if bare {
        app.name.clone()
    } else {
        quoted(&app.name)
    };
    let mut text = format!("[app.{name}]\n");
    if let Some(listening) = &app.listens {
        text += &format!(
            "# It listens on port {} now, as process {}.\n",
            listening.port, listening.pid
        );
    }
    start(app, &mut text);
    if let Some(cwd) = &app.cwd {
        text += &line(&format!("cwd = {}", quoted(cwd)), "");
    }
    if app.env_file {
        let path = app
            .cwd
            .as_ref()
            .map_or(".env".to_owned(), |cwd| format!("{cwd}/.env"));
        text += &line(&format!("env_file = {}", quoted(&path)), "");
    }
    text += &line(
        "# health = \"/healthz\"",
        "asked of each worker: 2xx means ready and well",
    );
    text += &line("# memory = \"1G\"", "a worker above it is reloaded");
    text += &line("# timeouts = { ready = \"30s\", stop = \"30s\" }", "");
    let env = match &app.start {
        Start::Node(node) => node.env.as_slice(),
        Start::Command(_) => &[],
    };
    // Last, as a header ends the keys above it.
    if env.is_empty() {
        text += &line(
            "# env = { NODE_ENV = \"production\" }",
            "above env_file and your shell",
        );
    } else {
        text += &format!("\n[app.{name}.env]\n");
        for (key, value) in env {
            text += &line(&format!("{key} = {}", quoted(value)), "");
        }
    }
    text
}

fn start(app: &Found, text: &mut String) {
    let framework = app.framework.unwrap_or("");
    match &app.start {
        Start::Node(node) => {
            let script = app.cwd.as_ref().map_or(node.script.clone(), |cwd| {
                if node.script.starts_with('/') {
                    node.script.clone()
                } else {
                    format!("{cwd}/{}", node.script)
                }
            });
            *text += &line(&format!("script = {}", quoted(&script)), framework);
            if node.program != "node" {
                *text += &line(&format!("interpreter = {}", quoted(&node.program)), "");
            }
            if !node.node_args.is_empty() {
                *text += &line(&format!("node_args = {}", list(&node.node_args)), "");
            }
            if !node.args.is_empty() {
                *text += &line(&format!("args = {}", list(&node.args)), "");
            }
            *text += &line("instances = \"max\"", "one worker per core, or a number");
            if app.sticky {
                *text += &line("balance = \"ip-hash\"", "a client stays with its worker");
            }
        }
        Start::Command(command) => {
            *text += &line(&format!("command = {}", quoted(command)), framework);
            if let Some(better) = &app.better {
                let setting = format!("# script = {}", quoted(better));
                *text += &line(
                    &setting,
                    "in place of command, once it is built: every core",
                );
            }
            match &app.listens {
                Some(listening) if !app.port_in_env => {
                    *text += &line(&format!("port = {}", listening.port), "given to it as PORT");
                }
                Some(_) | None => *text += &line("# port = 3000", "given to it as PORT"),
            }
        }
    }
}
