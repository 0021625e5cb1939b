"""Access tokens (RFC 6749) for who takes no password: Google Workspace, Microsoft 365, others.

``oauth:google:FILE``    a service account's key with domain-wide delegation, or an authorised user's file
``oauth:microsoft:FILE`` JSON: tenant, client_id, and client_secret (an application) or refresh_token (a user)
``oauth:refresh:FILE``   JSON: token_uri, client_id, refresh_token, perhaps client_secret and scope
``oauth:command:LINE``   a program that prints a token
No value reaches an exception's text.
"""

from __future__ import annotations

import importlib
import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec import Struct

from monitor.exits import Exit, Failure
from probes.secret import Token

SECONDS = 20.0
LIMIT = 256 * 1024
DEFAULT_LIFE = 300.0  # of a token whose issuer does not say (RFC 6749 section 5.1)
GOOGLE_SCOPE = "https://mail.google.com/"
# The right of an application, and the rights that a user has lent to one.
MICROSOFT_APP = ("https://outlook.office365.com/.default",)
MICROSOFT_USER = tuple(
    f"https://outlook.office.com/{right}"
    for right in ("IMAP.AccessAsUser.All", "POP.AccessAsUser.All", "SMTP.Send")
)


def token(kind: str, raw: bytes, login: str) -> Token:
    """A new token for ``login`` by what the reference's file holds. Blocks, 20 s for a request. Raises
    :class:`Failure`: 78 where the file does not do, 69 where no token is given."""
    try:
        given = json.loads(raw)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Failure(f"oauth:{kind}: the file is not JSON", Exit.BAD_PLAN)
    ask: dict[str, Callable[[dict[str, Any], str], Token]] = {
        "google": _google, "microsoft": _microsoft, "refresh": _refreshed,
    }  # fmt: skip
    try:
        return ask[kind](given, login)
    except Failure:
        raise
    except KeyError as error:
        raise Failure(f"oauth:{kind}: the file has no {error.args[0]}", Exit.BAD_PLAN) from None
    except OSError as error:
        raise Failure(f"oauth:{kind}: {_why(error)}", Exit.UNAVAILABLE) from None
    except Exception as error:  # each library raises its own kinds
        raise Failure(f"oauth:{kind}: no token: {type(error).__name__}", Exit.UNAVAILABLE) from None


def _why(error: OSError) -> str:
    reason = getattr(error, "reason", None)
    return f"the token's server is not to be had: {reason or error.strerror or type(error).__name__}"


# -- Google ------------------------------------------------------------------------------------------


def _google(given: dict[str, Any], login: str) -> Token:
    """The domain's administrator grants the service account the scope of IMAP; it speaks for each user."""
    refused: type[Exception] = _package("google.auth.exceptions", "google").RefreshError
    if given.get("type") == "service_account":
        made = _package("google.oauth2.service_account", "google").Credentials
        credentials = made.from_service_account_info(given, scopes=[GOOGLE_SCOPE], subject=login)
    else:
        made = _package("google.oauth2.credentials", "google").Credentials
        credentials = made.from_authorized_user_info(given, scopes=[GOOGLE_SCOPE])
        if "token_uri" in given:
            credentials._token_uri = given["token_uri"]
    try:
        credentials.refresh(_for_google)
    except refused as error:
        raise Failure(f"oauth:google: no token: {str(error.args[0])[:200]}", Exit.UNAVAILABLE) from None
    until: datetime | None = credentials.expiry  # UTC, without a zone
    left = (until.replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds() if until else DEFAULT_LIFE
    return Token(str(credentials.token), left)


class _Answer(Struct, frozen=True):
    """An answer in the words of both libraries."""

    status: int
    headers: dict[str, str]
    data: bytes

    @property
    def status_code(self) -> int:
        return self.status

    @property
    def text(self) -> str:
        return self.data.decode("utf-8", "replace")

    def raise_for_status(self) -> None:
        if self.status >= 400:
            raise OSError(f"HTTP {self.status}")


def _for_google(
    url: str, method: str = "GET", body: bytes | None = None, headers: Mapping[str, str] | None = None,
    timeout: float | None = None, **_: Any,
) -> _Answer:  # fmt: skip
    """google.auth.transport.Request's signature."""
    return _http(url, method, body, headers or {})


# -- Microsoft ---------------------------------------------------------------------------------------


def _microsoft(given: dict[str, Any], login: str) -> Token:
    msal = _package("msal", "microsoft")
    authority = given.get("authority") or f"https://login.microsoftonline.com/{given['tenant']}"
    options: dict[str, Any] = {"authority": authority, "http_client": _ForMicrosoft()}
    if "authority" in given:  # a cloud of its own: its address is not looked up in the public one
        options["instance_discovery"] = False
    refresh = given.get("refresh_token")
    if refresh:
        app = msal.PublicClientApplication(given["client_id"], **options)
        answer = app.acquire_token_by_refresh_token(refresh, list(given.get("scopes", MICROSOFT_USER)))
    else:
        app = msal.ConfidentialClientApplication(
            given["client_id"], client_credential=given["client_secret"], **options
        )
        answer = app.acquire_token_for_client(list(given.get("scopes", MICROSOFT_APP)))
    return _granted("microsoft", answer)


class _ForMicrosoft:
    """What msal takes for its ``http_client``."""

    def get(
        self, url: str, params: Any = None, headers: Mapping[str, str] | None = None, **_: Any
    ) -> _Answer:
        query = f"?{urllib.parse.urlencode(params)}" if params else ""
        return _http(url + query, "GET", None, headers or {})

    def post(
        self, url: str, params: Any = None, data: Any = None, headers: Mapping[str, str] | None = None,
        **_: Any,
    ) -> _Answer:  # fmt: skip
        body = data if isinstance(data, bytes) else urllib.parse.urlencode(data or {}).encode()
        return _http(url, "POST", body, headers or {})

    def close(self) -> None:
        """Nothing is kept open."""


# -- whoever else ------------------------------------------------------------------------------------


def _refreshed(given: dict[str, Any], login: str) -> Token:
    """RFC 6749 section 6."""
    form = {"grant_type": "refresh_token", "refresh_token": given["refresh_token"],
            "client_id": given["client_id"]}  # fmt: skip
    form |= {key: given[key] for key in ("client_secret", "scope") if given.get(key)}
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    answer = _http(str(given["token_uri"]), "POST", urllib.parse.urlencode(form).encode(), headers)
    try:
        said = json.loads(answer.data)
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise Failure(f"oauth:refresh: HTTP {answer.status}, and no JSON", Exit.UNAVAILABLE)
    return _granted("refresh", said)


def _granted(kind: str, answer: Mapping[str, Any]) -> Token:
    """RFC 6749 sections 5.1 and 5.2."""
    value, life = answer.get("access_token"), answer.get("expires_in", DEFAULT_LIFE)
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
        code = str(answer.get("error", "its server gives none"))[:100]
        raise Failure(f"oauth:{kind}: no token: {code}", Exit.UNAVAILABLE)
    try:
        return Token(value, float(life))
    except (TypeError, ValueError):
        return Token(value, DEFAULT_LIFE)


def _package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        say = f"oauth:{extra}: the package is not installed; run: pip install 'mxcutover[{extra}]'"
        raise Failure(say, Exit.UNAVAILABLE) from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A token's server has no reason to send its secrets on to another."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _http(url: str, method: str, body: bytes | None, headers: Mapping[str, str]) -> _Answer:
    """One request over TLS (RFC 6749 section 3.2), or to this machine itself. Raises ``OSError``."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise Failure("a token's server is asked over https only: mend its URL", Exit.BAD_PLAN)
    tls = urllib.request.HTTPSHandler(context=ssl.create_default_context())
    opener = urllib.request.build_opener(tls, _NoRedirect)
    request = urllib.request.Request(url, data=body, headers=dict(headers), method=method)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return _Answer(answer.status, dict(answer.headers), answer.read(LIMIT))
    except urllib.error.HTTPError as error:
        with error:
            return _Answer(error.code, dict(error.headers), error.read(LIMIT))
