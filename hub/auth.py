"""Credentials -> who is asking. Decides nothing about rights: that is the policy's.

There are no tokens yet, so a credential cannot be verified, and what cannot be verified is refused rather than ignored.
"""

from __future__ import annotations

from aiohttp import web

from hub.limits import Connection
from kernel import Caller, Unauthenticated

LOCAL = Caller("user:local", roles=("role:user",))
"""Whoever reaches the hub from this machine without a token."""

CONSOLE = Caller("core:console", roles=("role:admin",))
"""The hub's own user, vouched for by the system at the other end of `HOME/hub.sock`."""

ANONYMOUS = Caller("anonymous")
"""Whoever asks for what is public, whatever credential came along."""


def caller_of(request: web.Request, *, open_everywhere: bool) -> Caller:
    """Return who is asking, or raise `Unauthenticated`.

    `open_everywhere` is the lab's switch: whoever reaches an address that is not loopback counts as local, too.
    """
    if "Authorization" in request.headers:
        raise Unauthenticated(
            "this hub cannot verify tokens: accounts and tokens are not part of it yet. From this machine, leave the "
            "Authorization header out, or use the `aether` command"
        )
    connection = request.protocol
    assert isinstance(connection, Connection)
    if connection.console:
        return CONSOLE
    if connection.loopback or open_everywhere:
        return LOCAL
    raise Unauthenticated("without a token the hub answers its own machine only, and it cannot verify tokens yet")
