//! A histogram as JSON, the same from the preload, the gateway and the store:
//! `{"h":[bucket,count,bucket,count,…],"s":sum,"x":max}`.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{BUCKETS, Histogram};

#[derive(Serialize, Deserialize)]
struct Wire {
    #[serde(default)]
    h: Vec<u64>,
    #[serde(default)]
    s: u64,
    #[serde(default)]
    x: u64,
}

impl Serialize for Histogram {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let pairs = self.buckets();
        let wire = Wire {
            h: pairs.flat_map(|(b, times)| [b as u64, times]).collect(),
            s: self.sum(),
            x: self.max(),
        };
        wire.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Histogram {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wire = Wire::deserialize(deserializer)?;
        if wire.h.len() % 2 == 1 || wire.h.len() > 2 * BUCKETS {
            return Err(D::Error::custom("buckets and counts do not pair"));
        }
        let pairs = wire.h.chunks_exact(2).map(|pair| (pair[0], pair[1]));
        Histogram::from_parts(pairs, wire.s, wire.x).map_err(D::Error::custom)
    }
}
