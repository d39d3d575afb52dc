//! Feeds the property of `properties/forwarded.rs` with whatever libFuzzer makes.
#![no_main]

#[path = "../properties/forwarded.rs"]
mod forwarded;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    forwarded::check(input);
});
