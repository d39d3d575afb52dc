//! Secrets from variables of the process. They are those of the start: nobody can change them from outside.

use std::env;

use futures::{FutureExt as _, future::BoxFuture};

use super::backend::{Answer, Backend, BackendError, found};

/// The variables of the process.
#[derive(Debug)]
pub struct Environment;

impl Backend for Environment {
    fn name(&self) -> &'static str {
        "environment"
    }

    fn local(&self) -> bool {
        true
    }

    fn read<'a>(&'a self, names: &'a [&'static str]) -> BoxFuture<'a, Result<Answer, BackendError>> {
        async move { Ok(self.read_now(names)) }.boxed()
    }
}

impl Environment {
    pub(super) fn read_now(&self, names: &[&'static str]) -> Answer {
        let value = |name| found(self.name(), &env::var(name).ok()?, None, None);
        names.iter().filter_map(|name| Some((*name, value(*name)?))).collect()
    }
}
