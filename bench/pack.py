"""`download-zip` beside `zip -1` of the same folder into a pipe, both read and thrown away by the same code."""

from report import at_most
from server import Server
from stats import ROUNDS_AT_ONCE, in_turn, ratios, say, spread
from trees import LARGE, SMALL, Peak, archives, download, upload, zipped

OURS, ZIP = "`download-zip`", "`zip -1`"
FIRST_BYTE_MS = 10
PEAK_MB = 32


def rounds(server, what, cuid):
    """The first byte and the last in milliseconds, and the size, of each side, round by round; and the memory over idle."""
    figures, peaks = {OURS: [], ZIP: []}, []
    tree = server.folder(cuid) / "app"
    zipped(tree)  # The files are in the page cache for whoever is first.
    for number in range(ROUNDS_AT_ONCE):
        for side in in_turn([OURS, ZIP], number):
            if side == ZIP:
                figures[side].append(zipped(tree))
                continue
            with Peak(server) as peak:
                figures[side].append(download(server, cuid))
            peaks.append(peak.over)
        say(f"packing {what}: round {number + 1} of {ROUNDS_AT_ONCE}")
    return {side: list(zip(*rows, strict=True)) for side, rows in figures.items()}, peaks


def measure():
    rows, section = [], ["## Packing, in milliseconds and MB", "", "| | " + f"{OURS} | {ZIP} | MB | MB |", "| --- | --- | --- | --- | --- |"]
    with archives() as made, Server() as server:
        for what in (SMALL, LARGE):
            cuid = server.create()
            upload(server, cuid, made[what])
            figures, peaks = rounds(server, what, cuid)
            (first, ours, our_size), (_, theirs, their_size) = figures[OURS], figures[ZIP]
            rows.append(at_most(f"packing {what}, to {ZIP}", 1, ratios(ours, theirs), 2))
            rows.append(at_most("the first byte of it, ms", FIRST_BYTE_MS, first))
            rows.append(at_most("memory over idle meanwhile, MB, the worst of all", PEAK_MB, peaks, worst=True))
            sizes = " | ".join(f"{sizes[0] / 1e6:.1f}" for sizes in (our_size, their_size))
            section.append(f"| {what} | {spread(ours, 0)} | {spread(theirs, 0)} | {sizes} |")
    return rows, [*section, "", f"{ROUNDS_AT_ONCE} rounds in turn. The files are in the page cache."]
