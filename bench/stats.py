"""Times, medians and shares of a list of figures, and whose turn it is. Knows nothing of what is measured."""

import math
import os
import statistics
import sys
import time

# How often each step is measured; what takes many containers at once is measured a third as often.
ROUNDS = int(os.environ.get("ROUNDS", "15"))
ROUNDS_AT_ONCE = max(1, ROUNDS // 3)


def say(line):
    """One line of progress."""
    print(f"bench: {line}", file=sys.stderr, flush=True)


def milliseconds(work):
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def median(values):
    return statistics.median(values)


def percentile(values, percent):
    """The smallest of the values that so many per cent of them don't exceed."""
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def spread(values, digits=1):
    """The median and the range."""
    if len(values) == 1:
        return f"{values[0]:.{digits}f}"
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratios(ours, theirs):
    """Round by round."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def in_turn(sides, number):
    """The sides in another order each round: each is first in its turn, and none always follows the same one."""
    at = number % len(sides)
    first, *others = sides[at:] + sides[:at]
    return [first, *(others if number % 2 == 0 else others[::-1])]
