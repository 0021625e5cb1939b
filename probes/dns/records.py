"""Records beside the MX by which people and servers find a mail host: what still names the old one?"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from probes.dns.exchange import Exchange, Question
from probes.observation import AuthorityAnswer, now
from probes.sight import Server, Tell, nobody

TIMEOUT = 5.0
AT_A_TIME = 4
# What mail programs are told to connect to, by custom (A, AAAA and the CNAME itself).
_NAMES = ("imap", "pop", "pop3", "smtp", "mail", "webmail", "autoconfig", "autodiscover")
# RFC 6186 section 3, RFC 8314 section 5.1, and Microsoft's own.
_SRV = ("_imap", "_imaps", "_pop3", "_pop3s", "_submission", "_submissions", "_autodiscover")


def beside(domain: str, hosts: Iterable[str]) -> list[Question]:
    """The questions, for a domain (absolute) and its planned exchanges."""
    asked = [
        Question(domain, "TXT"),  # SPF: RFC 7208 section 3.1
        Question(domain, "A"),
        Question(domain, "AAAA"),
        Question(f"_mta-sts.{domain}", "TXT"),  # RFC 8461 section 3.1
        *(Question(f"{service}._tcp.{domain}", "SRV") for service in _SRV),
        *(Question(f"{name}.{domain}", kind) for name in _NAMES for kind in ("CNAME", "A", "AAAA")),
    ]
    below = (host for host in hosts if host.endswith(f".{domain}"))
    return [*asked, *(Question(f"_25._tcp.{host}", "TLSA") for host in below)]  # RFC 7672 section 3


async def ask_records(
    exchange: Exchange, server: Server, domain: str, hosts: Iterable[str], *, tell: Tell = nobody
) -> list[AuthorityAnswer]:
    """What one authority of ``domain`` serves of them; those that are not there count as seen, too.

    Never raises for what the network does; silence and faults are left out: nothing is judged by them.
    """
    gate = asyncio.Semaphore(AT_A_TIME)

    async def ask(question: Question) -> AuthorityAnswer | None:
        async with gate:
            reply = await exchange.ask(server.address, question, rd=False, timeout=TIMEOUT)
        if not reply.aa or reply.outcome not in ("answer", "nodata", "nxdomain"):
            return None
        answer = AuthorityAnswer(
            at=now(), server=server.name, address=server.address, transport=reply.transport,
            name=question.name, type=question.type, outcome=reply.outcome, rrset=reply.rrset, ttl=reply.ttl,
            serial=None, aa=True, rtt_ms=reply.rtt_ms,
        )  # fmt: skip
        await tell(answer)
        return answer

    found = await asyncio.gather(*(ask(question) for question in beside(domain, hosts)))
    return [answer for answer in found if answer is not None]
