use monitor_spec::now::App;
use monitor_spec::settings::{AlertRule, Condition};

use super::*;

fn outlets(dir: &Path) -> Outlets {
    let (handle, _inbox) = monitor_spec::channel();
    let options = Options {
        dir: dir.to_owned(),
        version: "1",
    };
    Outlets::new(&options, handle)
}

fn now(time_ms: i64, ready: u32, restarts: u64) -> Now {
    let app = App {
        name: "api".into(),
        status: "degraded".into(),
        wanted: 2,
        ready,
        restarts,
        ..App::default()
    };
    Now {
        time_ms,
        apps: vec![app],
        ..Now::default()
    }
}

#[test]
fn settings_alerts_and_the_exposition_outlive_a_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("metrics");
    let mut first = outlets(&dir);
    let spec = MonitorSpec {
        alerts: vec![AlertRule {
            name: "few".into(),
            apps: Vec::new(),
            condition: Condition::Degraded,
            for_ms: 0,
            notify: Vec::new(),
        }],
        ..MonitorSpec::default()
    };
    let configure = Ask::Configure(Box::new(spec.clone()));
    let totals = Totals::default();
    let done = first.answer(configure, &now(0, 1, 0), &totals);
    assert_eq!(done, Ok(Answer::Done));
    let mut kinds = Vec::new();
    let mut last = Now::default();
    for second in 0..15 {
        last = now(second * 1000, 1, 0);
        let events = first.tick(second * 1000, &mut last, &totals);
        kinds.extend(events.into_iter().map(|event| (event.kind, event.text)));
    }
    let told = (
        "alert-firing".to_owned(),
        "few: 1 of 2 workers are ready".to_owned(),
    );
    assert_eq!(kinds, [told]);
    assert_eq!(last.alerts.iter().filter(|a| a.name == "few").count(), 1);
    assert!(last.problems.is_empty());
    let Ok(Answer::Text(text)) = first.answer(Ask::Exposition, &last, &totals) else {
        panic!("no text");
    };
    assert!(text.contains("pando_alerts{name=\"few\",app=\"api\",state=\"firing\"} 1"));
    first.end();
    let mut second = outlets(&dir);
    let settings = second.answer(Ask::Settings, &last, &totals);
    assert_eq!(settings, Ok(Answer::Settings(Box::new(spec))));
    for time_ms in (20_000..40_000).step_by(1000) {
        let mut now = now(time_ms, 1, 0);
        assert!(second.tick(time_ms, &mut now, &totals).is_empty());
        assert_eq!(now.alerts[0].state, AlertState::Firing);
    }
}

#[test]
fn damaged_files_are_said_and_cost_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("settings.json"), "nonsense").unwrap();
    std::fs::write(dir.path().join(ALERTS_FILE), "nonsense").unwrap();
    let mut outlets = outlets(dir.path());
    let mut now = now(0, 2, 0);
    outlets.tick(0, &mut now, &Totals::default());
    assert!(
        now.problems[0].contains("settings.json"),
        "{:?}",
        now.problems
    );
    assert_eq!(outlets.settings(), &MonitorSpec::default());
}

#[test]
fn restarts_only_grow() {
    let mut restarts = Restarts::default();
    for (count, total) in [(3, 3), (5, 5), (0, 5), (2, 7)] {
        restarts.tick(&now(0, 2, count));
        assert_eq!(restarts.totals["api"], total);
    }
    restarts.tick(&Now::default());
    assert!(restarts.totals.is_empty());
}
