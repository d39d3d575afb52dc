//! What may be logged. Below info, other crates write whole requests and answers: the header with Vault's token, the
//! body with the values. So their debug lines stay out, whatever `RUST_LOG` asks for.

mod line;

use std::{error::Error, fmt::Write as _};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Registry, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt as _,
};

use self::line::Line;

/// actix logs every broken request as an error; ours is one line in the access log. Vault's clients log each error once
/// per layer; ours is one line of the target `secrets`.
const FILTER: &str = "info,actix_http=off,actix_server=warn,rustify=off,vaultrs=off";

/// Targets whose debug lines were written with secrets in mind.
const OWN: [&str; 3] = ["api_server", "access", "secrets"];

/// JSON lines to the writer, of what the filter asks for and what may be shown.
pub fn subscriber<W>(filter: Option<&str>, writer: W) -> impl Subscriber + use<W>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let asked = filter.filter(|text| !text.is_empty()).and_then(|text| text.parse().ok());
    let asked = asked.unwrap_or_else(|| EnvFilter::new(FILTER));
    let lines = tracing_subscriber::fmt::layer::<Registry>().event_format(Line).with_writer(writer);
    // Filters of the whole, not of the layer: one of the layer lost all that follows on a thread where a crate asks
    // whether a line would be written (sqlx does) and then writes none.
    tracing_subscriber::registry().with(lines).with(asked).with(filter_fn(may_show))
}

fn may_show(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let own = OWN
        .iter()
        .any(|own| target.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with("::")));
    own || *metadata.level() <= Level::INFO
}

/// An error with its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        // Writing to a String cannot fail.
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use super::*;

    #[derive(Clone, Default)]
    pub struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Lines {
        pub fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub fn written(filter: &str, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let sink = lines.clone();
        tracing::subscriber::with_default(subscriber(Some(filter), move || sink.clone()), log);
        lines.text()
    }

    #[test]
    fn debug_lines_of_other_crates_stay_out_at_any_level() {
        for filter in ["trace", "rustify=trace,aws_smithy_runtime::client=trace,secretsish=trace"] {
            let text = written(filter, || {
                tracing::debug!(target: "rustify::client", "canary");
                tracing::trace!(target: "aws_smithy_runtime::client", "canary");
                tracing::debug!(target: "secretsish", "canary");
                let _span =
                    tracing::debug_span!(target: "rustify::client", "request", token = "canary").entered();
                tracing::warn!(target: "rustify::client", "told");
            });
            assert!(!text.contains("canary") && text.contains("told"), "{filter}: {text}");
        }
    }

    #[test]
    fn our_own_debug_lines_are_shown_when_asked_for() {
        let own = || tracing::trace!(target: "api_server::secrets", "told");
        assert!(written("trace", own).contains("told"));
        assert!(!written("info", own).contains("told"));
        assert!(!written("no filter=", own).contains("told"), "what cannot be read is the default");
    }
}
