//! `notify = ["log", "https://hooks.example/x", { webhook = { env = "HOOK" } }, { command = "…" }]`.

use monitor_spec::settings::Notify;

use crate::app::Context;
use crate::gateway::secret;
use crate::problem::{Refusal, Report};
use crate::table::{Value, nothing_foreign};

/// Places that one alert goes to.
const MAX_PLACES: usize = 16;
const EXAMPLE: &str = "[{ webhook = { env = \"ALERT_HOOK\" } }, \"log\"]";

pub(super) fn read(
    value: &Value<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Option<Vec<Notify>> {
    let items = value.each();
    if let Some(first) = items.get(MAX_PLACES) {
        let why = format!("one alert goes to at most {MAX_PLACES}");
        let refusal = Refusal::new("these are too many places", why, "leave some out");
        report.error(&first.place, refusal);
    }
    let places = items.iter().take(MAX_PLACES);
    let all: Vec<Option<Notify>> = places.map(|item| one(item, context, report)).collect();
    all.into_iter().collect()
}

fn one(item: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Notify> {
    if item.is_table() {
        return table(item, context, report);
    }
    if item.is_str() {
        // It may be a URL with a key in it, also a misspelt one.
        report.conceal(&item.place);
    }
    let text = item.string(EXAMPLE, report)?;
    if text == "log" {
        return Some(Notify::Log);
    }
    if text.contains("://") {
        return webhook(item, text, report);
    }
    let what = "this is not a place for alerts";
    let why = "it is \"log\", a URL, or a command";
    let fix = if text.eq_ignore_ascii_case("log") {
        "write \"log\"".to_owned()
    } else {
        "write a command as { command = \"…\" }, a URL with https:// before it".to_owned()
    };
    report.error(&item.place, Refusal::new(what, why, fix));
    None
}

fn table(item: &Value<'_>, context: &Context<'_>, report: &mut Report) -> Option<Notify> {
    let table = item.table("notify", EXAMPLE, report)?;
    table.only(&["webhook", "command"], nothing_foreign, report);
    match (table.get("webhook"), table.get("command")) {
        (Some(url), None) => {
            let secret = secret::read(&url, context, report)?;
            webhook(&url, secret.expose(), report)
        }
        (None, Some(line)) => {
            let line = line.string("\"/usr/local/bin/page\"", report)?.to_owned();
            Some(Notify::Command { line })
        }
        (Some(_), Some(_)) | (None, None) => {
            let why = "each place is one: `webhook` or `command`";
            let fix = format!("write it like `notify = {EXAMPLE}`");
            report.error(
                &item.place,
                Refusal::new("this names no one place", why, fix),
            );
            None
        }
    }
}

/// The URL is never shown: whoever knows it may post there.
fn webhook(item: &Value<'_>, url: &str, report: &mut Report) -> Option<Notify> {
    let url = url.trim();
    if is_url(url) {
        return Some(Notify::Webhook {
            url: url.to_owned(),
        });
    }
    let why = "a webhook is an http:// or https:// URL without spaces";
    let fix = "write it like \"https://hooks.example.com/…\"";
    report.error(
        &item.place,
        Refusal::new("this webhook is not a URL", why, fix),
    );
    None
}

pub(super) fn is_url(text: &str) -> bool {
    let rest = ["https://", "http://"]
        .iter()
        .find_map(|scheme| text.strip_prefix(scheme));
    let sound = |c: char| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(c);
    rest.is_some_and(|rest| {
        !rest.is_empty() && !rest.starts_with(['/', '?', '#', ':']) && rest.chars().all(sound)
    })
}
