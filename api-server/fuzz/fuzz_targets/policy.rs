//! Feeds the property of `properties/policy.rs` with whatever libFuzzer makes.
#![no_main]

#[path = "../properties/policy.rs"]
mod policy;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    policy::check(input);
});
