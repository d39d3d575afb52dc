//! The real `api-server`, asked over real sockets.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod client;
mod contract;
mod cors;
mod drain;
mod headers;
mod hosts_and_log;
mod limits;
mod process;
mod reload;
mod secrets;
mod stack;
mod tls;
