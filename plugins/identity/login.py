"""Registering, logging in and staying in: what somebody does for his own account."""

from __future__ import annotations

from typing import Any

import msgspec

from kernel import BadInput, Context, Denied, NotFound, Unauthenticated, iso, needs

from . import access, accounts, passwords, sessions
from .accounts import ADMIN, USER, Account
from .authentication import INVALID, TICKET_S, is_local
from .house import House, Inside, changed
from .sessions import LOGGED_OUT, REVOKED, Session


class Grant(msgspec.Struct, frozen=True):
    """What a log-in yields; `expires_in` is seconds. Whoever has the refresh token can get the next pair, once."""

    access_token: str
    token_type: str
    expires_in: int
    refresh_token: str


class Login(Inside):
    """The service `login`: for whoever may see that the hub is well, since it is where one shows who one is."""

    @needs("health:read")
    async def register(self, ctx: Context, username: str, password: str, email: str | None = None) -> dict[str, Any]:
        """Make an account with the role `user`; return its profile. `Denied` where registration is closed."""
        house = self.house
        allowed = house.settings.registration
        if allowed == "closed" or (allowed == "local" and not is_local(ctx.address)):
            raise Denied(
                f"registration is {allowed} on this hub ([plugins.identity] registration); an administrator can make "
                "an account: aether users add NAME",
                code="REGISTRATION_CLOSED",
            )
        account = await make_account(ctx, house, username, password, email, (USER,))
        return profile(account)

    @needs("health:read")
    async def login(self, ctx: Context, username: str, password: str) -> Grant:
        """Begin a session; `Unauthenticated` for a wrong name or password alike, 429 after too many of them."""
        house, name, address = self.house, accounts.canonical(username), ctx.address or "console"
        house.attempts.check(name, address, ctx.clock.monotonic())
        account = house.directory.account(name)
        hash = account.password if account is not None else None
        fits = await house.hasher.verify(hash, password)
        if account is None or hash is None or not fits:
            house.attempts.failed(name, address, ctx.clock.monotonic())
            await ctx.audit("identity.logged_in", "failed", user=name[:64], address=address)
            raise Unauthenticated(INVALID)
        if account.must_change and not is_local(ctx.address):
            raise Denied(
                "the password of this account has to be changed first, from the hub's own machine",
                code="CHANGE_PASSWORD",
            )
        house.attempts.succeeded(name, address)
        await self._rehash(ctx, account, password)
        await ctx.audit("identity.logged_in", user=name, address=address)
        return await self._begin(ctx, account)

    async def _begin(self, ctx: Context, account: Account) -> Grant:
        house, now = self.house, ctx.clock.now()
        settings = house.settings

        def begin(tx: Any) -> tuple[Session, str, list[str]]:
            tx.execute("UPDATE identity__accounts SET last_login = ? WHERE name = ?", [now, account.name])
            return sessions.begin(tx, account.name, now, settings.session_days * 86_400, settings.sessions_per_account)

        session, refresh, crowded = await house.store.write(begin)
        house.directory.forget(account=account.name)
        for id in crowded:
            house.directory.forget(session=id)
        if crowded:
            await changed(ctx, "sessions", user=account.name)
        return self._grant(account, session.id, refresh, now)

    def _grant(self, account: Account, session: str, refresh: str, now: float) -> Grant:
        seconds = self.house.settings.access_minutes * 60
        keys = self.house.authentication.keys
        token = access.issue(
            keys, subject=account.id, session=session, version=account.version, now=now, seconds=seconds
        )
        return Grant(token, "bearer", int(seconds), refresh)

    async def _rehash(self, ctx: Context, account: Account, password: str) -> None:
        hasher = self.house.hasher
        if account.password is None or not hasher.outdated(account.password):
            return
        hash = await hasher.make(password)
        await self.house.store.write(
            lambda tx: tx.execute("UPDATE identity__accounts SET password = ? WHERE name = ?", [hash, account.name])
        )
        self.house.directory.forget(account=account.name)

    @needs("health:read")
    async def refresh(self, ctx: Context, refresh_token: str) -> Grant:
        """Exchange a refresh token, once, for the next pair; one that comes again ends its whole session."""
        house, now = self.house, ctx.clock.now()
        seconds = house.settings.session_days * 86_400
        renewed = await house.store.write(lambda tx: sessions.renew(tx, refresh_token, now, seconds))
        if isinstance(renewed, Session):
            house.directory.forget(session=renewed.id)
            await ctx.audit("identity.session_revoked", user=renewed.account, why="a refresh token was used twice")
            await changed(ctx, "session", user=renewed.account)
        if renewed is None or isinstance(renewed, Session):
            raise Unauthenticated(f"{INVALID}: the refresh token is unknown, was used already, or has expired")
        session, refresh = renewed
        house.directory.forget(session=session.id)
        account = house.directory.account(session.account)
        if account is None:
            raise Unauthenticated(f"{INVALID}: the account may not be used")
        return self._grant(account, session.id, refresh, now)

    @needs("health:read")
    async def logout(self, ctx: Context, everywhere: bool = False) -> None:
        """End the session that asks; `everywhere` all sessions of the account, and what was set going in them."""
        account, session = self._own(ctx)
        if everywhere:
            await end_sessions(ctx, self.house, account.name)
            return
        await self.house.store.write(lambda tx: sessions.end(tx, session, LOGGED_OUT))
        self.house.directory.forget(session=session)
        await ctx.audit("identity.logged_out", user=account.name)
        await changed(ctx, "session", user=account.name)

    @needs("health:read")
    async def me(self, ctx: Context) -> dict[str, Any]:
        """Return the profile of the account that asks."""
        kind, _, name = ctx.chain.caller.id.partition(":")
        account = self.house.directory.account(name) if kind == "user" else None
        if account is None:
            raise NotFound(f"{ctx.chain.caller.id} has no account", details={"caller": ctx.chain.caller.id})
        return profile(account)

    @needs("health:read")
    async def change_password(self, ctx: Context, current: str, new: str) -> Grant:
        """Change the password of the account that asks; all its sessions end, and the answer begins a new one."""
        account, _ = self._own(ctx)
        house, address = self.house, ctx.address or "console"
        house.attempts.check(account.name, address, ctx.clock.monotonic())
        if not await house.hasher.verify(account.password, current):
            house.attempts.failed(account.name, address, ctx.clock.monotonic())
            raise Unauthenticated(f"{INVALID}: the current password is another one")
        await set_password(ctx, house, account, new)
        return await self._begin(ctx, house.directory.account(account.name) or account)

    @needs("health:read")
    async def ticket(self, ctx: Context) -> dict[str, Any]:
        """Return a ticket for one WebSocket, good once within 30 s, for whom the request's token proves."""
        proof = ctx.chain.caller.proof
        if not proof:
            raise Denied("a ticket stands for a token; this request came without one")
        kind, _, id = proof.partition(":")
        if kind == "session":
            account, _ = self._own(ctx)
            until = ctx.clock.now() + self.house.settings.access_minutes * 60
            proof = f"session:{id}:{account.version}:{int(until)}"
        return {"ticket": self.house.authentication.ticket(proof), "expires_in": int(TICKET_S)}

    @needs("health:read")
    async def setup(
        self, ctx: Context, code: str, username: str, password: str, email: str | None = None
    ) -> dict[str, Any]:
        """Make the first administrator with the set-up code; `Denied` for a wrong one, or when there is one already."""
        house, address = self.house, ctx.address or "console"
        house.attempts.check("admin-setup", address, ctx.clock.monotonic())
        async with house.setup_code.in_use:
            if accounts.administrators(house.store):
                house.setup_code.used()
            try:
                house.setup_code.check(code)
            except Denied:
                house.attempts.failed("admin-setup", address, ctx.clock.monotonic())
                await ctx.audit("identity.set_up", "failed", address=address)
                raise
            account = await make_account(ctx, house, username, password, email, (ADMIN, USER))
            house.setup_code.used()
        return profile(account)

    def _own(self, ctx: Context) -> tuple[Account, str]:
        """Return the account and the session of a caller that logged in."""
        caller = ctx.chain.caller
        kind, _, session = caller.proof.partition(":")
        account = self.house.directory.account(caller.id.partition(":")[2]) if kind == "session" else None
        if account is None:
            raise Denied(f"{caller.id} did not log in; this is for the session of an account")
        return account, session


def profile(account: Account) -> dict[str, Any]:
    """Return what its owner sees of an account."""
    return {
        "id": account.id,
        "username": account.shown,
        "email": account.email,
        "is_active": account.active,
        "is_admin": account.is_admin,
        "created_at": iso(account.created_at),
        "last_login": None if account.last_login is None else iso(account.last_login),
    }


async def make_account(
    ctx: Context, house: House, username: str, password: str, email: str | None, roles: tuple[str, ...]
) -> Account:
    """Store a new account with a password; raise `BadInput` for what cannot be one, each field named."""
    name, address = accounts.check_name(username), accounts.check_email(email)
    passwords.check(password, name, address or "")
    new = accounts.new(name, username.strip(), address, roles, ctx.clock.now())
    account = msgspec.structs.replace(new, password=await house.hasher.make(password))
    await ctx.audit("identity.user_created", user=name, roles=list(roles))
    await house.store.write(lambda tx: accounts.insert(tx, account, house.settings.accounts))
    house.directory.forget(account=name)
    return account


async def set_password(ctx: Context, house: House, account: Account, new: str, *, must_change: bool = False) -> None:
    """Set the password of an account; all its sessions end."""
    passwords.check(new, account.name, account.email or "", field="new")
    if await house.hasher.verify(account.password, new):
        raise BadInput(
            "the new password is the old one", details={"errors": [{"field": "new", "message": "unchanged"}]}
        )
    hash = await house.hasher.make(new)
    await ctx.audit("identity.password_changed", user=account.name)
    await house.store.write(
        lambda tx: tx.execute(
            "UPDATE identity__accounts SET password = ?, must_change = ?, version = version + 1 WHERE name = ?",
            [hash, must_change, account.name],
        )
    )
    await end_sessions(ctx, house, account.name)


async def end_sessions(ctx: Context, house: House, name: str) -> int:
    """End every session of an account, and what was set going in them; return how many there were."""
    await ctx.audit("identity.sessions_revoked", user=name)
    ended = await house.store.write(lambda tx: sessions.end_all(tx, name, REVOKED))
    for id in ended:
        house.directory.forget(session=id)
    house.directory.forget(account=name)
    await changed(ctx, "sessions", user=name)
    return len(ended)
