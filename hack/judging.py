"""What the scripts of the judges share: findings, their explanations in docs/decisions.md and the summary. It runs no judge."""

import fnmatch
import json
import pathlib
import re
import subprocess
import sys
from typing import NamedTuple

DECISIONS = pathlib.Path("docs/decisions.md")


class Finding(NamedTuple):
    """What a judge says about one thing; `where` is as docs/decisions.md names it."""

    rule: str
    where: str
    object: str
    text: str


def run(*command, **options):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **options)


def parsed(command, result):
    try:
        return json.loads(result.stdout)
    except json.JSONDecodeError:
        sys.exit(f"{command} gave no JSON: {result.stdout[:2000]}{result.stderr[:2000]}")


def commit(*paths):
    """The commit, and whether one of these paths is changed."""
    text = run("git", "rev-parse", "--short=12", "HEAD").stdout.strip()
    return text + " with changes" if run("git", "status", "--porcelain", "--", *paths).stdout else text


def explanations(judges):
    """(judge, rule, where) of the rows in the table of docs/decisions.md; where may hold a `*`."""
    rows = re.findall(r"^\| ([^|]+) \| `([^`]+)` \| ([^|]+?) \|", DECISIONS.read_text(), re.MULTILINE)
    return {(judge, rule, where) for judge, rule, places in rows if judge in judges for where in places.split(", ")}


def report(judges, evidence, intro, counted="checks"):
    """Runs all judges, writes the summary, and fails when a finding has no explanation or an explanation no finding.

    The first word of a judge's name is its name in docs/decisions.md.
    """
    explained = explanations({name.split()[0] for name in judges})
    lines = [*intro, "", f"| judge | {counted} | findings | not explained |", "|---|---|---|---|"]
    details, missing, used = [], 0, set()
    for name, judge in judges.items():
        checks, findings = judge()
        if not checks:
            sys.exit(f"{name} checked nothing")
        key = name.split()[0]
        matches = [
            [e for e in explained if e[:2] == (key, f.rule) and fnmatch.fnmatch(f.where, e[2])] for f in findings
        ]
        open_ones = [match for match in matches if not match]
        missing += len(open_ones)
        lines.append(f"| {name} | {checks} | {len(findings)} | {len(open_ones)} |")
        used |= {entry for match in matches for entry in match}
        details += [f"- {name} `{f.rule}` {f.where}, {f.object}: {f.text}" for f in sorted(set(findings))]
    table = len(intro) + 1
    lines += ["", "## Findings", "", *(details or ["None."])]
    evidence.parent.mkdir(parents=True, exist_ok=True)
    evidence.write_text("\n".join(lines) + "\n")
    print("\n".join(lines[table:]))
    if missing:
        sys.exit(f"{missing} findings are not explained in {DECISIONS}")
    if stale := explained - used:
        sys.exit(f"{DECISIONS} explains what no judge finds any more: {sorted(stale)}")
