//! What is wrong with a setting or a secret, and what to do. It never holds a value.

use std::{borrow::Cow, fmt};

/// One line for whoever configures the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The name of the setting or secret.
    pub field: Cow<'static, str>,
    /// What is wrong with it, without its value.
    pub problem: Cow<'static, str>,
    /// What to do.
    pub fix: Cow<'static, str>,
}

impl Problem {
    /// The three parts.
    pub fn new(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
        fix: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self { field: field.into(), problem: problem.into(), fix: fix.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.field, self.problem, self.fix)
    }
}
