"""Old hosts of other makes than Postfix, each with the log that it really writes: what ``mxcutover log``
finds there is what the host itself said 250 to, and nothing else. All are on loopback; in the copy of the log
that is read they have the addresses of the outside hosts that they play.
"""

from __future__ import annotations

import asyncio
import json
import re
import smtplib
import ssl
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.mail.servers import serving, smtp
from tests.servers import exim, opensmtpd
from tests.servers.addresses import SMTP, draw
from tests.servers.daemon import run, wait_until
from tests.servers.exim import Exim
from tests.servers.handing import Client, Taken, outside, submitted
from tests.servers.host import USERS
from tests.servers.opensmtpd import OpenSmtpd
from tests.servers.room import needs_unpacked
from tests.servers.watching import mxcutover
from tests.servers.zones import DOMAIN, OLD_HOST

pytestmark = pytest.mark.servers

Host = Exim | OpenSmtpd
LOGIN, PASSWORD = f"carol@{DOMAIN}", "secret-of-carol"
ZONE = "Asia/Tokyo"
OUTSIDERS = 4


def _exim(selector: str) -> Callable[[Path, str, Path], Host]:
    return lambda place, address, certificate: Exim(
        place, address, certificate, USERS, LOGIN, PASSWORD, ZONE, selector
    )


MAKES: dict[str, tuple[Callable[[Path, str, Path], Host], tuple[str, ...]]] = {
    "exim": (_exim(""), exim.PROGRAMS),
    "exim that logs everything": (_exim("log_selector = +all"), exim.PROGRAMS),
    "opensmtpd": (lambda place, address, _: OpenSmtpd(place, address, USERS, ZONE), opensmtpd.PROGRAMS),
}


class Scene:
    """A host, those who write to it, and what it has taken from them: how each recipient's copy ended."""

    def __init__(self, place: Path, make: Callable[[Path, str, Path], Host]) -> None:
        addresses = draw()
        self.outsiders = {
            addresses.outside(number): f"203.0.113.{101 + number}" for number in range(OUTSIDERS)
        }
        self.new = addresses.new[0]
        certificate = place / "tls.pem"
        self.tls = _certified(certificate)
        self.host = make(place, addresses.old, certificate)
        self.taken: dict[Taken, str] = {}

    def outside(self, number: int, *recipients: str, disposition: str = "delivered") -> None:
        taken = outside(self.host.address, [*self.outsiders][number], recipients)
        self.taken |= dict.fromkeys(taken, disposition)

    def submitted(self, to: str, disposition: str = "delivered") -> None:
        if isinstance(self.host, OpenSmtpd):
            return
        taken = submitted(self.host.address, self.tls, LOGIN, PASSWORD, to)
        self.taken |= dict.fromkeys(taken, disposition)

    def played(self, text: str) -> str:
        """Addresses of RFC 5737 in place of those on loopback, on which a host talks to itself."""
        for source, client in {**self.outsiders, self.new: "198.51.100.20"}.items():
            text = text.replace(source, client)
        return text

    def settled(self) -> None:
        """Returns when every letter so far has come to its end."""
        wait_until(self._ended, "every letter has been delivered")

    def _ended(self) -> bool:
        text = self.host.log.read_text(errors="replace")
        if isinstance(self.host, Exim):
            return all(f"{taken.queue_id} Completed" in text for taken in self.taken)
        return len(re.findall('result="?Ok', text)) >= len(self.taken)


def _certified(path: Path) -> ssl.SSLContext:
    """A key and a certificate for the host, and a context that trusts it."""
    key = path.with_name("key.pem")
    run(
        "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={OLD_HOST}",
        "-addext", f"subjectAltName=DNS:{OLD_HOST}", "-keyout", str(key), "-out", str(path),
    )  # fmt: skip
    context = ssl.create_default_context(cafile=path)
    path.write_text(key.read_text() + path.read_text())
    return context


@pytest.fixture(params=MAKES)
def scene(request: pytest.FixtureRequest) -> Iterator[Scene]:
    make, programs = MAKES[request.param]
    needs_unpacked(*programs)
    with tempfile.TemporaryDirectory(prefix="mx-") as name:
        place = Path(name)
        place.chmod(0o711)
        made = Scene(place, make)
        try:
            with made.host.daemon:
                yield made
        finally:
            made.host.close()


async def test_the_log_shows_what_the_host_took_and_nothing_else(scene: Scene, tmp_path: Path) -> None:
    async with serving(smtp({}), host=scene.new) as onward:
        await asyncio.to_thread(play, scene, onward)
    log = tmp_path / "copy.log"
    log.write_text(scene.played(scene.host.log.read_text(errors="replace")))
    printed = await mxcutover("log", str(log), "--domain", DOMAIN, "--zone", ZONE, "--json")
    seen = [json.loads(line) for line in printed.splitlines()]
    mail = [one for one in seen if one["kind"] == "mail"]
    took = [facts(one) for one in mail if one["disposition"] != "rejected"]
    expected = [
        (taken.queue_id, taken.recipient, scene.played(taken.client), taken.origin, disposition)
        for taken, disposition in scene.taken.items()
    ]
    assert sorted(took) == sorted(expected), log.read_text()
    assert {one["recipient"] for one in mail if one["disposition"] == "rejected"} <= {f"nobody@{DOMAIN}"}
    assert not any(one.get("not_understood") for one in seen), log.read_text()


def facts(mail: dict[str, Any]) -> tuple[str, ...]:
    """OpenSMTPD tells its clients the first half of an envelope's id: that of the message."""
    queue_id = str(mail["queue_id"])
    return (
        queue_id if "-" in queue_id else queue_id[:8],
        *(str(mail[name]) for name in ("recipient", "client", "origin", "disposition")),
    )


def play(scene: Scene, onward: int) -> None:
    """Letters to one and to several, a user's own, what comes to nothing; then old lets go."""
    scene.outside(0, "anna")
    scene.outside(1, "anna", "ben", "carol")
    scene.submitted("ben")
    scene.outside(2, "carol")
    nothing_comes_of_these(scene)
    scene.settled()
    scene.host.relay(scene.new, onward)
    scene.outside(0, "ben", disposition="relayed")
    scene.submitted("anna", disposition="relayed")
    scene.settled()


def nothing_comes_of_these(scene: Scene) -> None:
    """A user whom nobody knows, a letter taken back, and one that breaks off."""
    with pytest.raises(smtplib.SMTPRecipientsRefused):
        scene.outside(3, "nobody")
    client = Client(scene.host.address, SMTP, [*scene.outsiders][3])
    client.ehlo()
    client.mail("suga@outside.example")
    assert client.rcpt(f"anna@{DOMAIN}")[0] == 250
    client.rset()
    client.mail("suga@outside.example")
    assert client.rcpt(f"ben@{DOMAIN}")[0] == 250
    client.close()
