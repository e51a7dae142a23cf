"""Credentials -> who is asking. Decides nothing about rights: that is the policy's.

There are no tokens yet, so a credential cannot be verified, and what cannot be verified is refused rather than ignored.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec
from aiohttp import web
from multidict import istr

from hub.limits import Connection
from kernel import BadInput, Caller, Unauthenticated

LOCAL = Caller("user:local", roles=("role:user",))
"""Whoever reaches the hub from this machine without a token."""

CONSOLE = Caller("core:console", roles=("role:admin",))
"""The hub's own user, vouched for by the system at the other end of `HOME/hub.sock`."""

ANONYMOUS = Caller("anonymous")
"""Whoever asks for what is public, whatever credential came along."""


CANNOT = "this hub cannot verify tokens: accounts and tokens are not part of it yet"
OR_COMMAND = "or use the `aether` command"

PROTOCOLS = istr("Sec-WebSocket-Protocol")
SUBPROTOCOL = "aetherra"
"""The one subprotocol of the hub's sockets: JSON in text messages. A client need not ask for it."""

BEARER = "bearer."
"""How a subprotocol begins that carries a token: a browser can set no other header."""

TICKET = "ticket"
"""The query parameter with a ticket: short-lived and good for one socket."""

URL_TOKENS = ("token", "access_token")
"""Query parameters that would carry a long-lived token into logs and histories; refused."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}")


class Credential(msgspec.Struct, frozen=True):
    """What somebody gave to say who they are; not verified yet."""

    kind: Literal["token", "ticket"]
    text: str

    def __repr__(self) -> str:
        return f"<Credential {self.kind}>"


def caller_of(request: web.Request, *, open_everywhere: bool) -> Caller:
    """Return who is asking, or raise `Unauthenticated`.

    `open_everywhere` is the lab's switch: whoever reaches an address that is not loopback counts as local, too.
    """
    caller = caller_without_message(request, open_everywhere=open_everywhere)
    if caller is None:
        raise Unauthenticated("without a token the hub answers its own machine only, and it cannot verify tokens yet")
    return caller


def caller_without_message(request: web.Request, *, open_everywhere: bool) -> Caller | None:
    """Return who is asking, as `caller_of` does; None where a socket's client may still say it in a message."""
    if "Authorization" in request.headers:
        raise Unauthenticated(f"{CANNOT}. From this machine, leave the Authorization header out, {OR_COMMAND}")
    connection = request.protocol
    assert isinstance(connection, Connection)
    if connection.console:
        return CONSOLE
    return LOCAL if connection.loopback or open_everywhere else None


async def verify(credential: Credential) -> Caller:
    """Return whom a credential proves; `Unauthenticated` when it proves nobody."""
    raise Unauthenticated(f"{CANNOT}. From this machine, open the socket without a {credential.kind}")


def credential_of_handshake(request: web.Request) -> tuple[Credential | None, str | None]:
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
    given = [Credential("ticket", query[TICKET])] if TICKET in query else []
    offered = [part.strip() for line in request.headers.getall(PROTOCOLS, ()) for part in line.split(",")]
    bearers = [protocol for protocol in offered if protocol.startswith(BEARER)]
    for bearer in bearers:
        if not _TOKEN.fullmatch(bearer[len(BEARER) :]):
            raise BadInput("the subprotocol bearer.TOKEN has characters that no token has", code="BAD_HANDSHAKE")
    given += [Credential("token", bearer[len(BEARER) :]) for bearer in bearers]
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


def credential_of_message(text: str) -> Credential | None:
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
    return Credential("token", token)
