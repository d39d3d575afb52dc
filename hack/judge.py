"""Runs the judges over a folder of manifests and compares their findings with docs/decisions.md. It installs nothing."""

import json
import pathlib
import sys

import yaml

from judging import Finding, commit, parsed, report, run

TOOLS, MANIFESTS = (pathlib.Path(argument) for argument in sys.argv[1:3])
VENV = pathlib.Path(f"{TOOLS}.venv")
FILES = sorted(MANIFESTS.glob("*.yaml"))
EVIDENCE = pathlib.Path("docs/evidence/judge.md")
EXAMPLES = sorted(pathlib.Path("examples").glob("*.yaml"))


def where(file):
    """The file as docs/decisions.md names it."""
    name = pathlib.Path(file).name
    return "operator" if name in ("chart.yaml", "install.yaml") else f"examples/{name}"


def close(schema):
    """The schema with unknown fields forbidden, as the server's strict validation does."""
    if isinstance(schema, list):
        return [close(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: close(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "type" in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def write_own_schemas():
    """Schemas of our own kinds, so that the examples themselves are judged too."""
    for path in pathlib.Path("crds/yaml").glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            schema = close(version["schema"]["openAPIV3Schema"])
            # The server adds these three to every kind.
            schema["properties"] |= {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"}}
            name = f"{spec['names']['kind'].lower()}-{spec['group'].split('.')[0]}-{version['name']}.json"
            (TOOLS / "schemas" / name).write_text(json.dumps(schema))


def kubeconform():
    location = f"{TOOLS}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    result = run(TOOLS / "kubeconform", "-strict", "-output", "json", "-verbose", "-schema-location", location, *FILES, *EXAMPLES)
    resources = parsed("kubeconform", result)["resources"]
    bad = [
        Finding("schema", where(r["filename"]), f"{r['kind']}/{r['name']}", r["msg"].replace(str(TOOLS), ""))
        for r in resources
        if r["status"] != "statusValid"
    ]
    return len(resources), bad


def kube_score():
    # One file at a time: files stand for different clusters, and kube-score matches objects by name across files.
    count, bad = 0, []
    for path in FILES:
        for scored in parsed("kube-score", run(TOOLS / "kube-score", "score", "-o", "json", path)) or []:
            checks = [check for check in scored["checks"] if not check["skipped"]]
            count += len(checks)
            for check in checks:
                if check["grade"] < 10:
                    text = "; ".join(comment["summary"] for comment in check["comments"] or [])
                    bad.append(Finding(check["check"]["id"], where(path), scored["object_name"], text))
    return count, bad


def checkov():
    options = ["--framework", "kubernetes", "-o", "json", "--quiet", "--compact", "--skip-download"]
    report = parsed("checkov", run(VENV / "bin/checkov", "-d", MANIFESTS, *options))
    bad = [Finding(f["check_id"], where(f["file_path"]), f["resource"], f["check_name"]) for f in report["results"]["failed_checks"]]
    return report["summary"]["passed"] + len(bad), bad


def helm_lint():
    result = run("helm", "lint", "--strict", "charts/hardened-operator")
    bad = [] if result.returncode == 0 else [Finding("lint", "operator", "chart", result.stdout)]
    return 1, bad


def main():
    write_own_schemas()
    intro = [
        "# What independent tools say about the manifests",
        "",
        f"Commit `{commit('charts', 'cli', 'crds', 'examples', 'hack', 'render')}`, command `make judge`, "
        f"{len(FILES)} files of manifests: the chart, charts/install.yaml and "
        "every example rendered by `kubectl hardened render`. Why a finding stays is written in "
        "[decisions.md](../decisions.md).",
    ]
    report(JUDGES, EVIDENCE, intro)


JUDGES = {
    "kubeconform 0.7.0, strict, Kubernetes 1.37": kubeconform,
    "kube-score 1.20.0": kube_score,
    "checkov 3.3.30": checkov,
    "helm lint --strict 4.3.1": helm_lint,
}

if __name__ == "__main__":
    main()
