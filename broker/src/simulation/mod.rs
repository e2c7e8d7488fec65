//! The whole broker in one thread: its connections over pipes, its store over a disk that forgets, clients that
//! come and go, and crashes. A seed decides everything; one that fails is written down in [`ONCE_FAILED`].

mod executor;
mod link;
mod model;
mod publisher;
mod rng;
mod subscriber;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use world::{Kind, Seen, World};

/// Seeds that a fault was once found with.
const ONCE_FAILED: &[u64] = &[65, 2_862, 3_272, 4_221, 4_898, 9_498, 10_119, 12_941, 13_016, 16_462];
/// Seeds of every run.
const SEEDS: u64 = 300;
/// Seeds of the long run.
const SEEDS_MANY: u64 = 100_000;

fn try_seed(runtime: &tokio::runtime::Runtime, seed: u64, kind: Kind) -> Result<Seen, String> {
    // Timers are made, and never fire: nothing here waits for the clock.
    let _entered = runtime.enter();
    World::new(seed, kind).run()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

/// Runs seeds on all cores; panics with the first that fails.
fn run_seeds(seeds: u64) -> Seen {
    let (next, seen) = (AtomicU64::new(0), Mutex::new(Seen::default()));
    let work = || {
        let runtime = runtime();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return;
            }
            match try_seed(&runtime, seed, Kind::Honest) {
                Ok(found) => seen.lock().unwrap().add(&found),
                Err(why) => {
                    next.store(seeds, Ordering::Relaxed);
                    panic!("seed {seed}: {why}");
                }
            }
            if (seed + 1).is_multiple_of(10_000) {
                println!("{} seeds", seed + 1);
            }
        }
    };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(why) = worker.join() {
                std::panic::resume_unwind(why);
            }
        }
    });
    seen.into_inner().unwrap()
}

#[test]
fn what_is_promised_is_kept() {
    for seed in ONCE_FAILED {
        if let Err(why) = try_seed(&runtime(), *seed, Kind::Honest) {
            panic!("seed {seed}: {why}");
        }
    }
    let seen = run_seeds(SEEDS);
    println!("{seen:?}");
    let Seen { messages, crashes, unannounced, forgotten, failed_syncs, times_full, refusals, cuts, shared } =
        seen;
    let all = [messages, crashes, unannounced, forgotten, failed_syncs, times_full, refusals, cuts, shared];
    assert!(all.iter().all(|count| *count > 0), "something never happens: {seen:?}");
}

#[test]
#[ignore = "takes minutes"]
fn what_is_promised_is_kept_with_many_seeds() {
    println!("{:?}", run_seeds(SEEDS_MANY));
}

#[test]
fn a_store_that_acknowledges_too_early_is_caught() {
    let runtime = runtime();
    let caught = (0..200).filter(|seed| try_seed(&runtime, *seed, Kind::Lying).is_err()).count();
    assert!(caught > 0);
    println!("{caught} of 200");
}
