"""Unpacking uploads beside `unzip` of the same archives into folders on the same disk, each time into a new one and with a sync."""

import os
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from report import at_most
from server import Server
from stats import ROUNDS_AT_ONCE, in_turn, milliseconds, percentile, ratios, say, spread
from trees import LARGE, SMALL, Peak, archives, upload

OURS, COPIED, UNZIP = "`upload-zip`", "`cp`, `unzip` and `sync`", "`unzip` and `sync`"
SIDES = [OURS, COPIED, UNZIP]
PEAK_MB = 32
STATUS_MS = 20


def by_hand(archive, folder, copied):
    if copied:
        archive = shutil.copyfile(archive, folder / "archive.zip")
    (folder / "app").mkdir()
    subprocess.run(["unzip", "-q", archive, "-d", folder / "app"], check=True)
    subprocess.run(["sync", "--file-system", folder], check=True)


def rounds(server, what, archive):
    """What each side took, round by round, and what the server held of memory over idle."""
    times, peaks = {side: [] for side in SIDES}, []
    for number in range(ROUNDS_AT_ONCE):
        made, world = [], Path(tempfile.mkdtemp(prefix="berth-bench-hand-", dir=server.world))
        for side in in_turn(SIDES, number):
            if side == OURS:
                made.append(server.create())
                os.sync()
                with Peak(server) as peak:
                    times[side].append(milliseconds(lambda: upload(server, made[0], archive)))
                peaks.append(peak.over)
            else:
                folder = Path(tempfile.mkdtemp(dir=world))
                os.sync()
                times[side].append(milliseconds(lambda: by_hand(archive, folder, side == COPIED)))
        # What is deleted costs the next sync, which is nobody's.
        shutil.rmtree(world)
        server.call("DELETE", f"/containers/{made[0]}")
        say(f"unpacking {what}: round {number + 1} of {ROUNDS_AT_ONCE}")
    return times, peaks


def three_at_once(server, archive):
    """What a status took meanwhile, in milliseconds, and the memory over idle."""
    cuids, asked = [server.create() for _ in range(3)], []
    os.sync()
    with Peak(server) as peak, ThreadPoolExecutor(3) as pool:
        uploads = [pool.submit(upload, server, cuid, archive) for cuid in cuids]
        while not all(each.done() for each in uploads):
            asked.append(milliseconds(lambda: server.call("GET", f"/containers/{cuids[0]}/status")))
        for each in uploads:
            each.result()
    for cuid in cuids:
        server.call("DELETE", f"/containers/{cuid}")
    return percentile(asked, 99), peak.over


def measure():
    rows, section = [], ["## Unpacking, in milliseconds", "", "| | " + " | ".join(SIDES) + " |", "| --- | --- | --- | --- |"]
    with archives() as made, Server() as server:
        for what in (SMALL, LARGE):
            times, peaks = rounds(server, what, made[what])
            for side in (COPIED, UNZIP):
                rows.append(at_most(f"unpacking {what}, to {side}", 1, ratios(times[OURS], times[side]), 2))
            rows.append(at_most("memory over idle meanwhile, MB, the worst of all", PEAK_MB, peaks, worst=True))
            section.append(f"| {what} | " + " | ".join(spread(times[side], 0) for side in SIDES) + " |")
        waits, peaks = zip(*(three_at_once(server, made[LARGE]) for _ in range(3)), strict=True)
        rows.append(at_most("p99 of a status while three such files are uploaded, ms", STATUS_MS, waits))
        rows.append(at_most("memory over idle meanwhile, MB, the worst of all", PEAK_MB, peaks, worst=True))
    return rows, [
        *section, "",
        f"{ROUNDS_AT_ONCE} rounds, the sides in another order each time, each into a new folder on one file system, which is synced before",
        "and, within the time, after. The archives are in the page cache. `cp` is what receiving the body is.",
    ]
