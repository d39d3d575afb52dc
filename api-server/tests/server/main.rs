//! The real `api-server`, asked over real sockets.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod abuse;
mod accounts;
mod attack;
mod aws;
mod azure;
mod backed;
mod backup;
mod client;
mod contract;
mod cors;
mod dependencies;
mod drain;
mod every_route;
mod failover;
mod headers;
mod hostile;
mod hosts_and_log;
mod issuer;
mod jobs;
mod jwks;
mod jwt;
mod key_rotation;
mod limit_storage;
mod limits;
mod open_loop;
mod openapi;
mod pair;
mod process;
mod provider;
mod proxied;
mod reload;
mod rolling;
mod secrets;
mod shared_limits;
mod stack;
mod tls;
mod tokens;
mod traces;
mod vault;
mod videos;
