"""DNS over HTTPS (RFC 8484), POST and GET, over HTTP/2 as the h2 library speaks it."""

from __future__ import annotations

import contextlib
import ssl

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from probes.dns.links import Asked, End, Failure, Link, shown
from probes.dns.tcp import fits
from probes.dns.tls import StreamLink, Trust, connected

MESSAGE = "application/dns-message"
ALPN = "h2"  # RFC 7540 section 3.1; RFC 8484 section 5.2 wants HTTP/2 at least
LARGEST = 65535  # octets of a DNS message (RFC 8484 section 6)


class DohLink(StreamLink):
    """One HTTP/2 connection; each question is a stream."""

    def __init__(self, end: End) -> None:
        super().__init__()
        self._via, self._place = end.via, end.via.place
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._http = h2.connection.H2Connection(config)

    def start(self) -> None:
        self._http.local_settings[h2.settings.SettingCodes.ENABLE_PUSH] = 0
        self._http.initiate_connection()
        self._flush()

    @property
    def room(self) -> bool:
        """RFC 9113 section 5.1.2: the server says how many streams it takes at a time."""
        most = self._http.remote_settings.max_concurrent_streams
        return self.over is None and self._http.open_outbound_streams < most

    def send(self, asked: Asked) -> int:
        # RFC 8484 section 4.1: an id of 0, so that HTTP's caches know the same question again
        wire, _ = asked.query.patched(b"\0\0", b"")
        stream = self._http.get_next_available_stream_id()
        body = wire if self._via.method == "POST" else b""
        self._http.send_headers(stream, self._request(wire), end_stream=not body)
        if body:
            self._http.send_data(stream, body, end_stream=True)
        self.waiting[stream] = asked
        self._flush()
        return stream

    def _request(self, wire: bytes) -> list[tuple[str, str]]:
        post = self._via.method == "POST"
        headers = [
            (":method", self._via.method),
            (":scheme", "https"),
            (":authority", self._place.authority),
            (":path", self._place.path if post else self._place.asking(wire)),
            ("accept", MESSAGE),
        ]
        return [*headers, ("content-type", MESSAGE), ("content-length", str(len(wire)))] if post else headers

    def drop(self, number: int) -> None:
        self._reset(number)
        self._flush()

    def _reset(self, stream: int) -> None:
        with contextlib.suppress(h2.exceptions.ProtocolError):  # it has ended by itself
            self._http.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)

    def received(self, data: bytes) -> None:
        try:
            for event in self._http.receive_data(data):
                self._happened(event)
        except Exception as error:  # hostile octets: h2 raises its own, hpack and hyperframe theirs
            self.end(Failure("malformed", f"HTTP/2: {shown(error)}"))
            return
        self._flush()

    def _flush(self) -> None:
        octets = self._http.data_to_send()
        if octets:
            self.transport.write(octets)

    def _happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            self._leaving(event.last_stream_id or 0)
            return
        stream = getattr(event, "stream_id", None) or 0
        if isinstance(event, h2.events.DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length or 0, stream)
        asked = self.waiting.get(stream)
        if asked is None:
            return
        said = _said(event, asked)
        if isinstance(said, Failure):
            asked.resolve(said)
            self._reset(stream)
        elif said is not None:
            self.answered(asked, said)

    def _leaving(self, last: int) -> None:
        """RFC 9113 section 6.8: the server takes no more; what it has taken so far may still be answered."""
        self.over = self.over or Failure("unreachable", "the server closes the connection", lost=True)
        for stream, asked in self.waiting.items():
            if stream > last:
                asked.resolve(self.over)
        if not self.waiting:
            self.close()


def _said(event: h2.events.Event, asked: Asked) -> bytes | Failure | None:
    """The answer if this event ends it, why there is none, or nothing yet."""
    if isinstance(event, h2.events.ResponseReceived):
        return _refused(dict(event.headers))
    if isinstance(event, h2.events.StreamReset):
        return Failure("unreachable", f"HTTP/2 reset, code {event.error_code}")
    if isinstance(event, h2.events.DataReceived):
        asked.body += event.data or b""
        return Failure("malformed", "a body larger than a message") if len(asked.body) > LARGEST else None
    if isinstance(event, h2.events.StreamEnded):
        wire = bytes(asked.body)
        fine = fits(wire, asked.query) and wire[:2] == b"\0\0"
        return wire if fine else Failure("malformed", "an answer to something else")
    return None


def _refused(headers: dict[bytes, bytes]) -> Failure | None:
    """RFC 8484 section 4.2.1: only a 2xx carries an answer, whatever its RCODE. A redirect is none."""
    status = headers.get(b":status", b"").decode("ascii", "replace")[:3]
    if status != "200":
        # RFC 9110 section 15.5: the server will not serve this client; all else says nothing of the question
        return Failure("refused" if status.startswith("4") else "unreachable", f"HTTP {status}")
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return None if kind == MESSAGE.encode() else Failure("malformed", f"HTTP content of type {shown(kind)}")


async def open_doh(end: End, trust: Trust) -> Link:
    link = await connected(lambda: DohLink(end), end, trust.context(ALPN))
    tls: ssl.SSLObject | None = link.transport.get_extra_info("ssl_object")
    if tls is None or tls.selected_alpn_protocol() != ALPN:
        link.close()
        raise OSError("the server does not speak HTTP/2")
    link.start()
    return link
