"""Measures berth beside what it stands on, and writes docs/performance.md.

Every line is the median and range of paired runs: ours and the other side in turn, in one run on one machine. Bounded in
count and time, and on loopback only.
"""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path

import yaml_project
from server import IMAGE, ROOT, Server

ROUNDS = int(os.environ.get("ROUNDS", "15"))
STARTS = 21


def milliseconds(work):
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def spread(values, digits=1):
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def start_and_memory():
    """Times from the fork to the first answer, and resident memory once the engine is watched."""
    starts, memory = [], []
    for _ in range(STARTS):
        with Server() as server:
            starts.append(server.start_ms)
            memory.append(server.memory_mb()[0])
    return starts, memory


def steps():
    """The deploy loop's steps over REST and by `docker compose` in a shell, in turn, on the same project."""
    names = ["create", "start", "pause", "unpause", "restart", "stop", "delete"]
    ours, theirs = ({name: [] for name in names} for _ in range(2))
    spec = {"image": IMAGE, "command": ["sleep", "1000"]}
    with Server() as server, tempfile.TemporaryDirectory() as folder:
        for _ in range(ROUNDS):
            cuid = []
            ours["create"].append(milliseconds(lambda: cuid.append(server.call("POST", "/containers", spec)[1]["cuid"])))
            path = f"/containers/{cuid[0]}"
            project = yaml_project.beside(Path(folder), server.world / "data" / cuid[0])
            theirs["create"].append(milliseconds(lambda: project.compose("create")))
            for name in names[1:-1]:
                query = "?timeout=10" if name in ("stop", "restart") else ""
                ours[name].append(milliseconds(lambda: server.call("POST", f"{path}/{name}{query}")))
                theirs[name].append(milliseconds(lambda: project.compose(name)))
            ours["delete"].append(milliseconds(lambda: server.call("DELETE", path)))
            theirs["delete"].append(milliseconds(lambda: project.compose("down")))
    return names, ours, theirs


def version(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def met(value, goal):
    return "yes" if value <= goal else "**no**"


def report():
    starts, memory = start_and_memory()
    names, ours, theirs = steps()
    start, idle = statistics.median(starts), statistics.median(memory)
    lines = [
        "# Performance", "",
        "Written by `make bench`. Every figure is the median of its runs, with the range in brackets; ratios are of paired runs on one",
        "machine, so they hold when its speed drifts. A line that is not met stays and says so.", "",
        f"{date.today()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, engine "
        + version("docker", "version", "--format", "{{.Server.Version}}") + ", compose " + version("docker", "compose", "version", "--short"), "",
        "| what | goal | measured | met |", "| --- | --- | --- | --- |",
        f"| from the fork to the first answer, ms | 100 | {spread(starts)} | {met(start, 100)} |",
        f"| resident memory when idle, MB | 30 | {spread(memory)} | {met(idle, 30)} |",
    ]
    for name in names:
        ratios = [a / b for a, b in zip(ours[name], theirs[name])]
        ratio = statistics.median(ratios)
        lines.append(f"| {name} over REST, to `docker compose` in a shell | 1.00 | {spread(ratios, 2)} | {met(ratio, 1)} |")
    sums = [sum(ours[name][at] for name in names) / sum(theirs[name][at] for name in names) for at in range(ROUNDS)]
    lines += [
        f"| the sum of these | 1.00 | {spread(sums, 2)} | {met(statistics.median(sums), 1)} |", "",
        "## The steps in milliseconds", "", "| step | over REST | `docker compose` |", "| --- | --- | --- |",
    ]
    lines += [f"| {name} | {spread(ours[name], 0)} | {spread(theirs[name], 0)} |" for name in names]
    lines += [
        "", f"{ROUNDS} rounds, one client. The shell side runs the same project under another name, after each step of ours. Ours also syncs the",
        "container's files to the disk, and answers only when the engine shows the new state.",
    ]
    text = "\n".join(lines) + "\n"
    (ROOT / "docs" / "performance.md").write_text(text)
    print(text)


if __name__ == "__main__":
    report()
