//! The testbed: a real Kubernetes built from pinned sources, for tests and for the demo. It knows nothing of what
//! the operator does; tests say what they expect.

pub mod apiserver;
pub mod audit;
pub mod bench;
pub mod certificate;
pub mod cgroups;
pub mod cluster;
pub mod containerd;
pub mod controllers;
pub mod dockerfile;
pub mod doctor;
pub mod drift;
pub mod etcd;
pub mod fault;
pub mod figures;
pub mod fixture;
pub mod gobuild;
pub mod home;
pub mod image;
pub mod install;
pub mod kubelet;
pub mod lifecycle;
pub mod load;
pub mod network;
pub mod node;
pub mod operator;
pub mod parts;
pub mod pki;
pub mod previous;
pub mod private;
pub mod process;
pub mod progress;
pub mod provided;
pub mod registry;
pub mod release;
pub mod rights;
pub mod state;
pub mod tiltfile;
pub mod users;
pub mod wait;

pub use audit::Audit;
pub use cluster::{Cluster, Namespace};
pub use fault::{Fault, FaultProxy};
pub use operator::Operator;
pub use private::PrivateTestbed;
pub use wait::{Look, wait_until};
