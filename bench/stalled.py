"""Clients that don't read, while the programs that they look at write without end: what each costs the server in memory."""

import contextlib
import threading

from programs import READY, argv, container
from report import at_most
from server import Server
from shells import ROOM, SETTINGS, settled
from stats import say
from ways import OURS, spoken

STALLED = 20
# So much the kernel takes for a client that doesn't read.
RECEIVED = 1 << 12


def flooded(server, cuid, way, *room):
    """A session whose program writes without end."""
    one = way(server, cuid, argv("forever"), True, *room)
    one.until(READY)
    one.write(b"\n")
    return one


def owners(server, cuid, way):
    """MB for each session whose only client doesn't read, so that its program is held up."""
    before = settled(server)
    with contextlib.ExitStack() as stack:
        for _ in range(STALLED):
            stack.enter_context(contextlib.closing(flooded(server, cuid, way, ROOM, RECEIVED)))
        return (settled(server) - before) / STALLED


def read_on(client, over, read):
    """Reads until it is told to stop, and counts."""
    while not over.is_set():
        read[0] += len(client.some())


def watchers(server, cuid, way):
    """MB for each that watches a session and doesn't read, while the session's own client does."""
    with contextlib.closing(flooded(server, cuid, way)) as own, contextlib.ExitStack() as stack:
        over, query, read = threading.Event(), f"session={own.session}&watch=1", [0]
        reading = threading.Thread(target=read_on, args=(own, over, read))
        reading.start()
        try:
            before = settled(server)
            for _ in range(STALLED):
                stack.enter_context(contextlib.closing(way(server, cuid, None, True, ROOM, RECEIVED, query)))
            return (settled(server) - before) / STALLED
        finally:
            over.set()
            reading.join()
            say(f"stalled: {way.name}, the session's own client has read {read[0] / 1e6:.0f} MB meanwhile")


def measure():
    rows = []
    for what, kind in (("a client that doesn't read", owners), ("a watcher that doesn't read", watchers)):
        for way in OURS:
            # Each on a server of its own, whose memory nothing else has been in.
            with Server(**SETTINGS) as server:
                cuid = container(server)
                if way in spoken(server, cuid):
                    rows.append(at_most(f"resident memory for {what}, {way.name}, MB", 2, [kind(server, cuid, way)], 2))
        say(f"stalled: {what}")
    return rows, [
        "## Clients that don't read", "",
        f"{STALLED} at a time, each looking at a program that writes without end. The kernel's buffers are not the server's memory.",
    ]
