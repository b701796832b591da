//! What is added to an app.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// A second process without anything: what the method itself is off by.
    Nothing,
    Pando,
    PromBundle,
    Pm2,
    OpenTelemetry,
}

impl Variant {
    pub const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Pando,
        Self::PromBundle,
        Self::Pm2,
        Self::OpenTelemetry,
    ];

    /// Its name on the command line.
    pub fn key(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Pando => "pando",
            Self::PromBundle => "prom",
            Self::Pm2 => "pm2",
            Self::OpenTelemetry => "otel",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing (the method's own error)",
            Self::Pando => "Pando's agent",
            Self::PromBundle => "express-prom-bundle",
            Self::Pm2 => "@pm2/io, as PM2 sets it up",
            Self::OpenTelemetry => "OpenTelemetry http + express",
        }
    }

    pub fn runs(self, app: &str) -> bool {
        self != Self::PromBundle || app != "http"
    }

    /// The file to load before the app.
    pub fn preload(self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Pando | Self::PromBundle => None,
            Self::Pm2 => Some("pm2io.js"),
            Self::OpenTelemetry => Some("otel.js"),
        }
    }
}
