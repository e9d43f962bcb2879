"""The ways to a program in a container that are compared, each in its turn.

Each can `press` a key and wait for its echo, `write`, read `until` some words came, `drain` so many bytes and tell how many are
missing then, wait for the program's `end`, and `close`."""

import contextlib

from bare import Bare
from docker_exec import DockerExec
from framed import Binary, Json, NotSpoken
from report import at_most, row
from stats import ratios

LIMIT = Bare.name
OURS = (Json, Binary)
WAYS = (Bare, *OURS, DockerExec)


@contextlib.contextmanager
def opened(way, *where):
    """A way for the time of a `with`."""
    one = way(*where)
    try:
        yield one
    finally:
        one.close()


def spoken(server, cuid):
    """The ways that this server knows."""
    try:
        Binary(server, cuid).close()
        return WAYS
    except NotSpoken:
        return tuple(way for way in WAYS if way is not Binary)


def to_the_limit(what, goals, figures):
    """A row for each of our framings: its figures to the limit's, round by round. `goals` has one for each."""
    rows = []
    for way, goal in zip(OURS, goals, strict=True):
        if way.name in figures:
            rows.append(at_most(f"{what}, {way.name}, to {LIMIT}", goal, ratios(figures[way.name], figures[LIMIT]), 2))
        else:
            rows.append(row(f"{what}, {way.name}, to {LIMIT}", f"{goal:.2f}", "not spoken", False))
    return rows
