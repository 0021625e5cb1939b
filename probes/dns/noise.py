"""Randomness for ids, ports and letters, from the system, taken by the page: a call for each is slow."""

from __future__ import annotations

import os

_PAGE = 8192


class Noise:
    """Octets that nobody can predict; none is given twice."""

    __slots__ = ("_at", "_page")

    def __init__(self) -> None:
        self._page, self._at = b"", 0

    def take(self, size: int) -> bytes:
        """``size``: far below a page."""
        at = self._at
        end = self._at = at + size
        if end > len(self._page):
            self._page, at, self._at = os.urandom(_PAGE), 0, size
            end = size
        return self._page[at:end]
