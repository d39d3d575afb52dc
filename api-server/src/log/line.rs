//! An event as a line of JSON. The library's own formatter hands each brace and each comma through its layers one by one:
//! 24,000 instructions for a line of the access log, more than a third of the whole request.

use std::fmt::{self, Debug, Write};

use time::OffsetDateTime;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// Time, level, the event's fields, target. Spans are left out: none of ours exist, and others' may hold secrets.
pub struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let mut line = String::with_capacity(512);
        line.push_str(r#"{"timestamp":""#);
        push_time(&mut line, OffsetDateTime::now_utc());
        line.push_str(r#"","level":""#);
        line.push_str(metadata.level().as_str());
        line.push('"');
        let mut fields = Fields { line: &mut line, target: None };
        event.record(&mut fields);
        let target = fields.target;
        line.push_str(r#","target":""#);
        push_escaped(&mut line, target.as_deref().unwrap_or(metadata.target()));
        line.push_str("\"}\n");
        writer.write_str(&line)
    }
}

struct Fields<'a> {
    line: &'a mut String,
    /// The target of a record of the `log` crate, all of which have one callsite.
    target: Option<String>,
}

impl Fields<'_> {
    /// Where a record of the `log` crate was written, its file and line, is of no use to who reads a log.
    fn push_name(&mut self, field: &Field) -> bool {
        if field.name().starts_with("log.") {
            return false;
        }
        self.line.push_str(",\"");
        self.line.push_str(field.name());
        self.line.push_str("\":");
        true
    }

    fn push_bare(&mut self, field: &Field, value: &str) {
        if self.push_name(field) {
            self.line.push_str(value);
        }
    }
}

impl Visit for Fields<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "log.target" {
            self.target = Some(value.to_owned());
        }
        if self.push_name(field) {
            self.line.push('"');
            push_escaped(self.line, value);
            self.line.push('"');
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.push_name(field) {
            self.line.push('"');
            let _ = write!(Escaped(self.line), "{value:?}");
            self.line.push('"');
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push_bare(field, itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push_bare(field, itoa::Buffer::new().format(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push_bare(field, if value { "true" } else { "false" });
    }
}

struct Escaped<'a>(&'a mut String);

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        push_escaped(self.0, text);
        Ok(())
    }
}

/// RFC 8259 7: quotes, backslashes and control characters. All of them are ASCII, so each stands between characters.
fn push_escaped(line: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    // Without an early end it looks at 32 bytes at once.
    if text.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
        return line.push_str(text);
    }
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        if is_plain(byte) {
            continue;
        }
        line.push_str(&text[from..at]);
        let _ = write!(line, "\\u{byte:04x}");
        from = at + 1;
    }
    line.push_str(&text[from..]);
}

/// RFC 3339 in UTC with microseconds.
fn push_time(line: &mut String, now: OffsetDateTime) {
    let mut text = *b"0000-00-00T00:00:00.000000Z";
    for (from, to, number) in [
        (0, 4, now.year().unsigned_abs()),
        (5, 7, u8::from(now.month()).into()),
        (8, 10, now.day().into()),
        (11, 13, now.hour().into()),
        (14, 16, now.minute().into()),
        (17, 19, now.second().into()),
        (20, 26, now.microsecond()),
    ] {
        put_digits(&mut text[from..to], number);
    }
    line.push_str(str::from_utf8(&text).unwrap_or_default());
}

fn put_digits(places: &mut [u8], number: u32) {
    let mut rest = number;
    for place in places.iter_mut().rev() {
        *place = b"0123456789"[rest as usize % 10];
        rest /= 10;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;
    use crate::log::tests::{Lines, written};

    /// The line, and what the library's own formatter makes of the same event.
    fn both(log: impl Fn()) -> [Value; 2] {
        let lines = Lines::default();
        let sink = lines.clone();
        let theirs = tracing_subscriber::fmt().json().flatten_event(true).with_writer(move || sink.clone());
        tracing::subscriber::with_default(theirs.finish(), &log);
        [written("info", &log), lines.text()].map(|text| {
            let mut line: Value = serde_json::from_str(&text).unwrap();
            let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            assert_eq!(timestamp.as_str().unwrap().len(), "2026-01-02T03:04:05.678901Z".len());
            line
        })
    }

    proptest! {
        #[test]
        fn a_line_says_what_the_librarys_own_says(text: String, number: u64, below: i64) {
            let [ours, theirs] = both(|| {
                tracing::warn!(
                    text, number, below, yes = true, short = 404_u16, debug = ?text, shown = %text,
                    none = None::<&str>, some = Some(&*text), "{text}"
                );
            });
            prop_assert_eq!(&ours["text"], &text);
            prop_assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn a_record_of_the_log_crate_has_its_own_target_and_no_place_in_its_source() {
        let text = written("info", || {
            tracing::info!(target: "log", { "log.target" = "mio::poll", "log.file" = "poll.rs", "log.line" = 5_u64 }, "told");
        });
        assert!(
            text.ends_with("\"level\":\"INFO\",\"message\":\"told\",\"target\":\"mio::poll\"}\n"),
            "{text}"
        );
    }

    #[test]
    fn the_time_is_rfc_3339_with_microseconds() {
        let mut line = String::new();
        push_time(&mut line, datetime!(2026-01-02 03:04:05.000_670 UTC));
        assert_eq!(line, "2026-01-02T03:04:05.000670Z");
    }
}
