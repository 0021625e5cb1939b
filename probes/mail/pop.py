"""One blocking POP3 session (RFC 1939) that only reads: UIDL and TOP n 0, never RETR, never DELE.

For a worker thread. Every method raises :class:`Gone` where the session is of no more use, within its
deadline, and :class:`NoLogin` where the server turned the login down. Reads are bounded in bytes and time.
"""

from __future__ import annotations

import base64
import contextlib
import re
import socket
import ssl
import time
from collections.abc import Iterator, Sequence

from probes.mail.imap import Gone, NoLogin, Refused
from probes.mail.imapwire import patience
from probes.mail.sasl import Mechanism, choose, private
from probes.secret import Secret, Token
from probes.service import Service, tls_context

MOST_LINE = 64 * 1024
MOST_ANSWER = 5 * 1024 * 1024
MOST_HEADER = 64 * 1024
MOST_MESSAGES = 100_000
BATCH = 50
MOST_DELAY = 3600.0

# RFC 2449 section 8.1, RFC 3206: not now, and nothing is wrong with the password.
_NOT_NOW = re.compile(
    r"\[(?:IN-USE|LOGIN-DELAY|SYS/TEMP|SYS/PERM)\]"
    r"|(?:maildrop|mailbox) (?:is )?(?:already )?(?:locked|in use)"
    r"|unable to (?:get |acquire )?lock|too many|try again later|temporar",
    re.IGNORECASE,
)


class Pop:
    """From a connected socket to the end. ``round_trip``: seconds for a command and its whole answer.

    ``delay``: seconds that the server wants between two logins (RFC 2449 section 6.5), 0 where it says
    nothing; known after ``open``.
    """

    def __init__(self, sock: socket.socket, service: Service, round_trip: float) -> None:
        self._sock = sock
        self._service = service
        self._round_trip = round_trip
        self._closed = False
        self._unread = bytearray()
        self._taken = 0
        self._until = 0.0
        self._can: dict[str, str] = {}
        self._most_line, self._most_answer = MOST_LINE, MOST_ANSWER
        self.delay = 0.0

    # -- beginning and end ----------------------------------------------------------------------------

    def open(self, login: str, secret: Secret) -> None:
        """TLS by the meant name, then the login."""
        with ending():
            self._begin()
            context = tls_context(self._service.ca_file, self._service.verify)
            if self._service.tls == "implicit":
                self._wrap(context)
            self._ok("the server's greeting", self._line())
            self._can = self._capabilities()
            if self._service.tls == "starttls":
                self._secure(context)
            self._log_in(login, secret)
            # More may be told after the login (RFC 2449 section 5).
            self._can = self._capabilities() or self._can
            with contextlib.suppress(ValueError, IndexError):
                self.delay = min(MOST_DELAY, max(0.0, float(self._can.get("LOGIN-DELAY", "").split()[0])))

    def _secure(self, context: ssl.SSLContext) -> None:
        """STLS (RFC 2595 section 4)."""
        said = self._ask("STLS")
        if not said.startswith("+OK"):
            raise Gone(f"the server offers no STLS: {said[4:].strip()}")
        self._unread.clear()  # what came in clear text after the answer is nobody's word
        self._wrap(context)
        self._can = self._capabilities()

    def _log_in(self, login: str, secret: Secret) -> None:
        offered = self._can.get("SASL", "").split()
        word = secret.reveal()
        simple = all(" " <= c <= "~" for c in login + word) and " " not in login
        with_user = simple and not isinstance(secret, Token) and (private(self._service) or not offered)
        if with_user and ("USER" in self._can or not offered):
            said = self._ask(f"USER {login}")
            said = self._ask(f"PASS {word}") if said.startswith("+OK") else said
        else:
            mechanism = choose(offered, login, secret, self._service)
            if mechanism is None:
                raise Gone(f"the server offers no login of this kind (it has: {' '.join(offered) or 'USER'})")
            said = self._exchange(mechanism)
        if said.startswith("+OK"):
            return
        if _NOT_NOW.search(said):
            raise Gone(said)
        raise NoLogin(said)

    def _exchange(self, mechanism: Mechanism) -> str:
        """RFC 5034 section 4. The initial response goes by itself: it may be longer than a command line."""
        said = self._ask(f"AUTH {mechanism.name}")
        initial = mechanism.initial
        for _ in range(5):
            if not said.startswith("+") or said.startswith("+OK"):
                return said
            challenge = base64.b64decode(said[1:].strip().encode())
            reply = initial if initial is not None else mechanism.answer(challenge)
            initial = None
            said = self._ask(base64.b64encode(reply).decode())
        raise Gone("the login goes on and on")

    def _capabilities(self) -> dict[str, str]:
        """CAPA (RFC 2449 section 5); empty where the server does not know it."""
        if not self._ask("CAPA").startswith("+OK"):
            return {}
        words = (line.decode("latin-1").partition(" ") for line in self._lines(MOST_LINE))
        return {name.upper(): rest.strip() for name, _, rest in words}

    def quit(self) -> None:
        """Let the maildrop go (RFC 1939 section 6). A server that deletes what was read (EXPIRE 0, RFC 2449
        section 6.7) does so after QUIT only: there the connection is dropped without it."""
        with ending():
            self._begin()
            if self._can.get("EXPIRE", "").split()[:1] != ["0"]:
                self._ask("QUIT")

    def close(self) -> None:
        """At once, without a word. A worker that waits on this connection ends with :class:`Gone`."""
        self._closed = True
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self._sock, socket.SHUT_RDWR)

    def free(self) -> None:
        """Give the descriptor back; when no worker uses the session."""
        self._sock.close()

    # -- the maildrop ---------------------------------------------------------------------------------

    def listing(self) -> list[tuple[int, str]]:
        """Each message's number and unique-id, in the order of the maildrop, the snapshot of this login."""
        with ending():
            self._begin(2)
            said = self._ask("UIDL")
            if not said.startswith("+OK"):
                why = "the server has no UIDL (RFC 1939 section 7), so new mail cannot be told from old"
                raise Gone(f"{why}: {said[4:].strip()}")
            pairs = (line.decode("latin-1").split(None, 1) for line in self._lines(MOST_ANSWER))
            return [(int(p[0]), p[1].strip()) for p in pairs if len(p) == 2][:MOST_MESSAGES]

    def headers(self, numbers: Sequence[int]) -> list[tuple[int, bytes | None]]:
        """At most ``BATCH`` header blocks; None where the server does not give one."""
        with ending():
            self._begin(2)
            wanted = list(numbers[:BATCH])
            at_once = "PIPELINING" in self._can  # RFC 2449 section 6.6
            if at_once:
                self._send("".join(f"TOP {number} 0\r\n" for number in wanted))
            found = [(number, self._top(number, not at_once)) for number in wanted]
            if wanted and "TOP" not in self._can and all(header is None for _, header in found):
                raise Gone("the server has no TOP (RFC 1939 section 7): no header can be read without RETR")
            return found

    def _top(self, number: int, ask: bool) -> bytes | None:
        self._taken = 0
        said = self._ask(f"TOP {number} 0") if ask else self._text(self._line())
        if not said.startswith("+OK"):
            return None
        header, left = bytearray(), MOST_HEADER
        for line in self._lines(MOST_ANSWER):
            if left > 0:
                header += line[:left] + b"\r\n"
                left -= len(line) + 2
        return bytes(header)

    # -- the wire -------------------------------------------------------------------------------------

    def _begin(self, times: float = 1) -> None:
        self._until = time.monotonic() + times * self._round_trip
        self._taken = 0

    def _left(self) -> float:
        left = self._until - time.monotonic()
        if left <= 0 or self._closed:
            raise Gone("closed" if self._closed else "timed out")
        return left

    def _wrap(self, context: ssl.SSLContext) -> None:
        name = self._service.shown_name
        self._sock = sock = context.wrap_socket(
            self._sock, server_hostname=name, do_handshake_on_connect=False
        )
        sock.settimeout(self._left())
        sock.do_handshake()

    def _ask(self, command: str) -> str:
        self._send(f"{command}\r\n")
        return self._text(self._line())

    def _send(self, text: str) -> None:
        patience(self._sock, self._left())
        self._sock.sendall(text.encode())

    def _ok(self, what: str, line: bytes) -> None:
        if not line.startswith(b"+OK"):
            raise Gone(self._text(line) or f"{what} is empty")

    @staticmethod
    def _text(line: bytes) -> str:
        return line[:2000].decode("utf-8", "replace")

    def _lines(self, most: int) -> Iterator[bytes]:
        """A multi-line answer (RFC 1939 section 3), unstuffed, up to its dot."""
        taken = 0
        while (line := self._line()) != b".":
            taken += len(line)
            if taken > most:
                raise Gone(f"the server sent more than {most} bytes in one answer")
            yield line[1:] if line.startswith(b".") else line

    def _line(self) -> bytes:
        searched = 0
        while (end := self._unread.find(b"\n", searched)) < 0:
            searched = len(self._unread)
            if searched > self._most_line:
                raise Gone(f"the server sent a line of more than {self._most_line} bytes")
            self._more()
        line = bytes(self._unread[:end]).removesuffix(b"\r")
        del self._unread[: end + 1]
        return line

    def _more(self) -> None:
        patience(self._sock, self._left())
        data = self._sock.recv(65536)
        if not data:
            raise Gone("the server closed the connection")
        self._taken += len(data)
        if self._taken > self._most_answer:
            raise Gone(f"the server sent more than {self._most_answer} bytes in one answer")
        self._unread += data


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Whatever goes wrong inside ends the session."""
    try:
        yield
    except (Gone, NoLogin, Refused):
        raise
    except ssl.SSLCertVerificationError as error:
        raise Gone(f"the certificate does not verify: {error.verify_message}") from None
    except TimeoutError:
        raise Gone("timed out") from None
    except (OSError, ValueError) as error:
        raise Gone(str(error) or type(error).__name__) from None
