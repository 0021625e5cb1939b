"""DoT, DoH and DoQ against servers that are busy, fickle, broken or hostile."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import h2.connection
import h2.events
import pytest

from probes.dns import links
from probes.dns.exchange import Exchange, Question, Reply, Via, doh, doq, dot
from probes.dns.https import MESSAGE, DohLink
from probes.dns.links import End
from probes.dns.tls import DotLink
from probes.dns.via import How
from tests.dns.ciphering import NAME, Cipher, asking, doh_server, dot_server, quic, streams
from tests.dns.scripted import ADDRESS, MX, OnTcp, framed, mx_of, response, tcp_query
from tests.dns.scripted import NAME as DOMAIN

QUESTION = Question(DOMAIN, "MX")
URL = f"https://{NAME}/dns-query"
PORT = {"dot": 853, "doh": 443, "doq": 853}
VIA = {"dot": dot(NAME), "doh": doh(URL), "doq": doq(NAME)}


@pytest.fixture(scope="module")
def cipher(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cipher]:
    yield Cipher(tmp_path_factory.mktemp("ca"))


async def ask(exchange: Exchange, via: Via, timeout: float = 20.0) -> Reply:
    return await exchange.ask(ADDRESS, QUESTION, rd=True, via=via, timeout=timeout)


async def answered(exchange: Exchange, via: Via, many: int = 1) -> set[tuple[str, tuple[str, ...], str]]:
    replies = await asyncio.gather(*(ask(exchange, via) for _ in range(many)))
    return {(reply.outcome, reply.rrset, reply.transport) for reply in replies}


# Connections are shared, in order or not


async def test_many_questions_share_one_connection_and_answers_come_in_any_order(cipher: Cipher) -> None:
    async def five_at_a_time(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            queries = [await tcp_query(reader) for _ in range(5)]
            writer.write(b"".join(framed(mx_of(query)) for query in reversed(queries)))

    async with streams(cipher, five_at_a_time, 853) as (counted, exchange):
        assert await answered(exchange, dot(NAME), 30) == {("answer", MX, "dot")}
        assert counted.connections == 1


async def test_queries_are_padded_and_ids_are_random(cipher: Cipher) -> None:
    queries: list[bytes] = []

    def answer(query: bytes) -> bytes:
        queries.append(query)
        return mx_of(query)

    async with streams(cipher, dot_server(answer), 853) as (_, exchange):
        assert await answered(exchange, dot(NAME), 30) == {("answer", MX, "dot")}
    assert {len(query) % 128 for query in queries} == {0} and len({query[:2] for query in queries}) > 20


async def _one_answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(framed(mx_of(await tcp_query(reader))))
    await writer.drain()


async def test_a_connection_that_the_server_has_closed_is_no_loss(cipher: Cipher) -> None:
    async with streams(cipher, _one_answer, 853) as (counted, exchange):
        for n in range(1, 4):
            assert await answered(exchange, dot(NAME)) == {("answer", MX, "dot")}
            assert counted.connections == n


async def test_an_idle_connection_is_closed_and_one_that_is_silent_not_used_again(
    cipher: Cipher, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, said = asyncio.Event(), list[bytes]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                said.append(await tcp_query(reader))
                if len(said) != 2:
                    writer.write(framed(mx_of(said[-1])))
        ended.set()

    monkeypatch.setattr(links, "IDLE", 0.05)
    async with streams(cipher, talk, 853) as (counted, exchange):
        assert await answered(exchange, dot(NAME)) == {("answer", MX, "dot")}
        async with asyncio.timeout(20):
            await ended.wait()
        assert (await ask(exchange, dot(NAME), 0.3)).outcome == "timeout"
        assert await answered(exchange, dot(NAME)) == {("answer", MX, "dot")}
        assert counted.connections == 3


async def test_connections_in_all_are_bounded(cipher: Cipher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "LINKS", 2)
    async with streams(cipher, dot_server(mx_of), 853) as (_, exchange):
        names = [Via("dot", name=NAME, url=str(n)) for n in range(5)]  # five ends as far as the pool knows
        for via in names:
            assert await answered(exchange, via, 3) == {("answer", MX, "dot")}
            assert len(exchange._encrypted._links._all()) <= 2
        replies = await asyncio.gather(*(answered(exchange, via, 3) for via in names))
        assert replies == [{("answer", MX, "dot")}] * 5 and len(exchange._encrypted._links._all()) <= 2


async def test_a_server_that_fails_is_not_tried_again_at_once(cipher: Cipher) -> None:
    async with streams(cipher, dot_server(mx_of), 853) as (_, exchange):
        tried = list[End]()
        opening = exchange._encrypted._links._open

        async def counting(end: End) -> links.Link:
            tried.append(end)
            return await opening(end)

        exchange._encrypted._links._open = counting
        replies = await asyncio.gather(*(ask(exchange, dot("other.test")) for _ in range(30)))
        assert {r.outcome for r in replies} == {"unreachable"} and len(tried) == 1
        assert all(r.detail.startswith("certificate:") for r in replies)


async def test_closing_ends_what_is_under_way(cipher: Cipher) -> None:
    asked = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await tcp_query(reader)
        asked.set()
        await reader.read()

    async with streams(cipher, silent, 853) as (_, exchange):
        waiting = asyncio.ensure_future(ask(exchange, dot(NAME), 60))
        await asked.wait()
        await exchange.close()
        assert (await waiting).outcome == "unreachable"
        assert (await ask(exchange, dot(NAME), 60)).outcome == "unreachable"


# DoT, badly spoken


def talking(say: Callable[[bytes], bytes], stay: bool = False) -> OnTcp:
    """What it says to a first query, and then it closes; or stays, and says nothing."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(say(await tcp_query(reader)))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        if stay:
            await reader.read()

    return talk


def _other_question(query: bytes) -> bytes:
    return framed(mx_of(query).replace(b"\7example", b"\7exbmple"))


BAD_DOT = [
    (talking(lambda q: b""), "unreachable"), (talking(lambda q: b"\0"), "malformed"),
    (talking(lambda q: framed(mx_of(q))[:-5]), "malformed"), (talking(lambda q: framed(b"")), "malformed"),
    (talking(lambda q: framed(b"\xff" * 11), True), "malformed"),
    (talking(_other_question, True), "malformed"),
    (talking(lambda q: framed(response(q, tc=True)), True), "malformed"),
    (talking(framed, True), "malformed"), (talking(lambda q: b"", True), "timeout"),
    (talking(lambda q: framed(b"\0\0" + mx_of(q)[2:]), True), "timeout"),
    (talking(lambda q: framed(bytes(60000)) * 20, True), "malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("on_stream", "outcome"), BAD_DOT)
async def test_what_dot_may_say_instead(cipher: Cipher, on_stream: OnTcp, outcome: str) -> None:
    async with streams(cipher, on_stream, 853) as (_, exchange):
        reply = await ask(exchange, dot(NAME), 0.5 if outcome == "timeout" else 20)
    assert (reply.outcome, reply.transport, reply.rrset) == (outcome, "dot", ())


@pytest.mark.parametrize("via", [dot(NAME), doh(URL)])
async def test_what_is_no_tls_or_nobody_is_unreachable(cipher: Cipher, via: Via) -> None:
    async def greets(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.jp ESMTP\r\n")
        await writer.drain()

    async with streams(None, greets, PORT[via.transport]) as (_, exchange):
        reply = await ask(exchange, via)
        assert reply.outcome == "unreachable" and reply.detail
    async with asking(PORT[via.transport], 9, cipher) as exchange:
        assert (await ask(exchange, via)).outcome == "unreachable"


async def test_a_ca_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    exchange = Exchange(ca_file=tmp_path / "none.pem")
    reply = await exchange.ask("127.0.0.1", QUESTION, rd=True, via=dot(NAME))
    assert reply.outcome == "unreachable" and "none.pem" not in reply.rrset and reply.detail
    await exchange.close()


# DoH


def replying(
    body: Callable[[bytes], bytes] = mx_of, status: str = "200", kind: str = MESSAGE, end: bool = True
) -> Callable[..., object]:
    """A whole reply by HTTP; ``end``: it comes to its end."""

    async def respond(
        http: h2.connection.H2Connection, stream: int, headers: dict[bytes, bytes], query: bytes
    ) -> None:
        http.send_headers(stream, [(":status", status), ("content-type", kind)])
        said = body(query)
        for at in range(0, max(1, len(said)), 16000):
            if http.local_flow_control_window(stream) < 16000:
                return
            http.send_data(stream, said[at : at + 16000])
        if end:
            http.end_stream(stream)

    return respond


async def test_requests_are_as_the_rfc_wants_them(cipher: Cipher) -> None:
    seen: list[tuple[str, str, bytes]] = []

    async def respond(
        http: h2.connection.H2Connection, stream: int, headers: dict[bytes, bytes], body: bytes
    ) -> None:
        method, path = headers[b":method"].decode(), headers[b":path"].decode()
        assert headers[b"accept"] == MESSAGE.encode() and headers[b":authority"] == NAME.encode()
        if method == "GET":
            coded = parse_qs(urlsplit(path).query)["dns"][0]
            body = base64.urlsafe_b64decode(coded + "=" * (-len(coded) % 4))
            assert "=" not in coded and b"content-type" not in headers
        else:
            assert headers[b"content-type"] == MESSAGE.encode()
        seen.append((method, path.partition("dns=")[0], body))
        await replying()(http, stream, headers, body)  # type: ignore[misc]

    ways = [doh(URL), doh(URL, "GET"), doh(URL + "?a=b{&dns}", "GET"), doh(URL + "{?dns}")]
    async with streams(cipher, doh_server(respond), 443, "h2") as (counted, exchange):
        for via in ways:
            assert await answered(exchange, via) == {("answer", MX, "doh")}
    assert [(method, path) for method, path, _ in seen] == [
        ("POST", "/dns-query"), ("GET", "/dns-query?"), ("GET", "/dns-query?a=b&"), ("POST", "/dns-query"),
    ]  # fmt: skip
    assert {body for _, _, body in seen} == {seen[0][2]} and seen[0][2][:2] == b"\0\0"
    assert len(seen[0][2]) % 128 == 0 and counted.connections == 4


async def test_a_server_that_takes_few_streams_is_asked_no_more_at_a_time(cipher: Cipher) -> None:
    async with streams(cipher, doh_server(replying(), most=2), 443, "h2") as (counted, exchange):  # type: ignore[arg-type]
        assert await answered(exchange, doh(URL), 40) == {("answer", MX, "doh")}
        assert counted.connections <= 2


def _id(query: bytes) -> bytes:
    return b"\0\1" + mx_of(query)[2:]


BAD_DOH = [
    (replying(status="404"), "refused"), (replying(status="429"), "refused"),
    (replying(status="503"), "unreachable"), (replying(status="301"), "unreachable"),
    (replying(kind="text/html"), "malformed"), (replying(lambda q: b""), "malformed"),
    (replying(lambda q: b"x" * 11), "malformed"), (replying(_id), "malformed"),
    (replying(lambda q: mx_of(q).replace(b"\7example", b"\7exbmple")), "malformed"),
    (replying(end=False), "timeout"), (replying(lambda q: bytes(65000), end=False), "timeout"),
]  # fmt: skip


@pytest.mark.parametrize(("respond", "outcome"), BAD_DOH)
async def test_what_doh_may_say_instead(cipher: Cipher, respond: Callable[..., object], outcome: str) -> None:
    async with streams(cipher, doh_server(respond), 443, "h2") as (_, exchange):  # type: ignore[arg-type]
        reply = await ask(exchange, doh(URL), 0.5 if outcome == "timeout" else 20)
        assert (reply.outcome, reply.transport, reply.rrset) == (outcome, "doh", ())
        assert outcome == "timeout" or reply.detail


async def test_a_stream_that_is_reset_and_a_server_that_goes_away(cipher: Cipher) -> None:
    turns = iter(("reset", "go", "answer"))

    async def respond(
        http: h2.connection.H2Connection, stream: int, headers: dict[bytes, bytes], body: bytes
    ) -> None:
        turn = next(turns)
        if turn == "reset":
            http.reset_stream(stream)
        elif turn == "go":
            http.close_connection(last_stream_id=stream - 2)
        else:
            await replying()(http, stream, headers, body)  # type: ignore[misc]

    async with streams(cipher, doh_server(respond), 443, "h2") as (counted, exchange):
        assert (await ask(exchange, doh(URL))).outcome == "unreachable"
        assert await answered(exchange, doh(URL)) == {("answer", MX, "doh")}, "asked again elsewhere"
        assert counted.connections == 2


@pytest.mark.parametrize("alpn", ["", "http/1.1"])
async def test_one_without_http_2_is_unreachable(cipher: Cipher, alpn: str) -> None:
    async with streams(cipher, dot_server(mx_of), 443, alpn) as (_, exchange):
        reply = await ask(exchange, doh(URL))
    assert reply.outcome == "unreachable" and "HTTP/2" in reply.detail


# DoQ


async def test_doq_carries_many_questions_on_one_connection(cipher: Cipher) -> None:
    queries: list[bytes] = []

    def answer(query: bytes) -> bytes:
        queries.append(query)
        return framed(mx_of(query))

    async with quic(cipher, answer) as exchange:
        assert await answered(exchange, doq(NAME), 30) == {("answer", MX, "doq")}
        assert (await ask(exchange, doq("other.test"))).detail.startswith("certificate:")
    assert {query[:2] for query in queries} == {b"\0\0"} and {len(query) % 128 for query in queries} == {0}


BAD_DOQ: list[tuple[Callable[[bytes], bytes | None], str]] = [
    (lambda q: None, "timeout"), (lambda q: b"", "malformed"), (lambda q: b"x", "malformed"),
    (lambda q: framed(mx_of(q))[:-1], "malformed"), (lambda q: framed(_id(q)), "malformed"),
    (lambda q: framed(mx_of(q)) * 2, "malformed"), (lambda q: b"\xff" * 70000, "malformed"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "outcome"), BAD_DOQ)
async def test_what_doq_may_say_instead(
    cipher: Cipher, answer: Callable[[bytes], bytes | None], outcome: str
) -> None:
    async with quic(cipher, answer) as exchange:
        reply = await ask(exchange, doq(NAME), 0.5 if outcome == "timeout" else 20)
    assert (reply.outcome, reply.transport, reply.rrset) == (outcome, "doq", ())


async def test_without_doq_or_its_library_it_is_unreachable(
    cipher: Cipher, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with quic(cipher, lambda q: None, "h3") as exchange:
        assert (await ask(exchange, doq(NAME))).outcome == "unreachable"
    async with asking(853, 9, cipher) as exchange:
        assert (await ask(exchange, doq(NAME))).outcome == "unreachable"
    monkeypatch.delitem(sys.modules, "probes.dns.quic")
    monkeypatch.setitem(sys.modules, "aioquic", None)
    monkeypatch.setitem(sys.modules, "aioquic.asyncio.protocol", None)
    async with asking(853, 9, cipher) as exchange:
        reply = await ask(exchange, doq(NAME))
    assert reply.outcome == "unreachable" and "mxcutover[doq]" in reply.detail


# Any octets


class _Wire(asyncio.Transport):
    """A transport that takes everything."""

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        pass


def _frames(source: random.Random) -> bytes:
    """What an HTTP/2 server might say, a little wrong."""
    http = h2.connection.H2Connection()
    server = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    http.initiate_connection()
    http.send_headers(
        1, [(":method", "POST"), (":path", "/"), (":scheme", "https"), (":authority", "x")], True
    )
    server.initiate_connection()
    server.receive_data(http.data_to_send())
    server.send_headers(1, [(":status", "200"), ("content-type", MESSAGE)])
    server.send_data(1, source.randbytes(source.randrange(200)), end_stream=True)
    server.ping(b"12345678")
    octets = bytearray(server.data_to_send())
    for _ in range(source.randrange(6)):
        octets[source.randrange(len(octets))] = source.getrandbits(8)
    return bytes(octets[: source.randrange(1, len(octets) + 1)])


async def test_no_octets_make_a_connection_raise() -> None:
    source = random.Random(8484)
    query = Exchange().query(QUESTION, How(rd=True), True)
    assert query is not None
    for n in range(1500):
        end = End(("127.0.0.1", 443), VIA["doh"], NAME)
        link: DohLink | DotLink = DohLink(end) if n % 2 else DotLink()
        link.connection_made(_Wire())
        if isinstance(link, DohLink):
            link.start()
        task = asyncio.ensure_future(link.ask(query))
        await asyncio.sleep(0)
        said = _frames(source) if n % 2 else source.randbytes(source.randrange(1, 300))
        at = source.randrange(len(said))
        link.data_received(said[:at])
        link.data_received(said[at:])
        link.connection_lost(None)
        event = await task
        assert not hasattr(event, "wire"), "nothing of it was an answer"
