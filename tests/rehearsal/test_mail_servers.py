from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import imapclient
import pytest

from monitor.rehearsal.mailhost import MailHost
from monitor.rehearsal.scenarios import Act
from monitor.rehearsal.world import World

ANNA = "anna@rehearsal.example"


def _by_name(world: World) -> ssl.SSLContext:
    """Verifies the chain; not the name, since these clients can be told only the loopback's address."""
    context = ssl.create_default_context(cafile=world.ca_path)
    context.check_hostname = False
    return context


def letter(number: int, spam: bool = False) -> EmailMessage:
    message = EmailMessage()
    message["Message-ID"] = f"<test-{number}@sender.example>"
    message["From"], message["To"], message["Subject"] = "x@sender.example", ANNA, "日本語"
    if spam:
        message["X-Spam-Flag"] = "YES"
    message.set_content("text\n")
    return message


def outside(
    world: World, host: MailHost, to: str = ANNA, number: int = 1, spam: bool = False
) -> tuple[int, bytes]:
    """Hand one message to port 25; the reply to RCPT if that refuses, else the reply to DATA."""
    real = world.net.real(host.who.addresses[0], 25)
    with smtplib.SMTP(*real, local_hostname="mta.test.example", timeout=10) as smtp:
        smtp.ehlo()
        smtp.mail("x@sender.example")
        code, reply = smtp.rcpt(to)
        return (
            smtp.data(letter(number, spam).as_bytes().replace(b"\n", b"\r\n"))
            if code == 250
            else (code, reply)
        )


def submit(world: World, host: MailHost, login: str, password: str) -> None:
    port = host.who.submission_port
    where, real = world.net.real(host.who.addresses[0], port)
    if port == 465:
        smtp: smtplib.SMTP = smtplib.SMTP_SSL(where, real, timeout=10, context=_by_name(world))
    else:
        smtp = smtplib.SMTP(where, real, timeout=10)
        smtp.starttls(context=_by_name(world))
    with smtp:
        smtp.login(login, password)
        smtp.send_message(letter(7), from_addr=ANNA, to_addrs=[ANNA])


@contextmanager
def opened(world: World, host: MailHost, password: str | None = None) -> Iterator[imapclient.IMAPClient]:
    """Anna's mailbox, over TLS verified by the host's name."""
    mailbox = host.store.of(ANNA)
    assert mailbox is not None
    where, port = world.net.real(host.who.addresses[0], host.who.imap_port)
    context = _by_name(world)
    client = imapclient.IMAPClient(
        where, port, ssl=host.who.imap_tls == "implicit", ssl_context=context, timeout=10
    )
    if host.who.imap_tls == "starttls":
        client.starttls(context)
    client.login(mailbox.login, password or mailbox.password)
    yield client
    client.logout()


@pytest.mark.parametrize("side", ["old", "new"])
async def test_port_25_delivers_and_refuses(world: World, side: str) -> None:
    host: MailHost = getattr(world, side)
    assert (await asyncio.to_thread(outside, world, host))[0] == 250
    assert (await asyncio.to_thread(outside, world, host, "nobody@rehearsal.example"))[0] == 550
    assert (await asyncio.to_thread(outside, world, host, "x@elsewhere.example"))[0] == 454
    assert [(e.side, e.account) for e in world.truth.landed] == [(side, ANNA)]


@pytest.mark.parametrize("side", ["old", "new"])
async def test_submission_needs_tls_and_the_password(world: World, side: str) -> None:
    host: MailHost = getattr(world, side)
    mailbox = host.store.of(ANNA)
    assert mailbox is not None
    with pytest.raises(smtplib.SMTPAuthenticationError):
        await asyncio.to_thread(submit, world, host, mailbox.login, "wrong")
    await asyncio.to_thread(submit, world, host, mailbox.login, mailbox.password)
    assert [e.side for e in world.truth.landed] == [side]


async def test_the_old_host_swallows_what_is_submitted_until_it_lets_the_domain_go(world: World) -> None:
    world.perform(Act(at=0, do="change-mx"))
    world.perform(Act(at=0, do="secondary-catches-up"))
    await asyncio.to_thread(submit, world, world.old, "anna", "old-anna")
    assert [e.side for e in world.truth.landed] == ["old"]
    world.perform(Act(at=0, do="let-go"))
    world.old.transport = world.new.who.client
    await asyncio.to_thread(submit, world, world.old, "anna", "old-anna")
    async with asyncio.timeout(10):
        while world.old.queued:
            await asyncio.sleep(0.01)
    assert world.truth.landed[1].side == "new"
    log = world.log_path.read_text()
    assert "sasl_username=anna" in log and "relay=mx1.new.example[198.51.100.20]:25" in log


async def test_a_full_mailbox_refuses_until_it_is_mended(world: World) -> None:
    world.perform(Act(at=0, do="mailbox-full", subject=ANNA))
    assert (await asyncio.to_thread(outside, world, world.new))[0] == 552
    world.perform(Act(at=0, do="mailbox-mended", subject=ANNA))
    assert (await asyncio.to_thread(outside, world, world.new))[0] == 250


async def test_mail_that_old_swallowed_is_copied_to_new(world: World) -> None:
    await asyncio.to_thread(outside, world, world.old, ANNA, 5)
    world.perform(Act(at=0, do="copy"))
    assert world.truth.landed_on("new") == {"<test-5@sender.example>"}


@pytest.mark.parametrize("side", ["old", "new"])
async def test_imap_reads_without_changing_anything(world: World, side: str) -> None:
    host: MailHost = getattr(world, side)
    await asyncio.to_thread(outside, world, host, ANNA, 1)
    await asyncio.to_thread(outside, world, host, ANNA, 2, True)
    await asyncio.to_thread(_read, world, host)


def _read(world: World, host: MailHost) -> None:
    with opened(world, host) as client:
        assert client.find_special_folder(b"\\Junk") == "Junk"
        status = client.folder_status("INBOX", ["MESSAGES", "UIDNEXT", "UIDVALIDITY"])
        chosen = client.select_folder("INBOX", readonly=True)
        assert chosen[b"UIDNEXT"] == status[b"UIDNEXT"] and chosen[b"EXISTS"] == status[b"MESSAGES"]
        (newest,) = client.search(["UID", f"{status[b'UIDNEXT'] - 1}:*"])
        assert client.search(["HEADER", "Message-ID", "test-1@sender"]) == [newest]
        fields = b"BODY[HEADER.FIELDS (MESSAGE-ID RECEIVED)]"
        got = client.fetch(
            [newest], ["BODY.PEEK[HEADER.FIELDS (Message-ID Received)]", "INTERNALDATE", "FLAGS"]
        )
        assert b"<test-1@sender.example>" in got[newest][fields] and b"X-Spam" not in got[newest][fields]
        assert b"\tby " + host.who.name.encode() in got[newest][fields]
        client.fetch([newest], ["BODY[]"])
        assert client.fetch([newest], ["FLAGS"])[newest][b"FLAGS"] == ()
        client.select_folder("Junk", readonly=True)
        assert client.search(["HEADER", "Message-ID", "test-2@sender"])
        with pytest.raises(imapclient.exceptions.IMAPClientError):
            client.store([newest], b"+FLAGS", (b"\\Seen",)) if False else client.add_flags(
                [newest], [b"\\Seen"]
            )


async def test_imap_refuses_a_wrong_password_and_a_login_in_the_clear(world: World) -> None:
    with pytest.raises(imapclient.exceptions.LoginError):
        await asyncio.to_thread(lambda: opened(world, world.new, "wrong").__enter__())

    def clear() -> None:
        where, port = world.net.real(world.old.who.addresses[0], world.old.who.imap_port)
        client = imapclient.IMAPClient(where, port, ssl=False, timeout=10)
        try:
            client.login("anna", "old-anna")
        finally:
            client.shutdown()

    with pytest.raises(imapclient.exceptions.LoginError):
        await asyncio.to_thread(clear)


@pytest.mark.parametrize("side", ["old", "new"])
async def test_idle_tells_of_a_delivery_at_once(world: World, side: str) -> None:
    host: MailHost = getattr(world, side)

    def idle() -> list[tuple[int, bytes]]:
        with opened(world, host) as client:
            before = client.select_folder("INBOX", readonly=True)[b"EXISTS"]
            client.idle()
            outside(world, host, ANNA, 3)
            told: list[tuple[int, bytes]] = client.idle_check(timeout=10)
            client.idle_done()
            assert told == [(before + 1, b"EXISTS")]
            assert len(client.search("ALL")) == before + 1
        return told

    assert await asyncio.to_thread(idle)


async def test_imap_survives_nonsense(world: World) -> None:
    where, port = world.net.real(world.old.who.addresses[0], world.old.who.imap_port)
    for nonsense in (
        b"\r\n",
        b"a\r\n",
        b"a (((((((((((\r\n",
        b'a LOGIN "\r\n',
        b"a FETCH 1 X\r\n",
        b"\xff\x00\r\n",
    ):
        reader, writer = await asyncio.open_connection(where, port)
        await reader.readline()
        writer.write(nonsense + b"z NOOP\r\n")
        async with asyncio.timeout(5):
            while not (line := await reader.readline()).startswith(b"z OK"):
                assert b" BAD " in line
        writer.close()
    reader, writer = await asyncio.open_connection(where, port)
    writer.write(b"a LOGIN {999999999}\r\n" + b"x" * 100)
    async with asyncio.timeout(5):
        assert b"BYE" in await reader.read()
    writer.close()
