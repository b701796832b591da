//! `pando alerts`: what is wrong now.

use monitor_spec::ask::{Answer, Ask};
use monitor_spec::now::{Alert, AlertState};

use super::monitor;
use crate::context::{Context, Daemon, unexpected};
use crate::display::text::{self, Style};
use crate::display::units;
use crate::error::exit;

pub fn alerts(ctx: &mut Context) -> anyhow::Result<u8> {
    if !ctx.reach(Daemon::ForKeptApps)? {
        return Err(ctx.nothing_runs());
    }
    let Answer::Alerts(alerts) = monitor::ask(Ask::Alerts, ctx)? else {
        return Err(unexpected());
    };
    if ctx.json {
        ctx.out.json(&alerts);
    } else if alerts.is_empty() {
        ctx.out.line("No alert.");
    } else {
        let now_ms = now_ms();
        let color = ctx.out.layout.color;
        ctx.out.lines(lines(&alerts, now_ms, color));
    }
    Ok(exit::OK)
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |time| i64::try_from(time.as_millis()).unwrap_or(0))
}

/// State, for how long, the rule, the app, what is so.
fn lines(alerts: &[Alert], now_ms: i64, color: bool) -> Vec<String> {
    let subject = |alert: &Alert| {
        let app = if alert.app.is_empty() {
            "-"
        } else {
            &alert.app
        };
        (text::one_line(&alert.name), text::one_line(app))
    };
    let widest = |pick: fn(&(String, String)) -> &String| {
        let widths = alerts
            .iter()
            .map(|alert| text::width(pick(&subject(alert))));
        widths.max().unwrap_or(0)
    };
    let (name_width, app_width) = (widest(|s| &s.0), widest(|s| &s.1));
    let pad = |word: &str, width: usize| " ".repeat(width.saturating_sub(text::width(word)));
    let line = |alert: &Alert| {
        let (state, style) = match alert.state {
            AlertState::Firing => ("firing", Style::Red),
            AlertState::Pending => ("pending", Style::Yellow),
            AlertState::Resolved => ("resolved", Style::Dim),
        };
        let (name, app) = subject(alert);
        format!(
            "{}  {:>6}  {name}{}  {app}{}  {}",
            style.paint(&format!("{state:<8}"), color),
            units::duration(u64::try_from(now_ms - alert.since_ms).unwrap_or(0)),
            pad(&name, name_width),
            pad(&app, app_width),
            text::one_line(&alert.text),
        )
    };
    alerts.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_a_table() {
        let alert = |name: &str, app: &str, state, since_ms| Alert {
            name: name.into(),
            app: app.into(),
            state,
            since_ms,
            text: "so".into(),
        };
        let all = [
            alert("slow", "api", AlertState::Firing, 0),
            alert("disk", "", AlertState::Resolved, 3_595_000),
        ];
        assert_eq!(
            lines(&all, 3_600_000, false),
            [
                "firing        1h  slow  api  so",
                "resolved      5s  disk  -    so",
            ]
        );
    }
}
