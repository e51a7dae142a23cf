"""Accounts: registering, logging in with a form, one's own profile; and what the document leaves out around them."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import msgspec

from kernel import BadInput, Context, Denied, NotFound, Overloaded, Plugin, StorageFull, Unauthenticated

DIALECT = "aimos"
NEEDS = "health:read"
"""Whoever may see that the hub is well may say who he is: no right comes before that, and none with it."""

Text = Annotated[str, msgspec.Meta(max_length=1_024)]
Secret = Annotated[str, msgspec.Meta(max_length=1_024)]


class Login(Protocol):
    """What this dialect asks of the log-in."""

    async def register(self, username: str, password: str, email: str | None) -> dict[str, Any]:
        """Make an account."""

    async def login(self, username: str, password: str) -> dict[str, Any]:
        """Begin a session."""

    async def refresh(self, refresh_token: str) -> dict[str, Any]:
        """Go on with it."""

    async def logout(self, everywhere: bool) -> None:
        """End it."""

    async def me(self) -> dict[str, Any]:
        """Return the profile of who asks."""

    async def change_password(self, current: str, new: str) -> dict[str, Any]:
        """Change the password of who asks."""

    async def ticket(self) -> dict[str, Any]:
        """Return a ticket for a socket."""

    async def setup(self, code: str, username: str, password: str, email: str | None) -> dict[str, Any]:
        """Make the first administrator."""


class Profile(msgspec.Struct):
    """An account as its owner sees it; `last_login` is null before the first."""

    id: str
    username: str
    email: str | None
    is_active: bool
    is_admin: bool
    created_at: str
    last_login: str | None


class Granted(msgspec.Struct):
    """A session that has begun or goes on: the token to send as `Authorization: Bearer`, and its seconds.

    `refresh_token` gets the next pair, once; it lasts as long as it is used.
    """

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str


class Ticket(msgspec.Struct):
    """Good for one WebSocket within so many seconds: `?ticket=` in its address."""

    ticket: str
    expires_in: int


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("login")(Login)
    common: dict[str, Any] = {"needs": NEEDS, "dialect": DIALECT, "effect": "irreversible"}
    early: dict[str, Any] = {**common, "anonymous": True}
    p.post(
        "/api/auth/register",
        status=201,
        documented=True,
        raises=(Denied, StorageFull, Overloaded, "RATE_LIMITED"),
        **early,
    )(register)
    p.post(
        "/api/auth/login",
        form=True,
        documented=True,
        raises=(Unauthenticated, Denied, StorageFull, "RATE_LIMITED"),
        **early,
    )(login)
    p.get("/api/auth/me", needs=NEEDS, dialect=DIALECT, documented=True, raises=(NotFound,))(me)
    p.post("/api/auth/refresh", raises=(Unauthenticated, StorageFull), **early)(refresh)
    p.post("/api/auth/setup", status=201, raises=(Denied, StorageFull, "RATE_LIMITED"), **early)(setup)
    p.post("/api/auth/logout", status=204, raises=(Denied, StorageFull), **common)(logout)
    p.post("/api/auth/password", raises=(Denied, Unauthenticated, StorageFull, "RATE_LIMITED"), **common)(
        change_password
    )
    p.post("/api/auth/ticket", raises=(Denied,), **common)(ticket)


async def register(ctx: Context, username: Text, password: Secret, email: Text | None = None) -> Profile:
    """Register an account; where that is closed, an administrator makes them."""
    made = await ctx.service("login", Login).register(username=username, password=password, email=email)
    return msgspec.convert(made, Profile)


async def login(ctx: Context, username: Text, password: Secret, grant_type: Text | None = None) -> Granted:
    """Log in with a form; a wrong name and a wrong password are told alike."""
    if grant_type not in (None, "", "password"):
        raise BadInput("grant_type is password, or left out", details={"field": "grant_type"})
    return msgspec.convert(await ctx.service("login", Login).login(username=username, password=password), Granted)


async def refresh(ctx: Context, refresh_token: Secret) -> Granted:
    """Exchange a refresh token, once, for the next pair; one that comes a second time ends its session."""
    return msgspec.convert(await ctx.service("login", Login).refresh(refresh_token=refresh_token), Granted)


async def setup(ctx: Context, code: Text, username: Text, password: Secret, email: Text | None = None) -> Profile:
    """Make the first administrator, with the code that a hub without one issues at its start."""
    made = await ctx.service("login", Login).setup(code=code, username=username, password=password, email=email)
    return msgspec.convert(made, Profile)


async def me(ctx: Context) -> Profile:
    """Return the profile of the account that asks."""
    return msgspec.convert(await ctx.service("login", Login).me(), Profile)


async def logout(ctx: Context, everywhere: bool = False) -> None:
    """End the session that asks; `everywhere` all sessions of the account, and what was set going in them."""
    await ctx.service("login", Login).logout(everywhere=everywhere)


async def change_password(ctx: Context, current: Secret, new: Secret) -> Granted:
    """Change the password of the account that asks; all its sessions end, and the answer begins a new one."""
    return msgspec.convert(await ctx.service("login", Login).change_password(current=current, new=new), Granted)


async def ticket(ctx: Context) -> Ticket:
    """Return a ticket for one WebSocket, for whoever the request's token proves."""
    return msgspec.convert(await ctx.service("login", Login).ticket(), Ticket)
