//! Holds `docs/conditions.md` against the enums: every type and every reason has its row, in the enum's order. Whether the
//! words are right, it cannot say.

use std::{fs, path::Path};

use crds::{ConditionType, Reason};
use serde::{Deserialize, Deserializer, de};

#[test]
fn every_condition_type_has_its_row() {
    let rows = rows("## Types");
    let names: Vec<_> = rows.iter().map(|row| &*row[0]).collect();
    assert_eq!(names, ConditionType::ALL.map(|type_| format!("`{}`", type_.as_str())));
}

#[test]
fn every_reason_has_its_row_which_says_what_becomes_of_ready_and_stalled() {
    let rows = rows("## Reasons");
    let names: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(names, reasons());
    for row in &rows {
        let reason = Reason::deserialize(de::value::StrDeserializer::<de::value::Error>::new(
            row[0].trim_matches('`'),
        ));
        let reason = reason.expect("a reason, as was just compared");
        assert_eq!(row[0], format!("`{}`", reason.as_str()));
        // Suspended keeps what Ready was, and a certificate that ends soon or values that wait are still good.
        let ready = match reason {
            Reason::Ready | Reason::CertificateExpiring | Reason::OutsideChangeWindow => "True",
            Reason::Suspended => "as before",
            _ => "False",
        };
        assert_eq!(
            (&*row[1], &*row[2]),
            (ready, if reason.needs_user() { "True" } else { "False" }),
            "{}",
            row[0]
        );
        assert!(row.len() == 5 && row[3].len() > 10 && row[4].len() > 3, "{row:?}");
    }
}

/// The cells of the first table under a heading, without its head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conditions.md");
    let text = fs::read_to_string(&path).unwrap_or_default();
    let below = text.lines().skip_while(|line| *line != heading);
    let table = below.skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
    table.skip(2).map(cells).collect()
}

/// Every variant, as serde knows them: no list that somebody could forget to extend.
fn reasons() -> &'static [&'static str] {
    let mut names: &[&str] = &[];
    // It never gives a value: the names are all that is asked for.
    let _ = Reason::deserialize(Names(&mut names));
    names
}

/// A deserializer that takes down which variants an enum asks for.
struct Names<'a>(&'a mut &'static [&'static str]);

impl<'de> Deserializer<'de> for Names<'_> {
    type Error = de::value::Error;

    fn deserialize_enum<V: de::Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Self::Error> {
        *self.0 = variants;
        Err(de::Error::custom("asked for the names only"))
    }

    fn deserialize_any<V: de::Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Self::Error> {
        Err(de::Error::custom("no enum"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
