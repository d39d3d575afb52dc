//! The key of the language model's provider.

use secrecy::SecretString;

use super::{Group, values::check_key};
use crate::{
    config::Environment,
    secrets::{Problem, Secrets},
};

const KEY: &str = "AI_API_KEY";

/// What a language model is reached with.
#[derive(Clone, Debug)]
pub struct Ai {
    /// The provider's key.
    pub api_key: SecretString,
}

impl Group for Ai {
    const NAME: &'static str = "ai";
    const NEEDS: &'static [&'static str] = &[KEY];
    const MAY: &'static [&'static str] = &[];

    fn take(secrets: &Secrets, environment: Environment, problems: &mut Vec<Problem>) -> Option<Self> {
        let api_key = secrets.peek(KEY)?;
        check_key(KEY, &api_key, environment, problems);
        Some(Self { api_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::groups::tests::accepted;

    #[test]
    fn an_example_of_a_key_is_for_development_only() {
        let at = |key| accepted::<Ai>(&[(KEY, key)]);
        assert_eq!(at("sk-replace-with-the-key-of-your-provider"), [true, false, false]);
        assert_eq!(at("sk-kX2v9QmTz7LrB4nYw8HcJ5sDf1GpA6eU"), [true, true, true]);
    }
}
