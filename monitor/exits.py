"""Exit codes, and the one-line failures that carry them. No other module chooses a number."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    OK = 0  # done, and what was asked holds
    BUG = 1  # never meant
    USAGE = 2
    NOT_YET = 10  # not yet, or not as expected
    ALARM = 20  # alarm or regressed
    BLIND = 30  # blind, or could not tell
    BAD_DATA = 65  # malformed replay line, corrupt journal, evidence that does not verify
    UNAVAILABLE = 69  # a host or login that is needed is not to be had
    IO = 74  # input or output failed: disk full, log unreadable
    BAD_PLAN = 78
    INTERRUPTED = 130


BY_VERDICT = {
    "safe": Exit.OK,
    "before": Exit.NOT_YET,
    "propagating": Exit.NOT_YET,
    "draining": Exit.NOT_YET,
    "regressed": Exit.ALARM,
    "alarm": Exit.ALARM,
    "blind": Exit.BLIND,
}


class Failure(Exception):
    """Something a person can mend: one clear line (what, where, what to do) and the exit code."""

    def __init__(self, message: str, code: Exit) -> None:
        super().__init__(message)
        self.code = code
