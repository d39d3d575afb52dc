//! What a server tells a session beside its answers. sqlx gives that only as events of tracing, so they are taken from there,
//! for one future, and reach no log.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    instrument::WithSubscriber as _,
};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt as _},
};

/// sqlx's; a LOG of the server is a TRACE there, a NOTICE an INFO.
const TARGET: &str = "sqlx::postgres::notice";

/// Texts that came, in their order.
#[derive(Clone, Default)]
struct Notices(Arc<Mutex<Vec<String>>>);

/// Runs a future and gives, beside what it gives, the server's notices to the sessions that it alone uses. Other events of
/// that time are dropped.
pub(crate) async fn with_notices<F: Future>(future: F) -> (F::Output, Vec<String>) {
    let notices = Notices::default();
    let only = Targets::new().with_target(TARGET, Level::TRACE);
    let subscriber = Registry::default().with(notices.clone().with_filter(only));
    let output = future.with_subscriber(subscriber).await;
    let texts = std::mem::take(&mut *notices.0.lock().unwrap_or_else(PoisonError::into_inner));
    (output, texts)
}

impl<S: Subscriber> Layer<S> for Notices {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut message = Message(None);
        event.record(&mut message);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(message.0);
    }
}

/// The field of this name, if there is one.
struct Message(Option<String>);

impl Visit for Message {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.0 = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = Some(format!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn notices_of_one_future_are_taken_whatever_their_level_and_nothing_else() {
        let say = async |word: &'static str| {
            tracing::trace!(target: "sqlx::postgres::notice", message = word);
            tokio::task::yield_now().await;
            tracing::info!(target: "sqlx::postgres::notice", "{word} again");
            tracing::error!(target: "sqlx::query", message = word);
        };
        let (one, other) = tokio::join!(with_notices(say("one")), with_notices(say("other")));
        assert_eq!(one.1, ["one", "one again"]);
        assert_eq!(other.1, ["other", "other again"]);
    }
}
