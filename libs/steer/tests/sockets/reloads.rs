//! Reload after reload: seats go out and in, the group grows, and each connection lands where the
//! filter says, once.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use steer::Group;

use crate::client::{self, Client};
use crate::loopback;
use crate::worker::{self, Worker};

const RELOADS: usize = 100;
const CONNECTIONS: usize = 50;
/// Every so many reloads the successor gets a new seat rather than a free one.
const GROW_EVERY: usize = 20;

/// Numbers without a pattern that a failing run repeats.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// The seats in use and the free ones of a group under reloads.
struct Seating {
    group: Group,
    /// Seat to whatever serves it.
    taken: BTreeMap<usize, OwnedFd>,
    dice: Dice,
}

impl Seating {
    fn new(workers: usize) -> Seating {
        let mut group = Group::open(&loopback(), workers).unwrap();
        let seats: Vec<usize> = (0..workers).collect();
        group.steer(&seats).unwrap();
        let taken = seats
            .iter()
            .map(|&seat| (seat, worker::duplicate(&group, seat)))
            .collect();
        Seating {
            group,
            taken,
            dice: Dice(0x5eed + workers as u64),
        }
    }

    /// A worker in another seat takes over from one of the old.
    fn reload(&mut self, round: usize) {
        let free: Vec<usize> = (0..self.group.seats())
            .filter(|seat| !self.taken.contains_key(seat))
            .collect();
        let incoming = if free.is_empty() || round.is_multiple_of(GROW_EVERY) {
            self.group.grow(self.group.seats() + 1).unwrap();
            self.group.seats() - 1
        } else {
            free[self.dice.below(free.len())]
        };
        let leaving = self.dice.below(self.taken.len());
        let leaving = *self.taken.keys().nth(leaving).unwrap();
        self.taken
            .insert(incoming, worker::duplicate(&self.group, incoming));
        drop(self.taken.remove(&leaving));
        let seats: Vec<usize> = self.taken.keys().copied().collect();
        self.group.steer(&seats).unwrap();
        assert_eq!(self.group.steered(), seats);
    }

    /// Opens connections, accepts each in one of the workers, and answers.
    fn exchange(&self, first_id: u32) {
        let ids = first_id..first_id + CONNECTIONS as u32;
        let addr = self.group.local_addr();
        let clients: Vec<Client> = ids.clone().map(|id| Client::connect(addr, id)).collect();
        let mut served = BTreeSet::new();
        client::eventually("all connections accepted", || {
            for listener in self.taken.values() {
                while let Some(connection) = worker::accept(listener) {
                    assert!(served.insert(client::serve(connection)), "accepted twice");
                }
            }
            (served.len() >= CONNECTIONS).then_some(())
        });
        assert_eq!(served, ids.collect());
        for client in clients {
            client.hear();
        }
    }

    fn free_seats_are_empty(&self) {
        for seat in (0..self.group.seats()).filter(|seat| !self.taken.contains_key(seat)) {
            assert_eq!(self.group.queued(seat).unwrap(), 0, "seat {seat}");
            assert!(self.group.accept(seat).unwrap().is_none(), "seat {seat}");
        }
    }
}

fn check(workers: usize) {
    let mut seating = Seating::new(workers);
    let mut id = 0;
    for round in 0..RELOADS {
        seating.reload(round);
        seating.exchange(id);
        seating.free_seats_are_empty();
        id += CONNECTIONS as u32;
    }
    // After all that, each seat still is the one that the kernel knows by this number.
    for seat in 0..seating.group.seats() {
        seating.taken = BTreeMap::from([(seat, worker::duplicate(&seating.group, seat))]);
        seating.group.steer(&[seat]).unwrap();
        seating.exchange(id);
        seating.free_seats_are_empty();
        id += CONNECTIONS as u32;
    }
}

#[test]
fn two_seats_over_a_hundred_reloads() {
    check(2);
}

#[test]
fn four_seats_over_a_hundred_reloads() {
    check(4);
}

#[test]
fn sixteen_seats_over_a_hundred_reloads() {
    check(16);
}

/// Clients that never pause while workers are killed and replaced: what waits in the queue of a
/// dead worker, and what still gets there, is taken and served by another.
#[test]
fn no_connection_is_lost_under_load() {
    const WORKERS: usize = 4;
    const SPARE: usize = WORKERS;
    let mut group = Group::open(&loopback(), WORKERS + 1).unwrap();
    let mut seats: Vec<usize> = (0..WORKERS).collect();
    group.steer(&seats).unwrap();
    let mut workers: BTreeMap<usize, Worker> = seats
        .iter()
        .map(|&seat| (seat, Worker::start(&group, seat)))
        .collect();

    let done = Arc::new(AtomicBool::new(false));
    let next_id = Arc::new(AtomicU32::new(0));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let (done, next_id, addr) = (done.clone(), next_id.clone(), group.local_addr());
            std::thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    Client::connect(addr, next_id.fetch_add(1, Ordering::Relaxed)).hear();
                }
            })
        })
        .collect();

    let mut served = Vec::new();
    let mut spare = SPARE;
    for round in 0..RELOADS {
        let leaving = seats[round % WORKERS];
        // Dead before it is steered around, as after a crash.
        served.extend(workers.remove(&leaving).unwrap().kill());
        seats[round % WORKERS] = spare;
        workers.insert(spare, Worker::start(&group, spare));
        group.steer(&seats).unwrap();
        spare = leaving;
        let target = next_id.load(Ordering::Relaxed) + 10;
        client::eventually("ten more requests", || {
            while let Some((connection, _)) = group.accept(spare).unwrap() {
                served.push(client::serve(connection));
            }
            (next_id.load(Ordering::Relaxed) >= target).then_some(())
        });
    }
    done.store(true, Ordering::Relaxed);
    client::eventually("the clients' end", || {
        while let Some((connection, _)) = group.accept(spare).unwrap() {
            served.push(client::serve(connection));
        }
        clients
            .iter()
            .all(std::thread::JoinHandle::is_finished)
            .then_some(())
    });
    for client in clients {
        client
            .join()
            .expect("a client whose every request was answered");
    }
    for worker in workers.into_values() {
        served.extend(worker.kill());
    }
    served.sort_unstable();
    let all: Vec<u32> = (0..next_id.load(Ordering::Relaxed)).collect();
    assert_eq!(served, all, "each exactly once");
}
