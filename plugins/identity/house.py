"""What the plugin has while it is open: one of each, made by its lifespan."""

from __future__ import annotations

from typing import Any, ClassVar

from kernel import Context, ServiceUnavailable, redactions

from .attempts import Attempts
from .authentication import Authentication
from .bootstrap import SetupCode
from .directory import Directory
from .keys import Keys
from .passwords import Hasher
from .settings import Settings


class House:
    """The parts that a request to this plugin reaches."""

    def __init__(self, ctx: Context) -> None:
        settings: Settings = ctx.settings
        given = {"ai-api": settings.ai_api_token, "agents-api": settings.agents_api_token}
        self.static = {name: secret for name, secret in given.items() if secret}
        for secret in (*self.static.values(), settings.admin_password):
            if secret:
                redactions.register(secret)
        home = ctx.config.paths.home
        self.settings = settings
        self.store: Any = ctx.store
        self.directory = Directory(ctx.store, settings.cached, frozenset(self.static))
        self.authentication = Authentication(
            self.directory, Keys(home, settings.rotation_days), ctx.clock, self.static, settings.cached
        )
        self.attempts = Attempts(
            each=settings.login_failures, all=settings.login_failures_per_address, window_s=settings.login_window_s
        )
        self.hasher = Hasher(settings.hashes, settings.hashes_waiting)
        self.setup_code = SetupCode(home, ctx.clock)


class Inside:
    """What belongs to the plugin while it is open: all of it has the one house."""

    current: ClassVar[House | None] = None

    @property
    def house(self) -> House:
        """The house; `ServiceUnavailable` before the plugin has opened and once it has closed."""
        if Inside.current is None:
            raise ServiceUnavailable("accounts and tokens are not there at the moment; try again")
        return Inside.current


async def changed(ctx: Context, what: str, **who: str) -> None:
    """Tell that somebody's rights are not what they were, so that what is open is let in anew."""
    await ctx.publish("identity.changed", {"what": what, **who})
