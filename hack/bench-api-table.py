"""Prints docs/benchmarks/api.md from the figures of hack/bench-api.sh."""

import os
import statistics
import subprocess
import sys
from datetime import datetime, timezone

file, memory, commit, rounds, seconds, connections = sys.argv[1:]
runs: dict[str, list[list[float]]] = {}
for line in open(file):
    name, *figures = line.split()
    runs.setdefault(name, []).append([float(figure) for figure in figures])
median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in runs.items()}


def ratio(one: str, other: str) -> str:
    """Round by round, so that a machine that gets slower meanwhile changes nothing."""
    ratios = [a[0] / b[0] for a, b in zip(runs[one], runs[other])]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


print("# What the api-server's stack costs\n")
cores = os.cpu_count()
wrk = subprocess.run(["wrk", "--version"], capture_output=True, text=True).stdout.split("\n")[0].split(" Copyright")[0]
print(f"Commit `{commit}`, command `make bench-api`, {datetime.now(timezone.utc):%F}, {cores} cores. {wrk}: one thread, {connections} connections with")
print(f"keep-alive, {seconds} s, on one processor; the server with one worker on the other. Medians of {rounds} rounds in which the servers take turns.\n")
print("| server | requests/s | failed | P50 ms | P95 ms | P99 ms |\n|---|---|---|---|---|---|")
titles = {
    "ours": "api-server, whole stack",
    "bare": "bare actix-web, same answer and log by the libraries' formatter",
    "bare-lines": "bare actix-web, same answer and log by this service's formatter",
    "fastapi": "FastAPI, slowapi, same headers and log, uvicorn",
    "nginx": "nginx, limit_req, same headers and log",
    "ours-tls": "api-server, whole stack, TLS 1.3",
    "bare-tls": "bare actix-web, TLS 1.3",
}
for name, title in titles.items():
    rate, failed, p50, p95, p99 = median[name]
    print(f"| {title} | {rate:,.0f} | {failed:.0f} | {p50:.2f} | {p95:.2f} | {p99:.2f} |")
print("\n| figure | ours | target |\n|---|---|---|")
print(f"| part of bare actix-web | {ratio('ours', 'bare')} | 0.85 |")
print(f"| part of bare actix-web with this service's formatter | {ratio('ours', 'bare-lines')} | |")
print(f"| part of bare actix-web, TLS | {ratio('ours-tls', 'bare-tls')} | 0.85 |")
print(f"| times FastAPI | {ratio('ours', 'fastapi')} | 30 |")
print(f"| P95 of ours, P50 of FastAPI, ms | {median['ours'][2 + 1]:.2f}, {median['fastapi'][2]:.2f} | P95 below P50 |")
print(f"| resident memory at 1,000 plain connections, MiB | {memory} | 40 |")
