//! The script and the connection, against a real Redis.

use std::{net::IpAddr, thread};

use tokio::runtime::{Builder, Runtime};

use super::*;

const MINUTE: u64 = 60_000_000_000;

/// A store on a runtime of its own, as the main thread has one.
fn store(server: &testbed::Redis) -> (Runtime, Redis) {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let redis = {
        let _inside = runtime.enter();
        Redis::without_address(None, StoreMetrics::default())
    };
    redis.set_address(server.url().into()).unwrap();
    (runtime, redis)
}

fn client(address: &str) -> Counted {
    Counted::new(address.parse::<IpAddr>().unwrap(), 64)
}

/// Takes on a thread with a runtime that ends, as a worker does.
fn take(redis: &Redis, client: Counted, quota: Quota) -> Decision {
    let site = client.site().map(|site| (site, quota.scaled(16, 1)));
    let worker = || {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(redis.take("login", client, quota, site)).unwrap()
    };
    thread::scope(|scope| scope.spawn(worker).join().unwrap())
}

#[test]
fn the_script_decides_as_the_memory_does_and_the_end_of_a_worker_leaves_the_connection_to_the_others() {
    let server = testbed::Redis::start().unwrap();
    let (_runtime, redis) = store(&server);
    let quota = Quota::new(5, MINUTE);
    let mut full_at = 0;
    for _ in 0..7 {
        let (next, expected) = quota.take(full_at, MINUTE);
        full_at = next;
        let seen = take(&redis, client("203.0.113.7"), quota);
        assert_eq!((seen.allowed, seen.remaining), (expected.allowed, expected.remaining));
        // The seconds that the test itself takes are in between.
        assert!(seen.reset.abs_diff(expected.reset) < 10_000_000_000, "{seen:?} {expected:?}");
        assert!(seen.retry_after.abs_diff(expected.retry_after) < 10_000_000_000, "{seen:?} {expected:?}");
    }
    assert!(take(&redis, client("203.0.113.8"), quota).allowed, "another client");
    let keys = server.command(&["KEYS", "*"]).unwrap();
    assert!(keys.contains("hs:rl:1:{login:203.0.113.7}:203.0.113.7"), "{keys}");
    let millis = server.command(&["PTTL", "hs:rl:1:{login:203.0.113.7}:203.0.113.7"]).unwrap();
    let millis: u64 = millis.trim_start_matches(':').parse().unwrap();
    assert!((1..=60_000).contains(&millis), "a key lives until its bucket is full: {millis}");
    let clients = server.command(&["CLIENT", "LIST"]).unwrap();
    assert_eq!(clients.matches("addr=").count(), 2 * 2, "one of ours beside this one: {clients}");
}

#[test]
fn a_site_of_many_prefixes_is_limited_as_a_whole_and_its_keys_lie_in_one_slot() {
    let server = testbed::Redis::start().unwrap();
    let (_runtime, redis) = store(&server);
    let quota = Quota::new(2, 24 * 60 * MINUTE);
    let passed =
        (0..40).filter(|n| take(&redis, client(&format!("2001:db8:1:{n:x}::1")), quota).allowed).count();
    assert_eq!(passed, 2 * 16);
    let site = "hs:rl:1:{login:2001:db8:1::/48}:2001:db8:1::/48";
    let own = "hs:rl:1:{login:2001:db8:1::/48}:2001:db8:1:7::/64";
    assert_eq!(server.command(&["EXISTS", site, own]).unwrap(), ":2");
}

#[test]
fn a_clock_that_was_set_back_locks_nobody_out_for_longer_than_the_period() {
    let server = testbed::Redis::start().unwrap();
    let (_runtime, redis) = store(&server);
    let (quota, who) = (Quota::new(3, MINUTE), client("203.0.113.7"));
    let key = "hs:rl:1:{login:203.0.113.7}:203.0.113.7";
    // What a server wrote whose clock was years ahead.
    server.command(&["SET", key, "9000000000000000", "PX", "99999999999"]).unwrap();
    let refused = take(&redis, who, quota);
    assert!(!refused.allowed && refused.reset <= MINUTE && refused.retry_after <= MINUTE / 3, "{refused:?}");
    let later = take(&redis, who, quota);
    assert!(!later.allowed && later.reset < refused.reset, "time goes on: {refused:?} {later:?}");
    let millis = server.command(&["PTTL", key]).unwrap();
    assert!(millis.trim_start_matches(':').parse::<u64>().unwrap() <= 60_000, "{millis}");
}

#[test]
fn a_connection_that_redis_has_closed_and_a_script_that_it_forgot_cost_no_request() {
    let server = testbed::Redis::start().unwrap();
    let (_runtime, redis) = store(&server);
    let quota = Quota::new(9, MINUTE);
    let take = || take(&redis, client("203.0.113.7"), quota).remaining;
    assert_eq!(take(), 8);
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    assert_eq!(take(), 7);
    server.command(&["SCRIPT", "FLUSH"]).unwrap();
    assert_eq!(take(), 6);
    assert_eq!(redis.metrics.errors.get(), 0);
}

#[test]
fn a_new_address_counts_from_the_next_request_and_a_bad_one_is_refused_without_being_shown() {
    let (first, second) = (testbed::Redis::start().unwrap(), testbed::Redis::start().unwrap());
    let (_runtime, redis) = store(&first);
    let quota = Quota::new(9, MINUTE);
    let take = || take(&redis, client("203.0.113.7"), quota).remaining;
    assert_eq!([take(), take()], [8, 7]);
    redis.set_address(second.url().into()).unwrap();
    assert_eq!(take(), 8);
    for bad in
        ["http://:hunter2@a", "unix:///hunter2", "redis://:hunter2@a:b", "rediss://:hunter2@a/#insecure"]
    {
        let error = redis.set_address(bad.to_owned().into()).unwrap_err().to_string();
        assert!(error.starts_with("REDIS_URL: ") && !error.contains("hunter2"), "{error}");
    }
    assert_eq!(take(), 7, "the last good one stays");
}
