"""Runs the judges over the OpenAPI document and the running api-server. It installs nothing, and works only where hack/judge-api.sh
starts it: in a network namespace in which HOST is this machine."""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import time

from judging import Finding, commit, parsed, report, run

HOST, SERVER, TOOLS, WORK = sys.argv[1], *(pathlib.Path(argument) for argument in sys.argv[2:5])
VENV = pathlib.Path(f"{TOOLS}.venv")
CA = WORK / "ca.crt"
URL = f"https://{HOST}/"
EVIDENCE = pathlib.Path("docs/evidence/judge-api.md")
DOCUMENT = pathlib.Path("api-server/openapi.json")
OPERATIONS = [(path, method) for path, item in json.loads(DOCUMENT.read_text())["paths"].items() for method in item]
# None of them looks into the system's store of authorities for the test's own.
TRUST = os.environ | {name: str(CA) for name in ("NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE")}
OPERATION = re.compile(r"^#/paths/([^/]+)")


@contextlib.contextmanager
def server():
    """The api-server as production runs it, on the port that judges ask for."""
    settings = {
        "ENVIRONMENT": "production",
        "API_BIND": "127.0.0.1:443",
        "METRICS_BIND": "127.0.0.1:0",
        "TLS_DIR": str(WORK / "tls"),
        "POLICY_FILE": str(WORK / "policy.json"),
    }
    with (WORK / "log").open("w") as log, subprocess.Popen([SERVER], env=settings, stdout=log, stderr=log) as process:
        try:
            end = time.monotonic() + 20
            while not answers():
                if time.monotonic() > end or process.poll() is not None:
                    sys.exit(f"the api-server does not listen: {(WORK / 'log').read_text()[-2000:]}")
                time.sleep(0.1)
            yield
        finally:
            process.terminate()


def answers():
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", 443)) == 0


def spectral():
    told = run(TOOLS / "node_modules/.bin/spectral", "lint", "-r", TOOLS / "ruleset.json", "-f", "json", DOCUMENT)
    bad = []
    for f in parsed("spectral", told):
        where = f["path"][1] if f["path"][:1] == ["paths"] else "document"
        bad.append(Finding(f["code"], where, ".".join(f["path"]), f["message"]))
    return f"{len(OPERATIONS)} operations", bad


def redocly():
    command = [TOOLS / "node_modules/.bin/redocly", "lint", "--format=json", DOCUMENT]
    bad = []
    for problem in parsed("redocly", run(*command))["problems"]:
        pointer = problem["location"][0]["pointer"]
        place = OPERATION.match(pointer)
        where = place[1].replace("~1", "/") if place else "document"
        bad.append(Finding(problem["ruleId"], where, pointer, problem["message"]))
    return f"{len(OPERATIONS)} operations", bad


def sslyze():
    options = ["--certinfo_ca_file", CA, "--mozilla_config", "intermediate"]
    text = run(VENV / "bin/sslyze", *options, f"{HOST}:443").stdout
    verdict = text.partition("COMPLIANCE AGAINST")[2]
    if "OK - Compliant" not in verdict and "FAILED - Not compliant" not in verdict:
        sys.exit(f"sslyze gave no verdict: {text[-2000:]}")
    bad = [Finding(rule, "TLS", HOST, why) for rule, why in re.findall(r"^ +\* (\w+): (.+)", verdict, re.MULTILINE)]
    if "FAILED - Not compliant" in verdict and not bad:
        sys.exit(f"sslyze names no reason: {verdict}")
    scans = re.findall(r"^ \* ", text, re.MULTILINE)
    return f"{len(scans)} scans", bad


def testssl():
    result = WORK / "testssl.json"
    options = ["--warnings", "off", "--quiet", "--color", "0", "--nodns", "none", "--add-ca", CA, "--ip", "127.0.0.1"]
    told = run("testssl", *options, "--jsonfile", result, HOST)
    seen = json.loads(result.read_text()) if result.exists() else []
    if not any(f["id"] == "scanTime" and f["severity"] == "INFO" for f in seen):
        sys.exit(f"testssl did not finish: {told.stdout[-2000:]}{told.stderr[-2000:]}")
    # A warning is about testssl itself.
    good = ("OK", "INFO", "WARN")
    bad = [Finding(f["id"], "TLS", f["severity"], f["finding"]) for f in seen if f["severity"] not in good]
    return f"{len(seen)} checks", bad


def observatory():
    scan = parsed("Observatory", run("node", TOOLS / "node_modules/@mdn/mdn-http-observatory/src/scan.js", HOST, env=TRUST))
    if "scan" not in scan:
        sys.exit(f"Observatory did not finish: {scan}")
    bad = [Finding(name, "headers", HOST, test["result"]) for name, test in scan["tests"].items() if test["pass"] is False]
    grade = f"{scan['scan']['grade']}, {scan['scan']['score']} points"
    if scan["scan"]["grade"] != "A+":
        bad.append(Finding("grade", "headers", HOST, grade))
    return f"{len(scan['tests'])} tests: {grade}", bad


def drheader():
    bad, presets = [], [(), ("-p", "owasp-asvs-v14")]
    for preset in presets:
        told = run(VENV / "bin/drheader", "scan", "single", "-o", "json", *preset, URL, env=TRUST)
        for f in parsed("drheader", told):
            expected = f" (expected: {', '.join(f['expected'])})" if "expected" in f else ""
            bad.append(Finding(f["rule"], "headers", f["severity"], f["message"] + expected))
    return f"{len(presets)} rulesets", bad


def shcheck():
    seen = parsed("shcheck", run(VENV / "bin/shcheck.py", "-j", "-i", "-x", URL, env=TRUST))[URL]
    bad = [Finding(name, "headers", "missing", HOST) for name in seen["missing"]]
    bad += [Finding(name, "headers", "tells", value) for name, value in seen["information_disclosure"].items()]
    return f"{len(seen['present']) + len(seen['missing'])} headers", bad


def main():
    intro = [
        "# What independent tools say about the api-server",
        "",
        f"Commit `{commit('api-server', 'hack')}`, command `make judge`: `api-server/openapi.json`, and the api-server "
        "with TLS from a test authority, as production runs it. Why a finding stays is written in "
        "[decisions.md](../decisions.md).",
    ]
    with server():
        report(JUDGES, EVIDENCE, intro, "looked at")


JUDGES = {
    "spectral 6.16.3, OWASP ruleset 2.0.1": spectral,
    "redocly 2.77.0": redocly,
    "sslyze 6.3.1, Mozilla intermediate": sslyze,
    "testssl 3.0.8": testssl,
    "Observatory 1.4.8": observatory,
    "drheader 3.0.4 (drheaderplus), also owasp-asvs-v14": drheader,
    "shcheck 1.7": shcheck,
}

if __name__ == "__main__":
    main()
