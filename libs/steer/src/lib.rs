//! Listening sockets whose connections can be steered.
//!
//! A [`Group`] is one TCP address with several *seats*. Each seat is a listening socket of its
//! own with an accept queue of its own, to be given to one worker; all of them share the address
//! by SO_REUSEPORT, and a classic BPF program picks the seat of each new connection. Steering
//! costs one system call and no connection passes through the process that steers. Because the
//! seats stay open here when a worker dies, nothing that waits in a dead worker's queue is reset:
//! its successor gets the same seat, or [`Group::accept`] takes the connections and they are
//! handed to other workers.
//!
//! The other listening sockets of a supervisor are [`Single`] (accept here and hand over) and
//! [`open_unix`]. [`holder`] says who has a taken port, [`listening_ports`] what a process listens
//! on. Linux only.
//!
//! # What the kernel does
//! (net/core/sock_reuseport.c, net/ipv4/inet_hashtables.c; Linux 4.6 or later.)
//!
//! - A seat's index is the order in which the sockets called `listen`. When a socket leaves the
//!   group, the *last* one takes its index. So a group that closes a seat would renumber another;
//!   seats are never closed while the group lives, and whoever hands the sockets to a successor
//!   ([`Group::adopt`]) hands over all of them, in order.
//! - The program belongs to the kernel's group, not to a process: it survives the death of the
//!   process that set it, as long as somebody holds a seat. Replacing it is atomic.
//! - The seat is chosen when the SYN arrives. A handshake under way ends at its seat even when the
//!   filter has changed meanwhile, so connections can still reach the queue of a seat that was
//!   just steered away from. With SYN cookies (a full SYN queue) no seat is remembered, and the
//!   filter is asked again when the handshake ends.
//! - If the program answers an index that does not exist, or if the group has no program yet,
//!   the kernel picks by a hash of addresses and ports over *all* sockets of the group. There is
//!   no answer that means "none": hence an empty set leaves the last filter in place, and a
//!   group that was never steered serves all its seats.
//! - A seat whose queue is full drops the SYN; the client's next attempt (after a second) is a new
//!   throw of the dice.
//! - A process of the same user that sets SO_REUSEPORT can join a group that exists, by binding
//!   the same address later. It gets an index behind our seats, which the filter never answers:
//!   it receives nothing once the group has been steered. [`Group::grow`] refuses to count past
//!   it. A process that binds a more specific address on the same port takes the connections
//!   to that address, as everywhere.

mod beside;
pub mod bpf;
mod diag;
mod error;
mod group;
mod holder;
mod listener;
mod proc_net;
mod single;
mod sockopt;
mod unix;

pub use beside::Beside;
pub use error::{Holder, OpenError, SteerError};
pub use group::Group;
pub use holder::{holder, listening_ports};
pub use listener::Bind;
pub use single::Single;
pub use unix::open_unix;
