"""Who may see the live page, and who may change what runs.

A server on loopback can be reached by every page that the user's browser has open. So the name by
which we are called must be ours (DNS rebinding), what changes something needs the token, which no
other page can read, and must come from our own page.
"""

from __future__ import annotations

import hmac
import ipaddress
import secrets
import socket
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-trainonce-token"
_READING = ("GET", "HEAD")
_SECONDS = 30 * 86400


@dataclass(frozen=True, kw_only=True)
class Access:
    """Where the page is served, and what it asks for.

    Attributes:
        host: the address that it listens at.
        token: what changes need, and reading too where ``closed``.
        closed: whether the page is shown only to those who have the token.
    """

    host: str = "127.0.0.1"
    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    closed: bool = False

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        return is_loopback(self.host)

    def is_called(self, name: str) -> bool:
        """Whether ``name``, of a Host header, is one of ours.

        A number is never the work of a name server; a name must be known.
        """
        if name == "localhost" or is_loopback(name):
            return True
        if self.is_local:
            return False
        own = {self.host.lower(), socket.gethostname().lower(), socket.getfqdn().lower()}
        return name in own or _address(name) is not None

    def is_token(self, told: str | None) -> bool:
        """Whether ``told`` is the token; takes the same time whatever it is."""
        return told is not None and hmac.compare_digest(told.encode(), self.token.encode())


class Guard:
    """Refuses what `Access` does not allow, and tells browsers to be strict.

    Args:
        app: what is guarded.
        access: the rules.
        policy: the content security policy of every answer.
    """

    def __init__(self, app: ASGIApp, access: Access, policy: str) -> None:
        self._app = app
        self._access = access
        self._headers = {
            "content-security-policy": policy,
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "referrer-policy": "same-origin",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "cache-control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, strict)

    def _refusal(self, scope: Scope) -> Response | None:
        headers, query = Headers(scope=scope), QueryParams(scope["query_string"])
        host = headers.get("host", "")
        if not self._access.is_called(_name(host)):
            return PlainTextResponse("This server does not go by that name.\n", 421)
        reads = scope["method"] in _READING
        if reads and "token" in query and self._access.is_token(query["token"]):
            return self._let_in(scope["path"], query, host)
        if not reads and not _from_own_page(headers, host):
            return PlainTextResponse("Only the page itself can ask for that.\n", 403)
        if not reads and not self._access.is_token(headers.get(TOKEN_HEADER)):
            return PlainTextResponse("The token is missing or wrong.\n", 403)
        if self._access.closed and not self._is_known(headers, host):
            return PlainTextResponse(
                "This page needs a token: open the address that `trainonce serve` printed.\n", 401
            )
        return None

    def _let_in(self, path: str, query: QueryParams, host: str) -> Response:
        """Keep the token in a cookie, so that no address holds it from here on."""
        rest = urlencode([pair for pair in query.multi_items() if pair[0] != "token"])
        # one slash in front: two would name another server
        response = RedirectResponse(f"/{path.lstrip('/')}{'?' + rest if rest else ''}", 303)
        response.set_cookie(
            _cookie(host), self._access.token, max_age=_SECONDS, httponly=True, samesite="strict"
        )
        return response

    def _is_known(self, headers: Headers, host: str) -> bool:
        cookies = SimpleCookie()
        try:
            cookies.load(headers.get("cookie", ""))
        except CookieError:
            return False
        held = cookies.get(_cookie(host))
        return self._access.is_token(headers.get(TOKEN_HEADER) or (held.value if held else None))


def is_loopback(name: str) -> bool:
    """Whether a name or number stands for this machine alone."""
    address = _address(name)
    return name == "localhost" or (address is not None and address.is_loopback)


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None


def _name(host: str) -> str:
    """The name in a Host header, without port and brackets; empty when there is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _cookie(host: str) -> str:
    """A cookie for each port: browsers send cookies of a name to all its ports."""
    try:
        return f"trainonce-{urlsplit(f'//{host}').port or 80}"
    except ValueError:
        return "trainonce-80"


def _from_own_page(headers: Headers, host: str) -> bool:
    """Whether the browser says that the page that asks is ours; silence is a no."""
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site is not None
    return origin in (f"http://{host}", f"https://{host}")
