"""Who is asking: what somebody gives to prove it, and what a plugin with the `authenticator` door makes of that.

The kernel carries both and judges neither; without such a plugin a credential proves nobody.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from kernel.capabilities import Caller


class Credential(msgspec.Struct, frozen=True):
    """What somebody gave to say who they are; not verified yet.

    `token` is a long-lived or access token, `ticket` is good once and for a socket, `session` is what an `Identity` was
    called, to have it proved again without its token. `address` is where it came from, as in `Context`.
    """

    kind: Literal["token", "ticket", "session"]
    text: str
    address: str = ""

    def __repr__(self) -> str:
        return f"<Credential {self.kind}>"


class Identity(msgspec.Struct, frozen=True):
    """Whom a credential proved.

    `session` names what proved it, so that it can be asked for again; `expires_at` is wall seconds UTC or None.
    """

    caller: Caller
    session: str = ""
    expires_at: float | None = None
