"""Logins by token: where tokens come from, and servers that take nothing else and end them early."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import sys
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from monitor.exits import Exit, Failure
from monitor.plan.model import Account, CutoverPlan, Host
from monitor.plan.secrets import file_of, resolve
from monitor.plan.values import secret as reference
from monitor.watch.vault import Vault
from probes.endpoints import Endpoints
from probes.mail.canary import Signer
from probes.mail.mailbox import Box, Mailboxes
from probes.mail.routes import Login, Outgoing, send
from probes.mail.trace import Place
from probes.observation import AccountState, Coverage, Mail
from probes.secret import Secret, Token
from probes.service import Service
from tests.mail.conftest import ANNA, KEY, Followed
from tests.mail.servers import certificate, serving
from tests.mail.test_hostile_imap import FETCHED, HEADER
from tests.mail.test_mailboxes import of

NAME = "mail.old.example"


class Issuer:
    """A token endpoint (RFC 6749 section 3.2) and the little of OpenID's discovery that msal asks for. Each
    token is another one; only the latest is good."""

    def __init__(self, refuses: bool = False) -> None:
        self.asked: list[dict[str, str]] = []
        self.refuses = refuses
        self.life = 3600
        self.port = 0

    @property
    def latest(self) -> str:
        return f"ya29.token-{len(self.asked)}"

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = [int(x.split(":")[1]) for x in head.splitlines() if x.lower().startswith("content-length:")]
        body = (await reader.readexactly(size[0] if size else 0)).decode()
        if head.startswith("GET"):
            base = f"https://localhost:{self.port}/tenant"
            said: dict[str, Any] = {
                "authorization_endpoint": f"{base}/auth", "token_endpoint": f"{base}/token", "issuer": base,
            }  # fmt: skip
        else:
            self.asked.append(dict(urllib.parse.parse_qsl(body)))
            said = {"access_token": self.latest, "token_type": "Bearer", "expires_in": self.life}
        code = "400 Bad Request" if self.refuses and body else "200 OK"
        said = {"error": "invalid_grant", "secret": "r-1"} if self.refuses and body else said
        text = json.dumps(said).encode()
        writer.write(f"HTTP/1.1 {code}\r\nContent-Type: application/json\r\nConnection: close\r\n".encode())
        writer.write(f"Content-Length: {len(text)}\r\n\r\n".encode() + text)
        await writer.drain()


@pytest.fixture
async def issuer() -> AsyncIterator[Issuer]:
    made = Issuer()
    async with serving(made.talk) as made.port:
        yield made


def kept(folder: Path, given: dict[str, Any]) -> Path:
    path = folder / "token.json"
    path.write_text(json.dumps(given))
    path.chmod(0o600)
    return path


def refreshing(issuer: Issuer) -> dict[str, Any]:
    uri = f"http://127.0.0.1:{issuer.port}/token"
    return {"token_uri": uri, "client_id": "c-1", "client_secret": "s-1", "refresh_token": "r-1"}


@pytest.mark.parametrize("kind", ["refresh", "google"])
async def test_a_user_s_token_is_refreshed(issuer: Issuer, tmp_path: Path, kind: str) -> None:
    path = kept(tmp_path, refreshing(issuer))
    assert reference(f"oauth:{kind}:{path.name}") == f"oauth:{kind}:{path.name}"
    assert file_of(f"oauth:{kind}:{path.name}", tmp_path) == path
    token = await asyncio.to_thread(resolve, f"oauth:{kind}:{path.name}", tmp_path)
    assert isinstance(token, Token) and token.reveal() == issuer.latest and not token.stale
    (asked,) = issuer.asked
    assert (asked["grant_type"], asked["refresh_token"]) == ("refresh_token", "r-1")
    path.chmod(0o644)
    with pytest.raises(Failure, match="chmod 600") as failure:
        resolve(f"oauth:{kind}:{path.name}", tmp_path)
    assert failure.value.code == Exit.BAD_PLAN


async def test_google_s_service_account_speaks_for_the_user(issuer: Issuer, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    uri = f"http://127.0.0.1:{issuer.port}/token"
    account = {"type": "service_account", "client_email": "w@p.example", "private_key_id": "1"}
    kept(tmp_path, {**account, "private_key": pem.decode(), "token_uri": uri})
    token = await asyncio.to_thread(resolve, "oauth:google:token.json", tmp_path, "", ANNA)
    assert token.reveal() == issuer.latest
    claims = json.loads(base64.urlsafe_b64decode(issuer.asked[0]["assertion"].split(".")[1] + "=="))
    assert (claims["sub"], claims["scope"], claims["iss"]) == (
        ANNA,
        "https://mail.google.com/",
        "w@p.example",
    )


@pytest.mark.parametrize("user", [True, False])
async def test_microsoft_s_token_is_an_application_s_or_a_user_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: bool
) -> None:
    context, ca = certificate(tmp_path, "localhost")
    monkeypatch.setenv("SSL_CERT_FILE", str(ca))
    issuer = Issuer()
    async with serving(issuer.talk, context) as issuer.port:
        right = {"refresh_token": "r-1"} if user else {"client_secret": "s-1"}
        authority = f"https://localhost:{issuer.port}/tenant"
        kept(tmp_path, {"authority": authority, "client_id": "c-1", **right})
        token = await asyncio.to_thread(resolve, "oauth:microsoft:token.json", tmp_path)
    assert token.reveal() == issuer.latest
    (asked,) = issuer.asked
    assert asked["grant_type"] == ("refresh_token" if user else "client_credentials")
    assert ("IMAP.AccessAsUser.All" in asked["scope"]) == user


REFUSED: dict[str, tuple[str, Any, int, str]] = {
    "a revoked one": ("refresh", {}, 69, "invalid_grant"),
    "Google's": ("google", {}, 69, "invalid_grant"),
    "no JSON": ("refresh", "x", 78, "not JSON"),
    "half a file": ("refresh", {"refresh_token": None}, 78, "no refresh_token"),
    "no https": ("refresh", {"token_uri": "http://t.example/"}, 78, "https only"),
    "nobody there": ("refresh", {"token_uri": "https://127.0.0.1:1/"}, 69, "refused"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_why_there_is_no_token_is_said_without_a_secret(name: str, tmp_path: Path) -> None:
    kind, changed, code, word = REFUSED[name]
    issuer = Issuer(refuses=True)
    async with serving(issuer.talk) as issuer.port:
        given = refreshing(issuer) | (changed if isinstance(changed, dict) else {})
        path = kept(tmp_path, {k: v for k, v in given.items() if v is not None})
        if changed == "x":
            path.write_text("refresh_token = r-1")
        with pytest.raises(Failure) as failure:
            await asyncio.to_thread(resolve, f"oauth:{kind}:token.json", tmp_path)
    text = str(failure.value)
    assert failure.value.code == code and word in text and "r-1" not in text and "s-1" not in text


class TokenOnly:
    """IMAP and submission that take XOAUTH2 with the issuer's latest token, and nothing else."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        self.writers: set[asyncio.StreamWriter] = set()
        self.logins: list[bool] = []

    def _right(self, said: bytes) -> bool:
        login = f"user=anna\x01auth=Bearer {self.issuer.latest}\x01\x01".encode()
        self.logins.append(base64.b64decode(said) == login)
        return self.logins[-1]

    async def imap(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.add(writer)
        writer.write(b"* OK [CAPABILITY IMAP4rev1 IDLE LOGINDISABLED AUTH=XOAUTH2] ready\r\n")
        while line := await reader.readline():
            tag, _, rest = line.strip().partition(b" ")
            verb = rest.removeprefix(b"UID ").split(b" ")[0]
            if verb == b"AUTHENTICATE":
                writer.write(b"+ \r\n")
                if not self._right(await reader.readline()):
                    writer.write(b"+ " + base64.b64encode(b'{"status":"400"}') + b"\r\n")
                    assert (await reader.readline()).strip() == b""
                    writer.write(tag + b" NO [AUTHENTICATIONFAILED] Invalid credentials\r\n")
                    continue
            writer.write({
                b"CAPABILITY": b"* CAPABILITY IMAP4rev1 IDLE LOGINDISABLED AUTH=XOAUTH2\r\n",
                b"LIST": b'* LIST () "/" INBOX\r\n', b"SEARCH": b"* SEARCH 7\r\n",
                b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 5] x\r\n* OK [UIDNEXT 8] x\r\n",
                b"FETCH": FETCHED % (len(HEADER), HEADER), b"IDLE": b"+ go\r\n",
            }.get(verb, b""))  # fmt: skip
            if verb == b"IDLE":
                await reader.readline()
            writer.write(tag + b" OK done\r\n")

    async def submission(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mx\r\n")
        while line := (await reader.readline()).decode().strip():
            verb = line.split()[0].upper()
            if verb == "AUTH" and not self._right(line.split()[2].encode()):
                writer.write(b"334 eyJ9\r\n")
                await reader.readline()
                writer.write(b"535 5.7.8 no\r\n")
                continue
            if verb == "DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            said = {"EHLO": b"250-mx\r\n250 AUTH LOGIN XOAUTH2\r\n", "AUTH": b"235 in\r\n"}
            writer.write(said.get(verb, b"250 ok\r\n"))


@contextlib.asynccontextmanager
async def token_only(
    issuer: Issuer, folder: Path
) -> AsyncIterator[tuple[TokenOnly, Endpoints, dict[str, Any]]]:
    context, ca = certificate(folder, NAME)
    server = TokenOnly(issuer)
    async with serving(server.imap, context) as imap, serving(server.submission, context) as submission:
        ends = Endpoints({"192.0.2.10:993": f"127.0.0.1:{imap}", "192.0.2.10:465": f"127.0.0.1:{submission}"})
        yield server, ends, {"host": NAME, "tls": "implicit", "address": "192.0.2.10", "ca_file": ca}


def plan(folder: Path, secret: str) -> tuple[CutoverPlan, Account]:
    account = Account(address=ANNA, old_login="anna", new_login="anna", old_secret=secret)
    nowhere = Host(mx=(), addresses=())
    made = CutoverPlan(
        path=folder / "cutover.toml", domain="rehearsal.example.", old=nowhere, new=nowhere, expected_mx=(),
        accounts=(account,), resolvers=(), platforms={}, routes=(),
    )  # fmt: skip
    return made, account


async def test_a_token_that_ends_in_mid_session_is_renewed(issuer: Issuer, tmp_path: Path) -> None:
    kept(tmp_path, refreshing(issuer))
    made, account = plan(tmp_path, "oauth:refresh:token.json")
    vault = Vault(made)
    async with token_only(issuer, tmp_path) as (server, ends, where):
        boxes = Mailboxes(Signer(KEY), ends, 0.2, 0.4, 2.0)

        async def secret() -> Secret:
            return await vault.secret("old", account)

        box = Box(
            side="old", account=ANNA, service=Service(port=993, **where), login="anna", secret=secret,
            refused=lambda: vault.forget("old", account), place=Place([NAME], ["192.0.2.10"]),
        )  # fmt: skip
        first = Followed(boxes, box)
        await first.until(of(Coverage))
        assert [m.message_id for m in first.of(Mail)] == ["<7@a.example>"]
        issuer.asked.append({})  # the one in use is good no more, whatever was said of its life
        for writer in server.writers:
            writer.write(b"* BYE session expired\r\n")
            writer.close()
        await first.until_over()
        second = Followed(boxes, box, first.position)
        await second.until(of(Coverage))
        assert server.logins == [True, False, True]
        # Nobody was told of a refused account: the first answer to a refused token is another token.
        assert {s.state for s in second.of(AccountState)} == {"ok"}
        await second.stop()
        await boxes.close()
    assert "ya29" not in repr(first.seen + second.seen)


async def test_submission_by_token_and_its_refusal(issuer: Issuer, tmp_path: Path) -> None:
    kept(tmp_path, refreshing(issuer))
    made, account = plan(tmp_path, "oauth:refresh:token.json")
    vault = Vault(made)
    async with token_only(issuer, tmp_path) as (_, ends, where):
        out = Outgoing(
            canary="c-1", route="via-old", sender=ANNA, recipient=ANNA, message=b"X: y\r\n\r\n.\r\n"
        )
        to = Service(port=465, **where)
        token = await vault.secret("old", account)
        handed = await send(out, to, ends, "w.example", 10, login=Login("anna", token))
        assert handed.attempts[-1].outcome == "accepted"
        issuer.asked.append({})
        handed = await send(out, to, ends, "w.example", 10, login=Login("anna", token))
        assert handed.login_refused and "ya29" not in repr(handed)
        vault.forget("old", account)
        again = await vault.secret("old", account)
        assert again != token and again == await vault.secret("old", account)
        handed = await send(out, to, ends, "w.example", 10, login=Login("anna", again))
        assert handed.attempts[-1].outcome == "accepted"


async def test_a_program_may_print_the_token_and_a_stale_one_is_not_used(tmp_path: Path) -> None:
    script = tmp_path / "print.py"
    script.write_text("import uuid; print(uuid.uuid4())")
    made, account = plan(tmp_path, f"oauth:command:{sys.executable} {script}")
    vault = Vault(made)
    first, again = [await vault.secret("old", account) for _ in range(2)]
    assert isinstance(first, Token) and first == again
    first._until = 0.0
    assert await vault.secret("old", account) != first
