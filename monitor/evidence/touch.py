"""Which requirements an observation may have moved, as bits; what was not touched stays as it was judged."""

from __future__ import annotations

AUTHORITY = 1
HORIZON = 2
RESOLVERS = 4
CANARIES = 8
ARRIVALS = 16
QUIET = 32
STRAGGLERS = 64
ALL = 127
