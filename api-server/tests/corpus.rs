//! The inputs that fuzzing has found, each through the property of its fuzz target, with the stable toolchain. New ones come
//! from `hack/fuzz.sh --keep`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed unwrap is a failed test"
)]

#[path = "../fuzz/properties/forwarded.rs"]
mod forwarded;
#[path = "../fuzz/properties/jwt.rs"]
mod jwt;
#[path = "../fuzz/properties/policy.rs"]
mod policy;

use std::{fs, path::Path};

/// Checks each input; those that are accepted and those that are not must both be there, or the property says nothing.
fn replay(target: &str, check: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let (mut accepted, mut refused) = (0, 0);
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Shown with a failure only.
        eprintln!("{}", path.display());
        *(if check(&fs::read(&path).unwrap()) { &mut accepted } else { &mut refused }) += 1;
    }
    assert!(accepted >= 5 && refused >= 5, "{target}: {accepted} accepted, {refused} refused");
}

#[test]
fn what_fuzzing_found_for_the_policy_file_keeps_its_property() {
    replay("policy", policy::check);
}

#[test]
fn what_fuzzing_found_for_forwarded_addresses_keeps_its_property() {
    replay("forwarded", forwarded::check);
}

#[test]
fn what_fuzzing_found_for_tokens_keeps_its_property() {
    replay("jwt", jwt::check);
}
