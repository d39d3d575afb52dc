//! Tells cargo that migrations are compiled in: a new file there is a new program.
#![allow(clippy::print_stdout, reason = "this is how cargo is told")]

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
