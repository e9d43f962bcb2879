"""The pages that a measurement writes: what stands at the top of each, and the rows of its table."""

import os
import platform
import subprocess
from datetime import date
from pathlib import Path

from stats import median, spread

ROOT = Path(__file__).resolve().parent.parent
TABLE = ["| what | goal | measured | met |", "| --- | --- | --- | --- |"]


def row(what, goal, shown, met):
    return f"| {what} | {goal} | {shown} | {'yes' if met else '**no**'} |"


def at_most(what, goal, values, digits=1, worst=False):
    """A row whose median, or whose worst value, is not to exceed the goal."""
    judged = max(values) if worst else median(values)
    return row(what, f"{goal:.2f}" if digits == 2 else goal, spread(values, digits), judged <= goal)


def machine():
    """The day, and what it was measured on."""
    version = ["version", "--format", "{{.Server.Version}}"], ["compose", "version", "--short"]
    engine, compose = (subprocess.run(["docker", *words], capture_output=True, text=True, check=False).stdout.strip() for words in version)
    cores, system = os.cpu_count(), f"{platform.system()} {platform.release()}"
    return f"{date.today()}, {cores} cores, {system}, engine {engine}, compose {compose}"


def write(name, lines):
    text = "\n".join(lines) + "\n"
    (ROOT / "docs" / name).write_text(text)
    print(text)
