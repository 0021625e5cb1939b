"""imaplib and IMAPClient over a socket that is connected already, bounded in bytes and time."""

from __future__ import annotations

import contextlib
import imaplib
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

import imapclient

MOST_LINE = 1_000_000  # a SEARCH of a large mailbox answers in one line
MOST_LITERAL = 128 * 1024
MOST_ANSWER = 5 * 1024 * 1024  # bytes of one command's whole answer: a batch of the longest headers fits

# imaplib sends only what it knows; RFC 5465 is younger.
imaplib.Commands.setdefault("NOTIFY", ("AUTH", "SELECTED"))


def patience(sock: socket.socket, seconds: float) -> None:
    """Let a call take so long, or up to a quarter longer: each change costs two system calls."""
    held = sock.gettimeout()
    if held is None or not 0.75 * seconds <= held <= 1.25 * seconds:
        sock.settimeout(seconds)


class Wire(imaplib.IMAP4):
    """imaplib over a connected socket, with its own bounded buffer: what is unread can be known."""

    def __init__(
        self, sock: socket.socket, name: str, tls: ssl.SSLContext | None,
        hold: Callable[[socket.socket], None], seconds: float,
    ) -> None:  # fmt: skip
        self._given, self._tls, self._hold = sock, tls, hold
        self._unread = bytearray()
        self._taken = 0
        self._cork: bytearray | None = None
        self._until = time.monotonic() + seconds
        self.most_literal, self.most_answer = MOST_LITERAL, MOST_ANSWER
        super().__init__(name)

    # Tags need be unique in one connection only (RFC 3501 section 2.2.1); imaplib compiles a pattern for each
    # that it draws.
    tagpre = property(lambda _: b"MX", lambda _, __: None)

    # imaplib calls these four for all input and output.

    def open(self, host: str = "", port: int = 143, timeout: float | None = None) -> None:
        self.host, self.port = host, port
        self.sock = self._given
        self.sock.settimeout(self._left())
        if self._tls is not None:
            self._wrap(self._tls)

    def read(self, size: int) -> bytes:
        if size > self.most_literal:
            raise self.abort(f"the server sent a literal of {size} bytes")
        while len(self._unread) < size:
            self._more()
        return self._cut(size)

    def readline(self) -> bytes:
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > MOST_LINE:
                raise self.abort(f"the server sent a line of more than {MOST_LINE} bytes")
            self._more()
        return self._cut(end + 1)

    def send(self, data: Any) -> None:
        if self._cork is not None:
            self._cork += data
            return
        patience(self.sock, self._left())
        self.sock.sendall(data)

    @contextlib.contextmanager
    def corked(self) -> Iterator[None]:
        """What is sent within goes out as one."""
        self._cork = held = bytearray()
        try:
            yield
        finally:
            self._cork = None
        self.send(held)

    def shutdown(self) -> None:
        self.sock.close()

    def _mesg(self, *args: Any) -> None:
        """Nothing of a session is logged: a password passes through it."""

    _log = _mesg

    def begin(self, seconds: float) -> None:
        """The next command may take so long, and so much."""
        self._until = time.monotonic() + seconds
        self._taken = 0

    @property
    def waiting(self) -> bool:
        """Whether something has come that was not read: the socket itself would not show it."""
        pending = self.sock.pending() if isinstance(self.sock, ssl.SSLSocket) else 0
        return bool(self._unread) or pending > 0

    def secure(self, context: ssl.SSLContext) -> None:
        """STARTTLS (RFC 3501 section 6.2.1)."""
        if "STARTTLS" not in self.capabilities:
            raise self.abort("the server offers no STARTTLS")
        kind, data = self._simple_command("STARTTLS")
        if kind != "OK":
            raise self.abort(f"STARTTLS was refused: {data!r}")
        self._unread.clear()  # what came in clear text after the answer is nobody's word
        self.untagged_responses.clear()
        self._wrap(context)
        self._get_capabilities()

    def _get_capabilities(self) -> None:
        """The greeting may have told them (RFC 3501 section 7.1, CAPABILITY); else they are asked for."""
        told = self.untagged_responses.pop("CAPABILITY", None)
        if told and isinstance(told[-1], bytes):
            self.capabilities = tuple(told[-1].decode("ascii", "replace").upper().split())
        else:
            super()._get_capabilities()  # type: ignore[misc]

    def _wrap(self, context: ssl.SSLContext) -> None:
        # Held before the handshake, so that it can be ended from outside at any time.
        wrapped = context.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = wrapped
        self._hold(wrapped)
        wrapped.settimeout(self._left())
        wrapped.do_handshake()

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def _more(self) -> None:
        patience(self.sock, self._left())
        data = self.sock.recv(65536)
        if not data:
            raise self.abort("the server closed the connection")
        self._taken += len(data)
        if self._taken > self.most_answer:
            raise self.abort(f"the server sent more than {self.most_answer} bytes in one answer")
        self._unread += data

    def _cut(self, size: int) -> bytes:
        data = bytes(self._unread[:size])
        del self._unread[:size]
        return data


class Client(imapclient.IMAPClient):  # type: ignore[misc]
    """IMAPClient over a socket that is connected already."""

    def __init__(
        self, sock: socket.socket, name: str, tls: ssl.SSLContext | None,
        hold: Callable[[socket.socket], None], seconds: float,
    ) -> None:  # fmt: skip
        self._given = (sock, name, tls, hold, seconds)
        super().__init__(name, port=0, ssl=False)
        self.normalise_times = False
        self.folder_encode = False  # one folder's odd name must not hide all others
        self._imap.debug = 0
        del self._imap._mesg  # IMAPClient's own logging

    def _create_IMAP4(self) -> Wire:
        return Wire(*self._given)

    def _set_read_timeout(self) -> None:
        """The wire has deadlines of its own."""
