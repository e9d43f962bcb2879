"""Measures berth beside what it stands on, and writes docs/performance.md from the subjects' rows and sections.

    run.py              everything
    run.py starts ...   only these subjects, and nothing is written

Every line is the median and range of paired runs: ours and the other side in turn, in one run on one machine. Bounded in
count and time, and on loopback only. ROUNDS sets how many.
"""

import importlib
import sys

from bounds import ends_within
from report import ROOT, TABLE, machine, write

SUBJECTS = [
    "startup", "steps", "starts", "creates", "by_hand", "unpack", "pack", "keystrokes", "prompt", "throughput", "idle", "stalled",
    "dropped", "followed", "requests",
]
THOUSAND = "performance-thousand.md"


def main(wanted):
    if unknown := set(wanted) - set(SUBJECTS):
        raise SystemExit(f"bench: {' '.join(sorted(unknown))}: no subject; there are {' '.join(SUBJECTS)}")
    ends_within(45)
    rows, sections = [], []
    for subject in wanted or SUBJECTS:
        more, section = importlib.import_module(subject).measure()
        rows += more
        sections += ["", *section] if section else []
    table = [*TABLE, *rows, *sections]
    if wanted:
        print("\n".join(table))
        return
    link = [f"A thousand containers on one host: [{THOUSAND}]({THOUSAND}).", ""] if (ROOT / "docs" / THOUSAND).exists() else []
    write("performance.md", [
        "# Performance", "",
        "Written by `make bench`. Every figure is the median of its runs, with the range in brackets; ratios are of paired runs on one",
        "machine, so they hold when its speed drifts. A line that is not met stays and says so.", "",
        *link, machine(), "", *table,
    ])


if __name__ == "__main__":
    main(sys.argv[1:])
