"""DNS over HTTPS (RFC 8484), POST and GET, over HTTP/2 as the h2 library speaks it."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.settings

from probes.dns.links import Asked, End, Failure, Link
from probes.dns.tcp import fits
from probes.dns.tls import StreamLink, Trust, connected

MESSAGE = "application/dns-message"
ALPN = "h2"  # RFC 7540 section 3.1; RFC 8484 section 5.2 wants HTTP/2 at least
LARGEST = 65535  # octets of a DNS message (RFC 8484 section 6)
_OK = b"200"
_Headers = list[tuple[bytes, bytes]]


class DohLink(StreamLink):
    """One HTTP/2 connection; each question is a stream."""

    def __init__(self, end: End) -> None:
        super().__init__()
        self._via, self._place = end.via, end.via.place
        config = h2.config.H2Configuration(client_side=True, header_encoding=None)
        self._http = h2.connection.H2Connection(config)
        self._ended: set[int] = set()

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
        wire, _ = asked.query.patched(0, b"")
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
        if stream not in self._ended:
            self._http.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)

    def received(self, data: bytes) -> None:
        try:
            for event in self._http.receive_data(data):
                self._happened(event)
        except Exception as error:  # hostile octets: h2 raises its own, hpack and hyperframe theirs
            self.end(Failure("malformed", f"HTTP/2: {error or type(error).__name__}"[:200]))
            return
        self._flush()

    def _flush(self) -> None:
        if octets := self._http.data_to_send():
            self.transport.write(octets)

    def _happened(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ConnectionTerminated):
            return self._leaving(event.last_stream_id or 0)
        stream = getattr(event, "stream_id", None)
        asked = self.waiting.get(stream) if isinstance(stream, int) else None
        if isinstance(event, h2.events.DataReceived):
            self._http.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if asked is None:
            return None
        if isinstance(event, h2.events.ResponseReceived):
            asked.response = list(event.headers)
