//! Passwords: Argon2id (RFC 9106) with OWASP's parameters, off the threads that serve, and never more at once than memory
//! and processors carry.

use std::sync::Arc;

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::Semaphore, task::spawn_blocking};

/// Checks at once per processor. Each takes 19 MiB and a processor for about 20 ms; whoever comes when the queue is
/// longer than this is told to come back.
const PER_PROCESSOR: usize = 2;
/// The hash of a password that nobody knows: an unknown account costs the same time as a known one.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$ckZ8M0x1c2h4Wm9iYTlXcA$qo2kVvXUDdT5wfeb0y1k6z3yXK3mtE6rmbSdq8bDyEM";

/// Checks passwords.
#[derive(Clone, Debug)]
pub struct Passwords {
    permits: Arc<Semaphore>,
}

/// Too many checks are under way.
#[derive(Debug)]
pub struct Busy;

impl Default for Passwords {
    fn default() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { permits: Arc::new(Semaphore::new(PER_PROCESSOR * processors)) }
    }
}

impl Passwords {
    /// Whether it is the password of this hash. Without a hash it is not, after the same time.
    pub async fn is_right(&self, password: SecretString, hash: Option<String>) -> Result<bool, Busy> {
        let permit = self.permits.clone().try_acquire_owned().map_err(|_| Busy)?;
        let check = spawn_blocking(move || {
            let known = hash.is_some();
            let text = hash.unwrap_or_else(|| NOBODY.to_owned());
            let right = PasswordHash::new(&text).is_ok_and(|hash| {
                Argon2::default().verify_password(password.expose_secret().as_bytes(), &hash).is_ok()
            });
            // Given back here: a client that goes away does not stop the check.
            drop(permit);
            right && known
        });
        check.await.map_err(|_| Busy)
    }
}

/// The PHC string of a new password. It computes for about 20 ms.
pub fn hash(password: &SecretString) -> Option<String> {
    Some(Argon2::default().hash_password(password.expose_secret().as_bytes()).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        text.to_owned().into()
    }

    #[tokio::test]
    async fn the_right_password_is_right_and_nobody_has_none() {
        let passwords = Passwords::default();
        let hash = hash(&secret("correct horse")).unwrap();
        assert!(passwords.is_right(secret("correct horse"), Some(hash.clone())).await.unwrap());
        assert!(!passwords.is_right(secret("correct house"), Some(hash)).await.unwrap());
        assert!(!passwords.is_right(secret(""), None).await.unwrap());
    }

    #[test]
    fn the_hash_of_nobody_costs_what_a_new_one_costs() {
        let cost = |text: &str| text.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cost(NOBODY), cost(&hash(&secret("any")).unwrap()));
        assert!(PasswordHash::new(NOBODY).is_ok());
    }

    #[tokio::test]
    async fn more_checks_than_the_machine_carries_are_told_to_come_back() {
        let passwords = Passwords { permits: Arc::new(Semaphore::new(0)) };
        assert!(passwords.is_right(secret("any"), None).await.is_err());
    }
}
