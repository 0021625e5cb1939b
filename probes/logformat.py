"""The names of the log formats that are read."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias, get_args

LogFormat: TypeAlias = Literal[
    "auto", "postfix", "exim", "sendmail", "qmail", "opensmtpd", "courier", "haraka", "exchange", "dovecot"
]
FORMATS: Final[tuple[LogFormat, ...]] = get_args(LogFormat)
