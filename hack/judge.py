"""Runs the judges over a folder of manifests and compares their findings with docs/decisions.md. It installs nothing."""

import json
import pathlib
import subprocess
import sys

import yaml

TOOLS, MANIFESTS = (pathlib.Path(argument) for argument in sys.argv[1:3])
VENV = pathlib.Path(f"{TOOLS}.venv")
FILES = sorted(MANIFESTS.glob("*.yaml"))
DECISIONS = pathlib.Path("docs/decisions.md")
EVIDENCE = pathlib.Path("docs/evidence/judge.md")
EXAMPLES = sorted(pathlib.Path("examples").glob("*.yaml"))


def run(*command):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)


def parsed(command, result):
    try:
        return json.loads(result.stdout)
    except json.JSONDecodeError:
        sys.exit(f"{command} gave no JSON: {result.stdout[:2000]}{result.stderr[:2000]}")


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
            schema["properties"]["metadata"] = {"type": "object"}
            name = f"{spec['names']['kind'].lower()}-{spec['group'].split('.')[0]}-{version['name']}.json"
            (TOOLS / "schemas" / name).write_text(json.dumps(schema))


def kubeconform():
    location = f"{TOOLS}/schemas/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
    result = run(TOOLS / "kubeconform", "-strict", "-output", "json", "-verbose", "-schema-location", location, *FILES, *EXAMPLES)
    resources = parsed("kubeconform", result)["resources"]
    bad = [("schema", f"{pathlib.Path(r['filename']).name} {r['kind']}/{r['name']}: {r['msg']}") for r in resources if r["status"] != "statusValid"]
    return len(resources), bad


def kube_score():
    # On NetworkPolicies and the like it has no opinion, so what counts is the number of checks that were made.
    objects = parsed("kube-score", run(TOOLS / "kube-score", "score", "-o", "json", *FILES)) or []
    checks = [(o, c) for o in objects for c in o["checks"] if not c["skipped"]]
    bad = [(c["check"]["id"], f"{pathlib.Path(o['file_name']).name} {o['object_name']}: {'; '.join(m['summary'] for m in c['comments'] or [])}") for o, c in checks if c["grade"] < 10]
    return len(checks), bad


def checkov():
    options = ["--framework", "kubernetes", "-o", "json", "--quiet", "--compact", "--skip-download"]
    report = parsed("checkov", run(VENV / "bin/checkov", "-d", MANIFESTS, *options))
    bad = [(f["check_id"], f"{pathlib.Path(f['file_path']).name} {f['resource']}: {f['check_name']}") for f in report["results"]["failed_checks"]]
    return report["summary"]["passed"] + len(bad), bad


def helm_lint():
    result = run("helm", "lint", "--strict", "charts/hardened-operator")
    bad = [] if result.returncode == 0 else [("lint", result.stdout)]
    return 1, bad


def main():
    write_own_schemas()
    explained = DECISIONS.read_text()
    commit = run("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").stdout.strip()
    lines = [
        "# What independent tools say about the manifests",
        "",
        f"Commit `{commit}`, command `make judge`, {len(FILES)} files of manifests: the chart, charts/install.yaml and "
        "every example rendered by `kubectl hardened render`. Why a finding stays is written in "
        "[decisions.md](../decisions.md).",
        "",
        "| judge | checks | findings | not explained |",
        "|---|---|---|---|",
    ]
    details, missing = [], 0
    for name, judge in JUDGES.items():
        checks, findings = judge()
        if checks == 0:
            sys.exit(f"{name} checked nothing")
        open_ones = [finding for finding in findings if f"`{finding[0]}`" not in explained]
        missing += len(open_ones)
        lines.append(f"| {name} | {checks} | {len(findings)} | {len(open_ones)} |")
        details += [f"- {name} `{rule}`: {text}" for rule, text in sorted(set(findings))]
    lines += ["", "## Findings", "", *(details or ["None."])]
    EVIDENCE.parent.mkdir(parents=True, exist_ok=True)
    EVIDENCE.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[4:]))
    if missing:
        sys.exit(f"{missing} findings are not explained in {DECISIONS}")


JUDGES = {
    "kubeconform 0.7.0, strict, Kubernetes 1.37": kubeconform,
    "kube-score 1.20.0": kube_score,
    "checkov 3.3.30": checkov,
    "helm lint --strict 4.3.1": helm_lint,
}

if __name__ == "__main__":
    main()
