//! Where one can be: pages, the lists they show, and the way back.

use monitor_spec::now::{App, Endpoint, Now, Worker};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    Apps,
    /// Apps and their workers in one list.
    Top,
    App(String),
    Worker {
        app: String,
        instance: u32,
    },
    Endpoint {
        app: String,
        method: String,
        route: String,
    },
    Gateway,
    Alerts,
    Events,
    Logs,
}

/// What fills the lower part of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum List {
    Apps,
    Top,
    Workers,
    Endpoints,
    Outgoing,
    Logs,
    Events,
    Facts,
    Routes,
    Upstreams,
    Certificates,
    Alerts,
}

impl List {
    pub fn name(self) -> &'static str {
        match self {
            Self::Apps => "apps",
            Self::Top => "top",
            Self::Workers => "workers",
            Self::Endpoints => "endpoints",
            Self::Outgoing => "outgoing",
            Self::Logs => "logs",
            Self::Events => "events",
            Self::Facts => "details",
            Self::Routes => "routes",
            Self::Upstreams => "upstreams",
            Self::Certificates => "certificates",
            Self::Alerts => "alerts",
        }
    }
}

impl Page {
    pub fn lists(&self) -> &'static [List] {
        match self {
            Self::Apps => &[List::Apps],
            Self::Top => &[List::Top],
            Self::App(_) => &[
                List::Workers,
                List::Endpoints,
                List::Outgoing,
                List::Logs,
                List::Events,
            ],
            Self::Worker { .. } => &[List::Facts, List::Logs],
            Self::Endpoint { .. } => &[List::Facts],
            Self::Gateway => &[List::Routes, List::Upstreams, List::Certificates],
            Self::Alerts => &[List::Alerts],
            Self::Events => &[List::Events],
            Self::Logs => &[List::Logs],
        }
    }

    /// The app it is about.
    pub fn app(&self) -> Option<&str> {
        match self {
            Self::App(app) | Self::Worker { app, .. } | Self::Endpoint { app, .. } => Some(app),
            Self::Apps | Self::Top | Self::Gateway | Self::Alerts | Self::Events | Self::Logs => {
                None
            }
        }
    }

    /// Its name in the path at the top of the screen.
    pub fn title(&self) -> String {
        match self {
            Self::Apps => "apps".into(),
            Self::Top => "top".into(),
            Self::App(app) => app.clone(),
            Self::Worker { instance, .. } => format!("worker {instance}"),
            Self::Endpoint { method, route, .. } => format!("{method} {route}"),
            Self::Gateway => "gateway".into(),
            Self::Alerts => "alerts".into(),
            Self::Events => "events".into(),
            Self::Logs => "logs".into(),
        }
    }
}

/// What is selected in a list. The key leads: a list that is sorted anew keeps its selection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub key: String,
    pub index: usize,
    /// The first row on the screen.
    pub offset: usize,
}

/// A page with all that belongs to looking at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub page: Page,
    pub tab: usize,
    pub cursors: Vec<Cursor>,
    pub filter: String,
}

impl Place {
    pub fn new(page: Page) -> Self {
        let cursors = vec![Cursor::default(); page.lists().len()];
        Self {
            page,
            tab: 0,
            cursors,
            filter: String::new(),
        }
    }

    pub fn list(&self) -> List {
        let lists = self.page.lists();
        lists
            .get(self.tab)
            .or(lists.first())
            .copied()
            .unwrap_or(List::Apps)
    }
}

/// The app of that name.
pub fn app<'a>(now: &'a Now, name: &str) -> Option<&'a App> {
    now.apps.iter().find(|app| app.name == name)
}

pub fn worker<'a>(now: &'a Now, name: &str, instance: u32) -> Option<&'a Worker> {
    app(now, name)?
        .workers
        .iter()
        .find(|w| w.instance == instance)
}

pub fn endpoint<'a>(now: &'a Now, name: &str, method: &str, route: &str) -> Option<&'a Endpoint> {
    let endpoints = &app(now, name)?.endpoints;
    endpoints
        .iter()
        .find(|e| e.method == method && e.route == route)
}
