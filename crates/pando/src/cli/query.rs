//! `pando metrics query` and `list`: what is kept over time, for people and scripts.

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use jiff::Zoned;
use monitor_spec::ask::{Answer, Ask, Query, Series};
use monitor_spec::metric::Metric;

use super::{monitor, values};
use crate::context::{Context, unexpected};
use crate::display::time::Clock;
use crate::display::units;
use crate::error::{ExpectedError, exit};

/// Points where nothing is said, on a terminal's screen.
const DEFAULT_POINTS: u32 = 20;
/// Points for scripts where nothing is said: as many as there are, within reason.
const ALL_POINTS: u32 = 50_000;
const ALIASES: [(&str, &str); 8] = [
    ("p50", "latency_p50"),
    ("p95", "latency_p95"),
    ("p99", "latency_p99"),
    ("lag", "lag_p99"),
    ("rps", "rate"),
    ("requests", "rate"),
    ("errors", "errors5xx"),
    ("rss", "memory"),
];

#[derive(Debug, Args)]
pub struct QueryArgs {
    /// What: `p95`, `rps`, `errors`, `lag`, `memory`, …; `pando metrics list` has all
    #[arg(value_name = "METRIC", hide_possible_values = true, value_parser = metric_parser())]
    metric: Metric,
    /// Of this app; without it of the gateway, or of the machine for `host_…`
    #[arg(short, long, value_name = "APP")]
    app: Option<String>,
    /// Only the worker of this number (0, 1, …)
    #[arg(short, long, value_name = "N", requires = "app")]
    worker: Option<u32>,
    /// Each worker apart
    #[arg(long, requires = "app", conflicts_with_all = ["worker", "endpoint"])]
    by_worker: bool,
    /// Only this endpoint: `GET /users/:id`
    #[arg(
        short,
        long,
        value_name = "ENDPOINT",
        requires = "app",
        conflicts_with = "worker"
    )]
    endpoint: Option<String>,
    /// From then on: `10m` (ago), `14:30`, `2026-11-21 14:30`, or RFC 3339
    #[arg(long, value_name = "WHEN", default_value = "1h")]
    since: String,
    /// Until then
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// At most so many points [default: 20; all with --csv and --json]
    #[arg(short, long, value_name = "N")]
    points: Option<u32>,
    /// As CSV: time in seconds since 1970, then a column for each series
    #[arg(long)]
    csv: bool,
}

/// A name or an alias; a wrong one is told with the nearest.
fn metric_parser() -> impl TypedValueParser<Value = Metric> {
    let names = Metric::ALL.iter().map(|metric| {
        let mine = ALIASES.iter().filter(|(_, name)| *name == metric.name());
        PossibleValue::new(metric.name()).aliases(mine.map(|(alias, _)| *alias))
    });
    PossibleValuesParser::new(names.collect::<Vec<_>>()).try_map(|text| {
        let alias = ALIASES.iter().find(|(alias, _)| *alias == text);
        let name = alias.map_or(text.as_str(), |(_, name)| *name);
        name.parse::<Metric>().map_err(|()| "no such metric")
    })
}

/// # Errors
/// A time that is none, and those of the call.
pub fn query(args: &QueryArgs, ctx: &mut Context) -> anyhow::Result<u8> {
    let now = Zoned::now();
    let from_ms = when("--since", &args.since, &now)?;
    let until = args.until.as_ref().map(|text| when("--until", text, &now));
    let scripted = args.csv || ctx.json;
    let default = if scripted { ALL_POINTS } else { DEFAULT_POINTS };
    let ask = Ask::Series(Query {
        metric: args.metric,
        app: args.app.clone().unwrap_or_default(),
        worker: args.worker,
        endpoint: args.endpoint.clone(),
        by_worker: args.by_worker,
        from_ms,
        to_ms: until
            .transpose()?
            .unwrap_or(now.timestamp().as_millisecond()),
        points: args.points.unwrap_or(default).min(ALL_POINTS),
    });
    let Answer::Series(series) = monitor::ask(ask, ctx)? else {
        return Err(unexpected());
    };
    if ctx.json {
        ctx.out.json(&series);
    } else if args.csv {
        ctx.out.lines(csv(args.metric, &series));
    } else if series
        .iter()
        .all(|one| one.values.iter().all(Option::is_none))
    {
        ctx.out
            .line("Nothing is known of it in that time. `pando metrics list` has the names.");
    } else {
        ctx.out.lines(table(&series, &Clock::local()));
    }
    Ok(exit::OK)
}

/// Every name, with its unit and aliases.
pub fn list(ctx: &mut Context) -> u8 {
    if ctx.json {
        let rows: Vec<_> = Metric::ALL.iter().map(|m| [m.name(), m.unit()]).collect();
        ctx.out.json(&rows);
        return exit::OK;
    }
    for metric in Metric::ALL {
        let mine = ALIASES.iter().filter(|(_, name)| *name == metric.name());
        let aliases: Vec<&str> = mine.map(|(alias, _)| *alias).collect();
        let line = format!(
            "{:<24}{:<9}{}",
            metric.name(),
            metric.unit(),
            aliases.join(", ")
        );
        ctx.out.line(line.trim_end());
    }
    exit::OK
}

fn when(flag: &str, text: &str, now: &Zoned) -> Result<i64, ExpectedError> {
    values::when(text, now).map_err(|why| {
        let what = format!("{flag} {text}: this is no time");
        ExpectedError::wrong_call(what, "it is not understood", why)
    })
}

fn times(series: &[Series]) -> impl Iterator<Item = (usize, i64)> {
    let longest = series.iter().max_by_key(|one| one.values.len());
    let (start_ms, step_ms, count) = longest.map_or((0, 1, 0), |one| {
        (one.start_ms, one.step_ms, one.values.len())
    });
    (0..count).scan(start_ms, move |at, n| {
        let now = *at;
        *at += step_ms;
        Some((n, now))
    })
}

fn csv(metric: Metric, series: &[Series]) -> Vec<String> {
    let title = |one: &Series| {
        let label = if one.label.is_empty() {
            metric.name()
        } else {
            &one.label
        };
        // RFC 4180, section 2: quotes around, quotes inside doubled.
        format!("\"{}\"", label.replace('"', "\"\""))
    };
    let titles = series.iter().map(title);
    let mut lines = vec![
        std::iter::once("time".to_owned())
            .chain(titles)
            .collect::<Vec<_>>()
            .join(","),
    ];
    for (n, at_ms) in times(series) {
        let known = |one: &Series| one.values.get(n).copied().flatten();
        let cells = series
            .iter()
            .map(|one| known(one).map_or(String::new(), |v| v.to_string()));
        let time = (at_ms.div_euclid(1_000)).to_string();
        lines.push(
            std::iter::once(time)
                .chain(cells)
                .collect::<Vec<_>>()
                .join(","),
        );
    }
    lines
}

fn table(series: &[Series], clock: &Clock) -> Vec<String> {
    const WIDTH: usize = 12;
    let titles = series.iter().filter(|one| !one.label.is_empty());
    let titles: String = titles.map(|one| format!("{:>WIDTH$}", one.label)).collect();
    let mut lines = Vec::new();
    if !titles.is_empty() {
        lines.push(format!("{:<19}{titles}", "TIME"));
    }
    for (n, at_ms) in times(series) {
        let cells = series.iter().map(|one| {
            let value = one.values.get(n).copied().flatten();
            let text = value.map_or("-".to_owned(), |value| shown(value, &one.unit));
            format!("{text:>WIDTH$}")
        });
        let time = clock.second(at_ms.div_euclid(1_000));
        lines.push(format!("{time:<19}{}", cells.collect::<String>()));
    }
    lines
}

fn shown(value: f64, unit: &str) -> String {
    match unit {
        "us" => units::took(value),
        "bytes" => units::size(units::whole(value)),
        "percent" => units::percent(value),
        "ratio" => units::percent(value * 100.0),
        "per_s" => units::rate(value),
        _ => format!("{value:.1}"),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: QueryArgs,
    }

    fn parse(line: &str) -> Result<QueryArgs, clap::Error> {
        Only::try_parse_from(line.split(' ')).map(|only| only.args)
    }

    #[test]
    fn names_and_aliases_are_known_and_others_get_a_hint() {
        assert_eq!(
            parse("query p95 --app api").unwrap().metric,
            Metric::LatencyP95
        );
        assert_eq!(parse("query host_cpu").unwrap().metric, Metric::HostCpu);
        for (alias, name) in ALIASES {
            assert_eq!(
                parse(&format!("query {alias}")).unwrap().metric.name(),
                name
            );
        }
        let wrong = parse("query latencyp95").unwrap_err().to_string();
        assert!(wrong.contains("latency_p95"), "{wrong}");
        assert!(parse("query p95 --worker 1").is_err());
    }

    #[test]
    fn tables_and_csv() {
        let one = |label: &str, values| Series {
            label: label.into(),
            unit: "us".into(),
            start_ms: 1_000_000,
            step_ms: 10_000,
            values,
        };
        let series = [
            one("worker 0", vec![Some(1_500.0), None]),
            one("worker 1", vec![Some(2.5), Some(3.0)]),
        ];
        let csv = csv(Metric::LagP99, &series);
        assert_eq!(
            csv,
            ["time,\"worker 0\",\"worker 1\"", "1000,1500,2.5", "1010,,3"]
        );
        let clock = Clock::new(jiff::tz::TimeZone::UTC, jiff::civil::date(1970, 1, 1));
        let table = table(&series, &clock);
        assert_eq!(table.len(), 3);
        assert!(table[0].starts_with("TIME") && table[0].contains("worker 1"));
        assert!(
            table[1].contains("00:16:40") && table[1].contains("1.5 ms"),
            "{table:?}"
        );
        assert!(table[2].contains('-'), "{table:?}");
    }
}
