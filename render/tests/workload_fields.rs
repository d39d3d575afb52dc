//! No field of the workload is dead: an example sets each, and what it says reaches a child.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::{collections::BTreeSet, fs, path::Path};

use crds::HardenedService;
use render::{Children, Facts, desired};
use serde_json::Value;

/// In a path, an item of a list or any key of a map.
const MAP_KEY: &str = "*";

#[test]
fn every_field_of_the_workload_stands_in_an_example_and_changes_a_child() {
    let schema = serde_json::to_value(crds::all().pop().unwrap()).unwrap();
    let schema = &schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    let mut fields = BTreeSet::new();
    leaves(
        &schema["spec"]["properties"]["workload"],
        &mut vec!["spec".into(), "workload".into()],
        &mut fields,
    );
    assert!(fields.len() > 50, "only {} fields", fields.len());
    let examples = examples();
    let dead: Vec<_> = fields
        .into_iter()
        .filter(|field| !examples.iter().any(|example| matters(example, field)))
        .map(|field| field.join("."))
        .collect();
    assert!(dead.is_empty(), "no example sets these, or no child shows them: {dead:#?}");
}

/// Whether the children differ when the field is changed or left out in this example.
fn matters(example: &Value, field: &[String]) -> bool {
    let Some(before) = children(example) else { return false };
    let ways: [fn(&mut Value); 2] = [|value| *value = Value::Null, other];
    ways.into_iter().any(|change| {
        let mut example = example.clone();
        visit(&mut example, field, change) > 0 && children(&example).is_some_and(|after| after != before)
    })
}

fn children(example: &Value) -> Option<Children> {
    let service: HardenedService = serde_json::from_value(example.clone()).ok()?;
    Some(desired(&service, &Facts::default()))
}

/// Another value of the same type.
fn other(value: &mut Value) {
    match value {
        Value::Bool(set) => *set = !*set,
        Value::String(text) => text.push('1'),
        Value::Number(number) => *value = (number.as_i64().unwrap() + 1).into(),
        _ => *value = Value::Null,
    }
}

/// Changes the field wherever the example has it; says how often that is.
fn visit(value: &mut Value, field: &[String], change: fn(&mut Value)) -> usize {
    let Some((name, rest)) = field.split_first() else {
        change(value);
        return 1;
    };
    match value {
        Value::Array(items) => items.iter_mut().map(|item| visit(item, rest, change)).sum(),
        Value::Object(members) if name == MAP_KEY => {
            members.values_mut().map(|member| visit(member, rest, change)).sum()
        }
        Value::Object(members) => members.get_mut(name).map_or(0, |member| visit(member, rest, change)),
        _ => 0,
    }
}

/// Paths of all fields that hold no other fields.
fn leaves(schema: &Value, path: &mut Vec<String>, found: &mut BTreeSet<Vec<String>>) {
    let items = [&schema["items"], &schema["additionalProperties"]].into_iter().find(|s| s.is_object());
    let members = schema["properties"].as_object().into_iter().flatten().map(|(name, s)| (name.as_str(), s));
    let mut inner = members.chain(items.map(|s| (MAP_KEY, s))).peekable();
    if inner.peek().is_none() {
        found.insert(path.clone());
    }
    for (name, schema) in inner {
        path.push(name.into());
        leaves(schema, path, found);
        path.pop();
    }
}

fn examples() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let read = |entry: std::io::Result<fs::DirEntry>| fs::read_to_string(entry.unwrap().path()).unwrap();
    fs::read_dir(folder).unwrap().map(|entry| serde_saphyr::from_str(&read(entry)).unwrap()).collect()
}
