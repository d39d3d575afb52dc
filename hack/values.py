"""Prints the chart's README.md with a fresh table of its values, from the comments of values.yaml that begin with `--`.
It knows that one file's style: two spaces of indentation, and maps and lists without documented keys on one line."""

import pathlib
import re
import sys

CHART = pathlib.Path("charts/hardened-operator")


def rows(lines):
    """(key, default, description) of every value; a value without a description ends the program."""
    path, comment = [], None
    for line in lines:
        text = line.strip()
        if text.startswith("# -- "):
            comment = [text.removeprefix("# -- ")]
        elif text.startswith("#"):
            if comment:
                comment.append(text.removeprefix("# "))
        elif key := re.match(r"^( *)([A-Za-z]+):(?: (.*))?$", line):
            depth = len(key[1]) // 2
            path = [*path[:depth], key[2]]
            if key[3]:
                if not comment:
                    sys.exit(f"values.yaml: {'.'.join(path)} has no description (# -- ...)")
                yield ".".join(path), key[3], " ".join(comment)
            comment = None
        elif text:
            sys.exit(f"values.yaml: cannot read {line!r}")
        else:
            comment = None


def main():
    head, mark, _ = (CHART / "README.md").read_text().partition("<!-- The rest is written by hack/values.py. -->\n")
    if not mark:
        sys.exit("README.md of the chart has lost the line after which the values stand")
    print(f"{head}{mark}\n## Values\n\n| key | default | description |\n|---|---|---|")
    for key, default, description in rows((CHART / "values.yaml").read_text().splitlines()):
        cells = [cell.replace("|", "\\|") for cell in (f"`{key}`", f"`{default}`", description)]
        print(f"| {' | '.join(cells)} |")


main()
