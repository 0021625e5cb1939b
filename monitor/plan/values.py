"""Single values as people write them, to the one form that the program uses. Each raises :class:`Wrong`."""

from __future__ import annotations

import ipaddress
import math
import re

import idna

from monitor.plan.mistakes import Wrong
from probes.endpoints import split

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?:in)?)?(?:(\d+(?:\.\d+)?)s)?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_SCHEMES = ("file", "command", "credential", "keyring")
_OAUTH = ("google", "microsoft", "refresh", "command")
SECRET_FORMS = (
    "file:PATH, command:PROGRAM ARGUMENTS, credential:NAME, keyring:SERVICE/USER, prompt, "
    "oauth:google:FILE, oauth:microsoft:FILE, oauth:refresh:FILE or oauth:command:PROGRAM ARGUMENTS"
)


def name(text: str) -> str:
    """A host or domain name in either form: absolute, lower case, A-labels (``xn--…``; RFC 5891)."""
    plain = text.strip().removesuffix(".").removesuffix("。")
    try:
        ascii_ = plain.lower() if plain.isascii() else idna.encode(plain, uts46=True).decode()
    except (idna.IDNAError, UnicodeError) as error:
        raise Wrong(f"{text!r} is not a domain name ({error})", "write it as example.jp") from None
    if len(ascii_) > 253 or not all(map(_LABEL.fullmatch, ascii_.split("."))):
        raise Wrong(f"{text!r} is not a domain name", "write letters, digits and hyphens, as in example.jp")
    _decodable(text, ascii_)
    return ascii_ + "."


def _decodable(text: str, ascii_: str) -> None:
    for label in ascii_.split("."):
        if label.startswith("xn--"):
            try:
                idna.ulabel(label)
            except (idna.IDNAError, UnicodeError):
                raise Wrong(f"{text!r} holds {label}, no valid A-label", "write the name itself") from None


def domain(text: str) -> str:
    """A mail domain: a name of two labels at least, and no address."""
    if "@" in text:
        raise Wrong(f"{text!r} is a mail address", f'write the part after the @: "{text.partition("@")[2]}"')
    found = name(text)
    if found.count(".") < 2 or _is_address(found[:-1]):
        raise Wrong(f"{text!r} is not a mail domain", 'write it as "example.jp"')
    return found


def pattern(text: str) -> str:
    """An exchange's name, or ``*.`` and what its names end in."""
    if text.startswith("*."):
        return "*." + name(text[2:])
    if _is_address(text):
        raise Wrong(f"{text} is an address, not a name", "write it under addresses")
    return name(text)


def host(text: str) -> str:
    """A server's name (absolute) or its address."""
    return str(ipaddress.ip_address(text)) if _is_address(text) else name(text)


def address(text: str) -> str:
    """An IPv4 or IPv6 address in its canonical form (RFC 5952)."""
    try:
        return str(ipaddress.ip_address(text.strip().strip("[]")))
    except ValueError:
        raise Wrong(f"{text!r} is not an IP address", 'write it as "192.0.2.10" or "2001:db8::10"') from None


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def mx(text: str) -> str:
    """MX rdata, "preference exchange" (RFC 1035 section 3.3.9); "0 ." is the null MX (RFC 7505)."""
    preference, _, exchange = text.strip().partition(" ")
    if not (preference.isascii() and preference.isdigit() and int(preference) < 65536 and exchange.strip()):
        raise Wrong(f"{text!r} is not a preference and a name", 'write it as "10 mx1.new.example"')
    if exchange.strip() == ".":
        raise Wrong("a null MX means that the domain takes no mail", "write the new hosts' names")
    return f"{int(preference)} {pattern(exchange.strip())}"


def mailbox(text: str) -> str:
    """A mail address, its domain as A-labels, lower case; the local part as it stands (RFC 5321 2.4)."""
    local, at, domain_ = text.strip().rpartition("@")
    if not (local and at) or any(c.isspace() or not c.isprintable() for c in local):
        raise Wrong(f"{text!r} is not a mail address", 'write it as "suga@example.jp"')
    return f"{local}@{name(domain_)[:-1]}"


def duration(value: float | str) -> float:
    """Seconds: a number, or a string such as ``24h``, ``15m``, ``1d12h``, ``90s``."""
    if isinstance(value, (int, float)):
        return float(value) if abs(value) < 1e12 else math.inf
    if not value or (found := _DURATION.fullmatch(value.replace(" ", ""))) is None:
        raise Wrong(f"{value!r} is not a duration", 'write seconds as a number, or "24h", "15m", "90s"')
    d, h, m, s = (float(part or 0) for part in found.groups())
    return d * 86400 + h * 3600 + m * 60 + s


def endpoint(text: str) -> str:
    """``ADDRESS`` or ``ADDRESS:PORT`` (``[ADDRESS]:PORT`` for IPv6)."""
    try:
        found, port = split(text)
    except ValueError:
        raise Wrong(f"{text!r} has no port from 1 to 65535", 'write it as "127.0.0.1:2525"') from None
    plain = address(found)
    if port is None:
        return plain
    return f"[{plain}]:{port}" if ":" in plain else f"{plain}:{port}"


def secret(text: str) -> str:
    """A reference to a secret. What is not one may be a password: it is never repeated."""
    scheme, _, rest = text.strip().partition(":")
    if text.strip() == "prompt" or (scheme in _SCHEMES and rest.strip()):
        return text.strip()
    kind, _, named = rest.partition(":")
    if scheme == "oauth" and kind in _OAUTH and named.strip():
        return text.strip()
    raise Wrong("is not a reference to a secret (it is not repeated here)", f"write {SECRET_FORMS}")
