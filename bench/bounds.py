"""Ends a measurement in an orderly way, so that what it made is taken away, also when it is interrupted or takes too long."""

import contextlib
import signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)
taking_away = 0
reason = None


def ends_within(minutes):
    """From here on, any of the signals that end a program, or the end of the time, unwinds it. Only the first one counts."""

    def end(number, _):
        global reason
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        reason = f"not done within {minutes} minutes" if number == signal.SIGALRM else "interrupted"
        if not taking_away:
            unwind()

    for each in SIGNALS:
        signal.signal(each, end)
    signal.alarm(minutes * 60)


def unwind():
    raise SystemExit(f"bench: {reason}; what it made is taken away")


@contextlib.contextmanager
def uninterrupted():
    """Around what takes away: a signal waits until it is done."""
    global taking_away
    taking_away += 1
    try:
        yield
    finally:
        taking_away -= 1
    if reason and not taking_away:
        unwind()
