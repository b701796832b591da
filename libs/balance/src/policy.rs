/// How to choose among the available endpoints of a [`Picker`](crate::Picker) or members of a
/// [`Balancer`](crate::Balancer). A `Picker` knows no weights: there all are equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Least expected latency of two at random, by [`PeakEwma`](crate::PeakEwma).
    #[default]
    PeakEwma,
    /// By turns.
    ///
    /// `Picker`: the one that waited longest for its turn. While two endpoints are available
    /// their numbers of picks differ by at most one, whatever the others do meanwhile. One that
    /// comes back gets the next pick and then takes part as before: nothing is made up for the
    /// time that it was away.
    ///
    /// `Balancer`: by weight, smoothly, as nginx does it: weights 5, 1, 1 give `aabacaa`.
    RoundRobin,
    /// The least load for its weight; among equals by turns.
    LeastConnections,
    /// Each with a probability in proportion to its weight.
    Random,
    /// The less loaded of two different ones at random.
    TwoChoices,
    /// By the client's address, by rendezvous hashing over the ids: the same client goes to the
    /// same endpoint while that is available, over reloads, restarts and versions. A new
    /// endpoint takes about its share of the clients and moves no others; while one is
    /// unavailable only its own clients move, spread over the rest, and they return with it.
    ///
    /// An IPv4 address mapped into IPv6 (`::ffff:a.b.c.d`, as a dual-stack socket names it)
    /// counts as the IPv4 address. A client without an address is placed at random.
    IpHash,
    /// By any key, on a ring of points as ketama's. Promises what [`Policy::IpHash`] does, at a
    /// cost that hardly grows with the number of members.
    RingHash,
}
