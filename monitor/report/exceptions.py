"""TLS exceptions: where the plan lets a connection be less than verified with the name that was meant."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from monitor.plan.model import CutoverPlan
from probes.service import Service

Kind = Literal["unverified", "plain", "own-ca", "other-name"]


class TlsException(Struct, frozen=True, kw_only=True):
    """One service of the plan (``old.imap`` …), its host and port, and what is excepted.

    ``detail`` is the CA file or the other name; "" for the rest.
    """

    service: str
    host: str
    port: int
    kind: Kind
    detail: str = ""


def tls_exceptions(plan: CutoverPlan) -> tuple[TlsException, ...]:
    """Every exception that the plan names, the weightiest kind first within a service."""
    sides = (("old", plan.old), ("new", plan.new))
    services = [(f"{side}.{called}", s) for side, host in sides for called, s in host.services.items()]
    return tuple(e for where, service in services for e in _of(where, service))


def _of(where: str, service: Service) -> list[TlsException]:
    found: list[tuple[Kind, str]] = []
    if service.tls == "none":
        found.append(("plain", ""))
    elif not service.verify:
        found.append(("unverified", ""))
    else:
        if service.ca_file is not None:
            found.append(("own-ca", str(service.ca_file)))
        if service.tls_name is not None and service.tls_name.rstrip(".") != service.host.rstrip("."):
            found.append(("other-name", service.tls_name))
    return [
        TlsException(service=where, host=service.host, port=service.port, kind=kind, detail=detail)
        for kind, detail in found
    ]
