"""Open streams and sockets are let in again whenever what let them in has changed: a policy, a role, a token.

Each stands on an identity and on the rights that were given while it was opened. A change asks for both anew, and what
does not get them ends with the reason; an identity that expires ends what stands on it. The others notice nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from hub.auth import Doorkeeper
from kernel import AetherraError, Credential, Denied, Event, Grounds, Identity, Kernel, Unauthenticated

log = logging.getLogger("hub.reauthorisation")

CHANGES = ("policy.loaded", "identity.changed")
"""Events after which what is open is asked for anew."""

LOOK_S = 0.5
"""How often it is looked for identities that have expired."""


class Standing:
    """What one open stream or socket stands on, and how it is told that it does not any more."""

    def __init__(self, identity: Identity, grounds: Grounds, end: Callable[[AetherraError], None]) -> None:
        self.identity = identity
        self.grounds = grounds
        self.end = end


class Reauthorisation:
    """Everything that is open, by what it stands on."""

    def __init__(self, kernel: Kernel, doorkeeper: Doorkeeper) -> None:
        self._kernel = kernel
        self._doorkeeper = doorkeeper
        self._open: dict[Standing, None] = {}
        self._asking: asyncio.Task[None] | None = None
        self._again = False
        self._expiring: asyncio.Task[None] | None = None
        self.ended = 0
        """Streams and sockets that ended since what let them in is not so any more."""
        self._undo = [kernel.bus.listen(topic, self._changed, name="hub.reauthorisation") for topic in CHANGES]

    def enter(self, standing: Standing) -> None:
        """Watch over one that has opened."""
        self._open[standing] = None
        if self._expiring is None and standing.identity.expires_at is not None:
            self._expiring = asyncio.create_task(self._expire(), name="identities that expire")

    def leave(self, standing: Standing) -> None:
        """Watch over it no longer."""
        self._open.pop(standing, None)
        if not self._open and self._expiring is not None:
            self._expiring.cancel()
            self._expiring = None

    def forget(self) -> None:
        """Follow the kernel no longer."""
        for undo in self._undo:
            undo()
        for task in (self._asking, self._expiring):
            if task is not None:
                task.cancel()

    def _changed(self, _event: Event) -> None:
        # One round at a time; what changes during a round makes another.
        self._again = True
        if self._open and self._asking is None:
            self._asking = asyncio.create_task(self._ask_all(), name="open streams are let in again")

    async def _ask_all(self) -> None:
        try:
            while self._again:
                self._again = False
                for standing in list(self._open):
                    await self._ask(standing)
        finally:
            self._asking = None

    async def _ask(self, standing: Standing) -> None:
        try:
            identity = standing.identity
            if identity.session:
                standing.identity = await self._doorkeeper.verify(Credential("session", identity.session))
            self._check_grounds(standing)
        except (Denied, Unauthenticated) as error:
            self._end(standing, error)
        except Exception:
            log.exception("an open stream could not be let in again, so it ends")
            self._end(standing, Unauthenticated("it could not be verified who is asking; connect again"))

    def _check_grounds(self, standing: Standing) -> None:
        if standing.grounds.full:
            raise Denied("rights have changed, and this connection stands on too many to ask for again; connect again")
        for chain, capability in standing.grounds:
            decision = self._kernel.gate.decide(chain, capability)
            if not decision.allowed:
                raise Denied(f"{chain} may not {capability} any more: {decision.reason}")

    def _end(self, standing: Standing, error: AetherraError) -> None:
        if standing in self._open:
            del self._open[standing]
            self.ended += 1
            standing.end(error)

    async def _expire(self) -> None:
        clock = self._kernel.clock
        while True:
            now = clock.now()
            for standing in list(self._open):
                expires_at = standing.identity.expires_at
                if expires_at is not None and expires_at <= now:
                    self._end(standing, Unauthenticated("the token has expired; get another one and connect again"))
            await clock.sleep(LOOK_S)
