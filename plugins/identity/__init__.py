"""identity knows accounts, sessions and tokens: it proves who is asking, and says at each decision who that is by now.

How a credential is verified: `docs/security.md`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

import msgspec

from kernel import Caller, Context, Credential, Identity, Plugin, Unauthenticated

from . import accounts, commands, passwords, sessions
from .accounts import ADMIN, USER
from .administration import Tokens, Users
from .authentication import weak_static
from .bootstrap import forget_environment
from .house import House, Inside
from .login import Login
from .settings import Settings

identity = Plugin(
    "identity",
    version="1.0.0",
    description="Accounts, sessions and tokens: proves who is asking.",
    category="system",
    migrations="migrations",
)
identity.settings(Settings)

KEEP_HOUSE_S = 60.0
PRUNED = 1_000


@identity.authenticator
async def prove(credential: Credential) -> Identity:
    """Return whom a credential proves."""
    if Inside.current is None:
        raise Unauthenticated("this hub cannot verify credentials at the moment; try again")
    return await Inside.current.authentication.prove(credential)


@identity.renewer
def current(caller: Caller) -> Caller:
    """Return a caller with the roles that he has by now."""
    return caller if Inside.current is None else Inside.current.directory.current(caller)


commands.add(identity)
identity.service("login")(Login)
identity.service("users")(Users)
identity.service("tokens")(Tokens)


@identity.lifespan
async def opened(ctx: Context) -> AsyncIterator[None]:
    """Read the settings, and see that there is an administrator or a way to become one."""
    house = House(ctx)
    Inside.current = house
    for name in weak_static(house.static):
        ctx.log.warning("the static token %s may hold less than 128 random bits; make it of 32 random bytes", name)
    await _bootstrap(ctx, house)
    forget_environment()
    yield
    Inside.current = None
    await _write_down_uses(house)


async def _bootstrap(ctx: Context, house: House) -> None:
    settings = house.settings
    if settings.admin_user and settings.admin_password:
        name = accounts.check_name(settings.admin_user)
        if accounts.find(house.store, name) is None:
            hash = await house.hasher.make(settings.admin_password)
            must_change = passwords.fault(settings.admin_password, name) is not None
            new = accounts.new(name, settings.admin_user.strip(), None, (ADMIN, USER), ctx.clock.now())
            account = msgspec.structs.replace(new, password=hash, must_change=must_change)
            await ctx.audit("identity.user_created", user=name, roles=list(account.roles))
            await house.store.write(lambda tx: accounts.insert(tx, account, settings.accounts))
            if must_change:
                ctx.log.warning("the password of %s is a weak one: it counts on this machine only, until changed", name)
    if not accounts.administrators(house.store):
        house.setup_code.issue()
    else:
        house.setup_code.used()


@identity.task("keep house")
async def keep_house(ctx: Context) -> None:
    """Write down when tokens were used, and forget sessions that are long over."""
    while True:
        await ctx.clock.sleep(KEEP_HOUSE_S)
        if Inside.current is None:
            continue
        await _write_down_uses(Inside.current)
        now = ctx.clock.now()
        while await ctx.store.write(partial(sessions.prune, now=now, most=PRUNED)) >= PRUNED:
            pass


async def _write_down_uses(house: House) -> None:
    used, house.directory.used = house.directory.used, {}
    if used:
        rows = [[at, name] for name, at in used.items()]
        await house.store.write(
            lambda tx: tx.executemany("UPDATE identity__tokens SET used_at = ? WHERE name = ?", rows)
        )
        for name in used:
            house.directory.forget(token=name)
