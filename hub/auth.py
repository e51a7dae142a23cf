"""Credentials -> who is asking. Decides nothing about rights: that is the policy's.

Only `Authorization: Bearer` is read; any other header with a credential is ignored by all code alike. Whom a token
proves, a plugin says; a credential that proves nobody is refused rather than ignored.
"""

from __future__ import annotations

import re

import msgspec
from aiohttp import web
from multidict import istr

from hub.dispatch import TOKEN_ONLY, Match
from hub.limits import Connection
from kernel import BadInput, Caller, Credential, Identity, Kernel, Unauthenticated

LOCAL = Identity(Caller("user:local", roles=("role:user",)))
"""Whoever reaches the hub from this machine without a token."""

CONSOLE = Identity(Caller("core:console", roles=("role:admin",)))
"""The hub's own user, vouched for by the system at the other end of `HOME/hub.sock`."""

ANONYMOUS = Identity(Caller("anonymous"))
"""Whoever asks for what is public, whatever credential came along."""

AUTHORIZATION = istr("Authorization")
PROTOCOLS = istr("Sec-WebSocket-Protocol")
SUBPROTOCOL = "aetherra"
"""The one subprotocol of the hub's sockets: JSON in text messages. A client need not ask for it."""

BEARER = "bearer."
"""How a subprotocol begins that carries a token: a browser can set no other header."""

TICKET = "ticket"
"""The query parameter with a ticket: short-lived and good for one socket."""

URL_TOKENS = ("token", "access_token")
"""Query parameters that would carry a long-lived token into logs and histories; refused."""

TOKEN_CHARS = 8_100
"""The longest token that is looked at; a longer line of a head is refused by the HTTP parser."""

_TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{1,{TOKEN_CHARS}}}")


class Doorkeeper:
    """Tells who is asking, of a request or of a socket.

    `open_everywhere` is the lab's switch: whoever reaches an address that is not loopback counts as local, too.
    """

    def __init__(self, kernel: Kernel, *, open_everywhere: bool) -> None:
        self._kernel = kernel
        self._open_everywhere = open_everywhere

    async def identify(self, request: web.Request, match: Match) -> Identity | None:
        """Return who is asking, or raise `Unauthenticated`; None for a socket whose client may still say it."""
        headers = request.headers
        if AUTHORIZATION in headers:
            return await self._kernel.identify(_credential_of_header(headers.getall(AUTHORIZATION), match.address))
        connection = request.protocol
        assert isinstance(connection, Connection)
        if connection.console:
            return CONSOLE
        if (match.local or self._open_everywhere) and (match.upgrade or match.dialect not in TOKEN_ONLY):
            return LOCAL
        if match.upgrade:
            return None
        raise Unauthenticated("this needs a token, sent as `Authorization: Bearer TOKEN`")

    async def verify(self, credential: Credential) -> Identity:
        """Return whom a credential proves; `Unauthenticated` when it proves nobody."""
        return await self._kernel.identify(credential)


def _credential_of_header(lines: list[str], address: str) -> Credential:
    scheme, _, text = lines[0].partition(" ")
    text = text.strip(" ")
    # A header with more than one credential has one of these. They are looked for one by one, since that is a tenth of
    # what a regular expression takes; what is odd besides is no token that anybody knows.
    several = " " in text or "," in text or ";" in text or '"' in text or "\t" in text
    fine = text.isascii() and 0 < len(text) <= TOKEN_CHARS and not several
    if len(lines) != 1 or scheme.lower() != "bearer" or not fine:
        raise Unauthenticated("an Authorization header is given once, as `Bearer TOKEN`")
    return Credential("token", text, address)


def credential_of_handshake(request: web.Request, address: str) -> tuple[Credential | None, str | None]:
    """Return what the handshake of a socket gives as a credential, and the subprotocol to answer with.

    `BadInput` for a token in the URL, for two credentials, and for subprotocols that are not ours.
    """
    query = request.rel_url.query if request.rel_url.raw_query_string else {}
    for name in URL_TOKENS:
        if name in query:
            raise BadInput(
                f"a token does not belong into a URL, where logs keep it (`{name}`): send it as the first message "
                '{"type":"auth","token":...}, or as the subprotocol bearer.TOKEN',
                details={"field": name},
                code="TOKEN_IN_URL",
            )
    given = [Credential("ticket", query[TICKET], address)] if TICKET in query else []
    offered = [part.strip() for line in request.headers.getall(PROTOCOLS, ()) for part in line.split(",")]
    bearers = [protocol for protocol in offered if protocol.startswith(BEARER)]
    for bearer in bearers:
        if not _TOKEN.fullmatch(bearer[len(BEARER) :]):
            raise BadInput("the subprotocol bearer.TOKEN has characters that no token has", code="BAD_HANDSHAKE")
    given += [Credential("token", bearer[len(BEARER) :], address) for bearer in bearers]
    if len(given) > 1:
        raise BadInput("a socket is opened with one token or one ticket", code="BAD_HANDSHAKE")
    ours = [protocol for protocol in offered if protocol == SUBPROTOCOL]
    if offered and not ours and not bearers:
        raise BadInput(
            f"of the subprotocols offered the hub speaks none; it speaks {SUBPROTOCOL}, or leave them out",
            code="BAD_HANDSHAKE",
        )
    # A browser ends a socket whose server chose nothing of what it offered, so a lone token is what is answered with.
    return (given[0] if given else None), next(iter([*ours, *bearers]), None)


def credential_of_message(text: str, address: str) -> Credential | None:
    """Return the credential of the message `{"type":"auth","token":...}`, None for any other message.

    `BadInput` for one without a token.
    """
    if '"auth"' not in text:
        return None
    try:
        message = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if not isinstance(message, dict) or message.get("type") != "auth":
        return None
    token = message.get("token")
    if not isinstance(token, str) or not _TOKEN.fullmatch(token):
        raise BadInput("an auth message has a `token`, a text", details={"field": "token"})
    return Credential("token", token, address)
