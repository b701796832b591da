//! Workers of an app as endpoints: what the supervisor says becomes what requests are balanced by.

use std::sync::atomic::Ordering::Relaxed;

use gateway_spec::Protocol;
use gateway_spec::link::{AppEndpoints, AppState, Endpoint as Told, EndpointState};

use super::endpoint::{Address, Known};
use super::group::Group;
use crate::clock;

/// Takes over what the supervisor says of the group's app.
pub fn set(group: &Group, app: &AppEndpoints) {
    let all = app.endpoints.iter().filter_map(|told| known(app, told));
    group.set(all.collect());
    let now_ms = clock::now_ms();
    for endpoint in group.endpoints().iter() {
        let told = app
            .endpoints
            .iter()
            .find(|t| known(app, t).as_ref() == Some(&endpoint.known));
        let Some(told) = told else {
            continue;
        };
        let open = told.state.is_available();
        let was_closed = endpoint.closed.swap(!open, Relaxed);
        if told.state == EndpointState::Draining {
            // It ends when its last connection does.
            endpoint.close_idle();
        }
        let lag_us = u32::try_from(told.lag_us).unwrap_or(u32::MAX);
        endpoint.lag_us.store(lag_us, Relaxed);
        if was_closed && open {
            let since = now_ms.saturating_sub(told.ready_ms);
            endpoint.since_ms.store(since, Relaxed);
        }
    }
    group.set_absence(absence(app));
    group.wake_all();
}

/// Why nobody is to be waited for; `None` while a worker may come.
fn absence(app: &AppEndpoints) -> Option<String> {
    let what = match app.state {
        AppState::Waiting | AppState::Waking | AppState::Ready | AppState::Other => return None,
        AppState::Unknown => "does not exist",
        AppState::Stopped => "is stopped",
        AppState::CrashLoop => "keeps failing at its start",
        AppState::Exited => "has ended",
    };
    Some(format!("the app {} {what}", app.app))
}

fn known(app: &AppEndpoints, told: &Told) -> Option<Known> {
    let address = match told.address.strip_prefix("unix:") {
        Some(path) => Address::Unix(path.into()),
        None => Address::Tcp(told.address.parse().ok()?),
    };
    Some(Known {
        address,
        label: format!("{}/{}", app.app, told.instance).into(),
        worker: Some(told.worker.to_string().into()),
        instance: Some(told.instance),
        host: "localhost".into(),
        protocol: Protocol::Http1,
        weight: 1,
        backup: false,
    })
}
