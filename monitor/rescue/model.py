"""What is to be rescued, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct

from monitor.snapshot import StragglerRow

Outcome = Literal["copied", "would", "there", "earlier", "gone", "absent", "refused", "differs", "failed"]
HOLDS = frozenset({"copied", "there", "earlier"})  # it is on new


class Rescued(Struct, frozen=True, kw_only=True):
    """One message, or one straggler that was not found.

    ``outcome``: ``copied`` now and read back; ``would`` be; ``there``: on new already, by another way;
    ``earlier``: by an earlier rescue; ``gone``: copied earlier and not on new any more; ``absent``: not found
    on old; ``refused`` by new; ``differs``: what new gives back is not what it was given; ``failed``: a host
    or login was not to be had. ``source`` and ``target`` are folders; ``detail`` the reason, or a remark.
    """

    straggler: StragglerRow
    account: str
    outcome: Outcome
    source: str = ""
    target: str = ""
    sender: str = ""
    date: datetime | None = None
    size: int = 0
    detail: str = ""
