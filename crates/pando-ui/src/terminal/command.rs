//! What is typed after `:`.

use pando_control::api::ScaleChange;

use super::model::Change;
use super::series::SPANS;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Quit,
    Help,
    Apps,
    Top,
    App(String),
    Gateway,
    Alerts,
    /// Of one app or of all.
    Events(Option<String>),
    Logs(Option<String>),
    Pause,
    /// A place in [`SPANS`].
    Zoom(usize),
    Sort(String),
    Filter(String),
    Change(Change),
}

/// Every command with its arguments, for help and for completion.
pub const COMMANDS: [(&str, &str, &str); 17] = [
    ("apps", "", "all apps"),
    ("top", "", "with workers"),
    ("app", "APP", "one app"),
    ("logs", "[APP]", "what apps write"),
    ("events", "[APP]", "what happened"),
    ("alerts", "", "what is wrong"),
    ("gateway", "", "the HTTP edge"),
    ("reload", "APP", "without a gap"),
    ("restart", "APP", "all at once"),
    ("stop", "APP", "it stays known"),
    ("start", "APP", "again"),
    ("scale", "APP 4|+1|-1", "workers"),
    ("sort", "COLUMN", "this list"),
    ("filter", "TEXT", "this list"),
    ("zoom", "1m…30d", "time in charts"),
    ("pause", "", "hold the picture"),
    ("quit", "", "leave"),
];

/// Understands a command; `selected` is the app for those that name none.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse(line: &str, selected: Option<&str>) -> Result<Command, String> {
    let mut words = line.split_whitespace();
    let Some(verb) = words.next() else {
        return Err("nothing was typed; ? shows the commands".into());
    };
    let rest: Vec<&str> = words.collect();
    let first = rest.first().map(|word| (*word).to_owned());
    let app = || {
        let named = first.clone().or_else(|| selected.map(str::to_owned));
        named.ok_or_else(|| format!("{verb} which app?"))
    };
    Ok(match verb {
        "q" | "q!" | "quit" | "exit" => Command::Quit,
        "h" | "help" | "?" => Command::Help,
        "apps" | "ls" => Command::Apps,
        "top" => Command::Top,
        "app" | "show" => Command::App(app()?),
        "gateway" | "gw" => Command::Gateway,
        "alerts" => Command::Alerts,
        "events" => Command::Events(first),
        "logs" | "log" => Command::Logs(first),
        "pause" => Command::Pause,
        "zoom" => zoom(first.as_deref())?,
        "sort" => Command::Sort(first.ok_or("sort by which column?")?),
        "filter" => Command::Filter(rest.join(" ")),
        "reload" => Command::Change(Change::Reload(app()?)),
        "restart" => Command::Change(Change::Restart(app()?)),
        "stop" => Command::Change(Change::Stop(app()?)),
        "start" => Command::Change(Change::Start(app()?)),
        "scale" => scale(&rest, selected)?,
        other => return Err(format!("no command {other}; ? shows them")),
    })
}

fn zoom(word: Option<&str>) -> Result<Command, String> {
    let names = || SPANS.map(|(name, _)| name).join(" ");
    let word = word.ok_or_else(|| format!("zoom to what? {}", names()))?;
    let found = SPANS.iter().position(|(name, _)| *name == word);
    let found = found.ok_or_else(|| format!("zoom {word}: there is {}", names()))?;
    Ok(Command::Zoom(found))
}

fn scale(rest: &[&str], selected: Option<&str>) -> Result<Command, String> {
    let (app, word) = match (rest, selected) {
        ([app, word, ..], _) => (*app, *word),
        ([word], Some(app)) => (app, *word),
        ([_], None) | ([], _) => return Err("scale which app to what? scale api 4".into()),
    };
    let number = |text: &str| {
        let parsed = text.parse::<u32>();
        parsed.map_err(|_| format!("scale {word}: say 4, +1 or -1"))
    };
    let change = if let Some(more) = word.strip_prefix('+') {
        ScaleChange::Up(number(more)?)
    } else if let Some(fewer) = word.strip_prefix('-') {
        ScaleChange::Down(number(fewer)?)
    } else {
        ScaleChange::To(number(word)?)
    };
    Ok(Command::Change(Change::Scale(app.to_owned(), change)))
}

/// What the last word of `line` may become, the nearest first.
pub fn completions(line: &str, apps: &[String], columns: &[&str]) -> Vec<String> {
    let (before, word) = match line.rsplit_once(' ') {
        Some((before, word)) => (before.trim(), word),
        None => ("", line),
    };
    let begins = |candidate: &&str| {
        candidate.to_lowercase().starts_with(&word.to_lowercase()) && *candidate != word
    };
    let owned = |candidates: Vec<&str>| -> Vec<String> {
        candidates
            .into_iter()
            .filter(|c| begins(c))
            .map(str::to_owned)
            .collect()
    };
    match before {
        "" => owned(COMMANDS.iter().map(|(name, ..)| *name).collect()),
        "zoom" => owned(SPANS.iter().map(|(name, _)| *name).collect()),
        "sort" => owned(columns.to_vec()),
        "app" | "logs" | "events" | "reload" | "restart" | "stop" | "start" | "scale" => {
            owned(apps.iter().map(String::as_str).collect())
        }
        _ => Vec::new(),
    }
}

/// `line` with its last word completed as far as it is certain.
pub fn complete(line: &str, candidates: &[String]) -> String {
    let Some(first) = candidates.first() else {
        return line.to_owned();
    };
    let common = candidates
        .iter()
        .skip(1)
        .fold(first.as_str(), |common, other| {
            let same = common
                .chars()
                .zip(other.chars())
                .take_while(|(a, b)| a == b);
            let len: usize = same.map(|(c, _)| c.len_utf8()).sum();
            &common[..len]
        });
    let word_at = line.rfind(' ').map_or(0, |at| at + 1);
    let word = &line[word_at..];
    if common.len() < word.len() {
        return line.to_owned();
    }
    let space = if candidates.len() == 1 { " " } else { "" };
    format!("{}{common}{space}", &line[..word_at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_understood() {
        let scale = |change| Ok(Command::Change(Change::Scale("api".into(), change)));
        for (line, expect) in [
            ("q", Ok(Command::Quit)),
            ("app api", Ok(Command::App("api".into()))),
            ("logs", Ok(Command::Logs(None))),
            ("logs web", Ok(Command::Logs(Some("web".into())))),
            ("reload", Ok(Command::Change(Change::Reload("api".into())))),
            ("stop web", Ok(Command::Change(Change::Stop("web".into())))),
            ("scale 4", scale(ScaleChange::To(4))),
            ("scale api +2", scale(ScaleChange::Up(2))),
            ("scale -1", scale(ScaleChange::Down(1))),
            ("zoom 1h", Ok(Command::Zoom(3))),
            ("filter a b", Ok(Command::Filter("a b".into()))),
            ("filter", Ok(Command::Filter(String::new()))),
            ("dance", Err("no command dance; ? shows them".into())),
            ("scale api x", Err("scale x: say 4, +1 or -1".into())),
        ] {
            assert_eq!(parse(line, Some("api")), expect, "{line}");
        }
        assert!(parse("reload", None).is_err());
        assert!(parse("scale 4", None).is_err());
        assert!(parse("zoom 1y", None).is_err());
    }

    #[test]
    fn words_are_completed() {
        let apps = ["api".to_owned(), "apricot".to_owned(), "日本".to_owned()];
        let check = |line: &str, expect: &str| {
            let candidates = completions(line, &apps, &["REQ/S"]);
            assert_eq!(complete(line, &candidates), expect, "{line}");
        };
        check("rel", "reload ");
        check("re", "re");
        check("reload a", "reload ap");
        check("reload api", "reload api");
        check("logs 日", "logs 日本 ");
        check("sort r", "sort REQ/S ");
        check("zoom 30", "zoom 30d ");
        check("nothing", "nothing");
        check("", "");
    }
}
