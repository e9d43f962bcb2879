"""Many requests of one kind at once, by `h2load` over HTTP/1.1 with one thread: bounded in time, on loopback only."""

import os
import re
import resource
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from stats import percentile

CLIENTS = 16
PATIENCE_S = 60


@dataclass
class Load:
    """Answers a second, the generator's share of a processor, and the time within which 99 of 100 answers came, in milliseconds."""

    per_second: float
    share: float
    p99_ms: float


def load(target, headers, seconds, per_second=None):
    """As fast as they are answered, or at a rate. `target` is an URL, or a socket and a path behind it."""
    rate = [f"--rps={per_second / CLIENTS}"] if per_second else []
    base = [f"--base-uri={target[0]}"] if isinstance(target, tuple) else []
    url = f"http://localhost{target[1]}" if base else target
    given = [f"--header={name}: {value}" for name, value in headers.items()]
    with tempfile.TemporaryDirectory(prefix="berth-bench-load-") as room:
        log, before = Path(room, "log"), resource.getrusage(resource.RUSAGE_CHILDREN)
        words = ["h2load", "--h1", f"--clients={CLIENTS}", "--threads=1", f"--duration={seconds}", "--warm-up-time=1"]
        ran = subprocess.run(
            [*words, *rate, *base, *given, f"--log-file={log}", url],
            capture_output=True, text=True, check=True, timeout=PATIENCE_S, env={"PATH": os.environ["PATH"]},
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        answers = [line.split() for line in log.read_text().splitlines()]
    # Each connection may have a request that the end of the time cut short, which has no status.
    cut = [status for _, status, _ in answers if status == "0"]
    answers = [answer for answer in answers if answer[1] != "0"] if len(cut) <= CLIENTS else answers
    if refused := [status for _, status, _ in answers if status != "200"]:
        raise SystemExit(f"bench: {len(refused)} of {len(answers)} answers of {url} were refused, such as {refused[0]}")
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    done = int(re.search(r"requests: \d+ total, \d+ started, (\d+) done", ran.stdout)[1])
    return Load(done / seconds, used / (seconds + 1), percentile([int(took) / 1000 for _, _, took in answers], 99))
