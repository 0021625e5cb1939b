"""The word ``public`` in a plan's resolvers, to the bundled list's addresses and their operators."""

from __future__ import annotations

import importlib
from typing import Any

from monitor.plan.mistakes import Wrong

PUBLIC = "public"


def public() -> dict[str, str]:
    """Address to operator, of every bundled resolver that a watch asks by default.

    Source: ``probes.dns.catalogue``. Raises :class:`Wrong` where this build has no such list.
    """
    try:
        catalogue: Any = importlib.import_module("probes.dns.catalogue")
    except ModuleNotFoundError:
        raise Wrong("this build has no list of public resolvers", "write the resolvers' addresses") from None
    return {entry.address: entry.platform for entry in catalogue.public()}
