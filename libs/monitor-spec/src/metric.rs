//! The names of what is measured and kept over time.

use serde::{Deserialize, Serialize};

macro_rules! metrics {
    ($($(#[$doc:meta])* $variant:ident $name:literal $unit:literal;)*) => {
        /// A quantity over time.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Metric {
            $($(#[$doc])* $variant,)*
        }

        impl Metric {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// As `pando metrics query` and the API name it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// `us`, `bytes`, `percent`, `per_s`, `ratio`, `count`.
            pub fn unit(self) -> &'static str {
                match self {
                    $(Self::$variant => $unit,)*
                }
            }
        }
    };
}

metrics! {
    /// Requests a second.
    Rate "rate" "per_s";
    /// Answers with 5xx a second.
    Errors5xx "errors5xx" "per_s";
    /// Answers with 4xx a second.
    Errors4xx "errors4xx" "per_s";
    LatencyMean "latency_mean" "us";
    LatencyP50 "latency_p50" "us";
    LatencyP95 "latency_p95" "us";
    LatencyP99 "latency_p99" "us";
    LatencyMax "latency_max" "us";
    InFlight "in_flight" "count";
    LagMean "lag_mean" "us";
    LagP99 "lag_p99" "us";
    LagMax "lag_max" "us";
    Utilization "utilization" "ratio";
    /// 100 is one core.
    Cpu "cpu" "percent";
    CpuWait "cpu_wait" "percent";
    Memory "memory" "bytes";
    Pss "pss" "bytes";
    HeapUsed "heap_used" "bytes";
    HeapTotal "heap_total" "bytes";
    HeapFloor "heap_floor" "bytes";
    External "external" "bytes";
    /// Milliseconds of garbage collection a second, as a share of time.
    Gc "gc" "percent";
    Fds "fds" "count";
    ContextSwitches "context_switches" "per_s";
    Handles "handles" "count";
    WorkersReady "workers_ready" "count";
    Restarts "restarts" "count";
    Connections "connections" "count";
    BytesIn "bytes_in" "per_s";
    BytesOut "bytes_out" "per_s";
    CacheHits "cache_hits" "per_s";
    CacheMisses "cache_misses" "per_s";
    Limited "limited" "per_s";
    Retries "retries" "per_s";
    HostCpu "host_cpu" "percent";
    HostLoad "host_load" "count";
    HostMemoryAvailable "host_memory_available" "bytes";
}

impl std::str::FromStr for Metric {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut all = Self::ALL.iter().copied();
        all.find(|metric| metric.name() == name).ok_or(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_json_agree() {
        for metric in Metric::ALL {
            let json = serde_json::to_string(metric).unwrap();
            assert_eq!(json, format!("{:?}", metric.name()), "{metric:?}");
            assert_eq!(metric.name().parse(), Ok(*metric));
        }
    }
}
