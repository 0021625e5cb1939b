"""Passwords and tokens that cannot be printed by accident."""

from __future__ import annotations

import time


class Secret:
    """A password in memory. Its ``repr`` and ``str`` are ``***``; ``reveal()`` is the only way in."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str:
        raise TypeError("a secret is never pickled")


class Token(Secret):
    """An OAuth 2.0 access token (RFC 6750), good for ``seconds`` from now as far as its issuer says."""

    __slots__ = ("_until",)
    MARGIN = 60.0  # before its end, so that no login begins with one that ends on the way

    def __init__(self, value: str, seconds: float = 300.0) -> None:
        super().__init__(value)
        self._until = time.monotonic() + seconds - min(self.MARGIN, seconds / 2)

    @property
    def stale(self) -> bool:
        return time.monotonic() >= self._until
