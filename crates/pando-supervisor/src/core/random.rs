//! A small seeded random source (xorshift64*, Marsaglia 2003, Vigna 2016): jitter and random
//! balance need no more, and a seed replays a run.

pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// `value` moved by up to a quarter either way.
    pub fn jitter(&mut self, value: u64) -> u64 {
        let span = value / 2;
        if span == 0 {
            return value;
        }
        value - value / 4 + self.draw() % (span + 1)
    }
}
