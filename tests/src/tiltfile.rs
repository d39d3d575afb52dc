//! Judges a Tiltfile as `tilt up` would, and more strictly where Tilt only waits for a file or ignores a name. A Starlark
//! interpreter with stubs for Tilt's functions (tests/go/tiltfile) evaluates it, Helm renders the chart. It applies nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::dockerfile::{self, Files};
use crate::install::client;
use crate::parts;
use crate::state::checkout;

/// What `local` may run: it would run with the developer's rights at every `tilt up`.
const COMMANDS: [&str; 1] = ["kubectl create rolebinding hardened-operator --namespace studio \
                              --dry-run=client -o yaml --clusterrole hardened-operator-namespace \
                              --serviceaccount hardened-system:hardened-operator"];

/// Kinds that Tilt makes a resource of without being told.
const WORKLOADS: [&str; 7] =
    ["CronJob", "DaemonSet", "Deployment", "Job", "Pod", "ReplicaSet", "StatefulSet"];

/// A call of one of Tilt's functions.
#[derive(Debug, Deserialize)]
struct Call {
    function: String,
    line: u32,
    arguments: BTreeMap<String, Value>,
}

impl Call {
    fn text(&self, name: &str) -> Option<&str> {
        self.arguments.get(name)?.as_str()
    }

    /// What Tilt takes as one value or as a list.
    fn many(&self, name: &str) -> Vec<&Value> {
        match self.arguments.get(name) {
            None => Vec::new(),
            Some(Value::Array(values)) => values.iter().collect(),
            Some(value) => vec![value],
        }
    }

    fn texts(&self, name: &str) -> Result<Vec<&str>> {
        let texts = self.many(name).into_iter();
        texts.map(|value| value.as_str().with_context(|| format!("{name}: {value} is no text"))).collect()
    }

    /// What Tilt takes as a list only.
    fn list(&self, name: &str) -> Result<Vec<&str>> {
        ensure!(self.arguments.get(name).is_none_or(Value::is_array), "{name} is no list");
        self.texts(name)
    }
}

/// Fails with the first thing that is wrong with this text as the checkout's Tiltfile.
pub fn check(text: &str) -> Result<()> {
    let files = Files::of_checkout()?;
    let calls = evaluate(text)?;
    for call in &calls {
        paths(&files, call).with_context(|| format!("line {}: {}", call.line, call.function))?;
    }
    let objects = objects(&files, &calls)?;
    resources(&calls, &objects)?;
    images(&calls, &objects)
}

fn evaluate(text: &str) -> Result<Vec<Call>> {
    let mut answers = BTreeMap::new();
    for command in COMMANDS {
        let words: Vec<_> = command.split_whitespace().skip(1).collect();
        answers.insert(command, client("kubectl", None, &words, "")?);
    }
    let folder = tempfile::tempdir()?;
    let (file, input) = (folder.path().join("Tiltfile"), folder.path().join("answers.json"));
    std::fs::write(&file, text)?;
    std::fs::write(&input, serde_json::to_vec(&answers)?)?;
    let mut command = Command::new(parts::tiltfile()?.join("tiltfile"));
    let output = command.arg(&file).current_dir(checkout()).stdin(File::open(&input)?).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("read what the interpreter printed")
}

/// Every path that a call names is there, or hack/images.sh makes it.
fn paths(files: &Files, call: &Call) -> Result<()> {
    let mut named: Vec<String> = Vec::new();
    match call.function.as_str() {
        "local_resource" => {
            named.extend(call.texts("deps")?.into_iter().map(str::to_owned));
            named.extend(["dir", "serve_dir"].iter().filter_map(|name| call.text(name)).map(str::to_owned));
            let programs = ["cmd", "serve_cmd"].map(|name| call.many(name).into_iter().next());
            let words = programs.into_iter().flatten().filter_map(|value| value.as_str()?.split(' ').next());
            named.extend(words.filter(|word| word.contains('/')).map(str::to_owned));
        }
        "docker_build" => {
            let context = call.text("context").context("the context is no text")?;
            named.push(context.to_owned());
            named.extend(call.texts("only")?.into_iter().map(|only| format!("{context}/{only}")));
        }
        "helm" => {
            named.push(format!("{}/Chart.yaml", call.text("paths").unwrap_or_default()));
            named.extend(call.texts("values")?.into_iter().map(str::to_owned));
        }
        _ => {}
    }
    let missing = named.iter().find(|path| !files.has(path));
    ensure!(missing.is_none(), "{} does not exist", missing.map_or("", String::as_str));
    if call.function == "docker_build" { dockerfile(files, call) } else { Ok(()) }
}

fn dockerfile(files: &Files, call: &Call) -> Result<()> {
    let context = call.text("context").unwrap_or_default();
    let text = match (call.text("dockerfile_contents"), call.text("dockerfile")) {
        (Some(text), _) => text.to_owned(),
        (None, Some(path)) => files.read(path)?,
        (None, None) => files.read(&format!("{context}/Dockerfile"))?,
    };
    let arguments =
        call.arguments.get("build_args").cloned().unwrap_or_else(|| Value::Object([].into_iter().collect()));
    dockerfile::check(files, &text, context, &serde_json::from_value(arguments)?)
}

/// What the calls of `k8s_yaml` would apply; each object once, and no hook of Helm's.
fn objects(files: &Files, calls: &[Call]) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for call in calls.iter().filter(|call| call.function == "k8s_yaml") {
        let line = || format!("line {}: k8s_yaml", call.line);
        for yaml in call.many("yaml") {
            let text = match (yaml.as_str(), yaml["call"].as_u64(), yaml["text"].as_str()) {
                (Some(path), ..) => files.read(path).with_context(line)?,
                (_, Some(source), Some("")) => rendered(&calls[usize::try_from(source)?])?,
                (_, Some(_), Some(text)) => text.to_owned(),
                _ => bail!("{}: {yaml} is neither a path nor content", line()),
            };
            objects.extend(serde_saphyr::from_multiple::<Value>(&text).with_context(line)?);
        }
    }
    // Tilt leaves out the pods of `helm test` and nothing else.
    objects.retain(|object| !hook(object).is_some_and(|hook| hook.starts_with("test")));
    let mut seen = BTreeSet::new();
    for object in &objects {
        let name = names(object).join(":");
        ensure!(hook(object).is_none(), "Tilt would apply {name} at once, which is a hook of Helm's");
        ensure!(seen.insert(name.clone()), "{name} is there twice");
    }
    Ok(objects)
}

fn hook(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"]["helm.sh/hook"].as_str()
}

/// `helm template` as Tilt calls it: values that the chart's schema does not know are refused by Helm.
fn rendered(call: &Call) -> Result<String> {
    let chart = checkout().join(call.text("paths").unwrap_or_default());
    let chart = chart.to_str().context("the chart's path is not UTF-8")?;
    let mut arguments = vec!["template", call.text("name").unwrap_or("chart"), chart, "--include-crds"];
    arguments.extend(call.text("namespace").into_iter().flat_map(|name| ["--namespace", name]));
    arguments.extend(call.texts("set")?.into_iter().flat_map(|set| ["--set", set]));
    let values = call.texts("values")?.into_iter().map(|path| checkout().join(path).display().to_string());
    let values: Vec<_> = values.collect();
    arguments.extend(values.iter().flat_map(|path| ["--values", path]));
    client("helm", None, &arguments, "").with_context(|| format!("line {}: helm", call.line))
}

/// Name, kind, namespace and group, by which Tilt finds an object, in small letters.
fn names(object: &Value) -> [String; 4] {
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = version.split_once('/').map_or("core", |(group, _)| group);
    let metadata = &object["metadata"];
    let [name, kind, namespace] =
        [&metadata["name"], &object["kind"], &metadata["namespace"]].map(Value::as_str);
    [name.unwrap_or_default(), kind.unwrap_or_default(), namespace.unwrap_or("default"), group]
        .map(str::to_lowercase)
}

/// Every name of a resource or of an object is declared, and no two resources have the same.
fn resources(calls: &[Call], objects: &[Value]) -> Result<()> {
    let of = |function: &'static str| calls.iter().filter(move |call| call.function == function);
    let kinds: Vec<_> = of("k8s_kind").filter_map(|call| call.text("kind")).chain(WORKLOADS).collect();
    let is_workload = |object: &&Value| object["kind"].as_str().is_some_and(|kind| kinds.contains(&kind));
    let workloads: Vec<_> =
        objects.iter().filter(is_workload).filter_map(|object| object["metadata"]["name"].as_str()).collect();
    let mut declared: Vec<_> = of("local_resource").filter_map(|call| call.text("name")).collect();
    declared.extend(&workloads);
    for call in of("k8s_resource") {
        let line = call.line;
        match (call.text("workload"), call.text("new_name")) {
            (Some(old), new) => {
                ensure!(workloads.contains(&old), "line {line}: nothing declares the workload {old}");
                declared.iter_mut().filter(|name| **name == old).for_each(|name| *name = new.unwrap_or(old));
            }
            (None, Some(new)) => declared.push(new),
            (None, None) => bail!("line {line}: k8s_resource names neither a workload nor itself"),
        }
        for fragment in call.list("objects")? {
            let parts: Vec<_> = fragment.split(':').map(str::to_lowercase).collect();
            let count = objects.iter().filter(|object| names(object).starts_with(&parts)).count();
            ensure!(count == 1, "line {line}: {count} objects are named {fragment}");
        }
    }
    let twice = declared.iter().find(|name| declared.iter().filter(|other| other == name).count() > 1);
    ensure!(twice.is_none(), "two resources are named {}", twice.unwrap_or(&""));
    for call in of("k8s_resource").chain(of("local_resource")) {
        for name in call.list("resource_deps")? {
            ensure!(declared.contains(&name), "line {}: nothing declares the resource {name}", call.line);
        }
    }
    Ok(())
}

/// Every image that is built is one that an object names where Tilt looks for it: others Tilt would neither build nor put
/// in, and the pods would pull something else.
fn images(calls: &[Call], objects: &[Value]) -> Result<()> {
    let mut used: Vec<&str> = Vec::new();
    let paths: BTreeMap<_, _> = calls
        .iter()
        .filter(|call| call.function == "k8s_kind")
        .filter_map(|call| Some((call.text("kind")?, call.text("image_json_path")?)))
        .collect();
    for object in objects {
        let kind = object["kind"].as_str().unwrap_or_default();
        if let Some(path) = paths.get(kind) {
            let pointer = path.trim_matches(['{', '}']).replace('.', "/");
            used.push(
                object
                    .pointer(&pointer)
                    .and_then(Value::as_str)
                    .with_context(|| format!("no {path} in a {kind}"))?,
            );
        } else {
            let containers = object.pointer("/spec/template/spec/containers").and_then(Value::as_array);
            used.extend(containers.into_iter().flatten().filter_map(|container| container["image"].as_str()));
        }
    }
    for call in calls.iter().filter(|call| call.function == "docker_build") {
        let image = call.text("ref").unwrap_or_default();
        let found = used.iter().any(|used| used.split([':', '@']).next() == Some(image));
        ensure!(found, "line {}: no object uses the image {image}: {used:?}", call.line);
    }
    Ok(())
}
