//! The gateway's part of a pando.toml: what `plan` shows and `up` does of it.

use std::path::Path;

use app_spec::{AppSpec, GATEWAY};
use pando_config::{GatewayStep, GatewayVerb, plan_gateway};
use pando_control::api::{Request, Select};

use super::file::{Group, Told};

/// Apps, and the app that is the gateway.
pub fn split(specs: &[AppSpec]) -> (Vec<AppSpec>, Option<&AppSpec>) {
    let is_gateway = |spec: &&AppSpec| spec.gateway.is_some();
    let apps = specs.iter().filter(|spec| !is_gateway(spec));
    (apps.cloned().collect(), specs.iter().find(is_gateway))
}

/// What is to be done about the gateway; `None` where the file has none and never had.
pub fn group(running: Option<&AppSpec>, wanted: Option<&AppSpec>, path: &Path) -> Option<Group> {
    // Another file's gateway is left alone by a file that has none.
    let own = running.filter(|spec| wanted.is_some() || spec.origin.as_deref() == Some(path));
    let gateway = |spec: Option<&AppSpec>| spec.and_then(|s| s.gateway.as_deref().cloned());
    let step = plan_gateway(gateway(own).as_ref(), gateway(wanted).as_ref())?;
    let request = match (step.verb, wanted) {
        (GatewayVerb::Start, Some(spec)) => Some(Request::Start {
            specs: vec![spec.clone()],
            wait: true,
        }),
        (GatewayVerb::Change, Some(spec)) => Some(Request::Configure {
            spec: Box::new(spec.clone()),
        }),
        (GatewayVerb::Stop, _) => Some(Request::Delete {
            select: Select::Names(vec![GATEWAY.to_owned()]),
        }),
        (GatewayVerb::Unchanged, _) | (GatewayVerb::Start | GatewayVerb::Change, None) => None,
    };
    Some(Group {
        told: vec![told(step)],
        request,
    })
}

fn told(step: GatewayStep) -> Told {
    let (sign, verb, why) = match step.verb {
        GatewayVerb::Start => ('+', "start", ""),
        GatewayVerb::Change => ('~', "configure", ""),
        GatewayVerb::Stop => ('-', "delete", "no longer in the file"),
        GatewayVerb::Unchanged => ('=', "unchanged", ""),
    };
    // A new one is told in one line: all of it is new.
    let changed = if step.verb == GatewayVerb::Change {
        step.changed
    } else {
        Vec::new()
    };
    Told {
        sign,
        app: GATEWAY.to_owned(),
        verb,
        why: why.to_owned(),
        changed,
    }
}

#[cfg(test)]
mod tests {
    use gateway_spec::{GatewaySpec, Listen};

    use super::*;

    fn spec(port: u16, origin: &str) -> AppSpec {
        let gateway = GatewaySpec {
            listen: vec![Listen::plain(([0, 0, 0, 0], port).into())],
            ..GatewaySpec::default()
        };
        AppSpec {
            origin: Some(origin.into()),
            ..AppSpec::of_gateway(gateway)
        }
    }

    #[test]
    fn a_gateway_starts_changes_stays_and_goes() {
        let path = Path::new("/srv/pando.toml");
        let (one, two) = (spec(80, "/srv/pando.toml"), spec(81, "/srv/pando.toml"));
        let verb = |running, wanted| group(running, wanted, path).map(|g| g.told[0].verb);
        assert_eq!(verb(None, None), None);
        assert_eq!(verb(None, Some(&one)), Some("start"));
        assert_eq!(verb(Some(&one), Some(&two)), Some("configure"));
        assert_eq!(verb(Some(&one), Some(&one)), Some("unchanged"));
        assert_eq!(verb(Some(&one), None), Some("delete"));
        let foreign = spec(80, "/other/pando.toml");
        assert_eq!(verb(Some(&foreign), None), None);
    }
}
