"""Accounts and service tokens as an administrator sees and changes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from kernel import BadInput, Conflict, Context, iso, needs

from . import accounts, sessions, tokens
from .accounts import USER, Account
from .house import Inside, changed
from .login import end_sessions, make_account, profile, set_password
from .sessions import REVOKED, hashed, new_secret
from .tokens import PREFIX, Token


class Policy(Protocol):
    """What is asked of the policy: whether words for rights are known."""

    async def check_words(self, words: list[str]) -> list[dict[str, str]]:
        """Return what is wrong with each that is not."""


class Users(Inside):
    """The service `users`."""

    @needs("user:read")
    async def roles_of(self, ctx: Context, name: str) -> list[str]:
        """Return the roles of an account, without their prefix; none for one that is not there or not active."""
        account = self.house.directory.account(accounts.canonical(name))
        return [] if account is None else list(account.roles)

    @needs("user:read")
    async def administrators(self, ctx: Context) -> int:
        """Return how many accounts can administer the hub."""
        return accounts.administrators(self.house.store)

    @needs("user:read")
    async def list(self, ctx: Context, limit: int = 100, after: str = "") -> dict[str, Any]:
        """Return a page of accounts by name, `next` being the `after` of the next one."""
        rows = self.house.store.all(
            f"SELECT {accounts.COLUMNS} FROM identity__accounts WHERE removed_at IS NULL AND name > ? "  # noqa: S608
            "ORDER BY name LIMIT ?",
            [after, limit + 1],
        )
        found = [accounts.read(row) for row in rows]
        page = found[:limit]
        return {"users": [shown(a) for a in page], "next": page[-1].name if len(found) > limit else None}

    @needs("user:read")
    async def find(self, ctx: Context, name: str) -> dict[str, Any]:
        """Return one account; `NotFound`."""
        return shown(accounts.existing(self.house.store, name))

    @needs("user:manage")
    async def create(
        self, ctx: Context, name: str, password: str, email: str | None = None, roles: Sequence[str] = (USER,)
    ) -> dict[str, Any]:
        """Make an account."""
        wanted = accounts.check_roles(list(roles))
        return shown(await make_account(ctx, self.house, name, password, email, wanted))

    @needs("user:manage")
    async def change(
        self, ctx: Context, name: str, roles: Sequence[str] | None = None, active: bool | None = None
    ) -> dict[str, Any]:
        """Change the roles of an account, or whether it may be used; what it loses, it loses at once."""
        account = accounts.existing(self.house.store, name)
        changes = msgspec.structs.replace(
            account,
            roles=account.roles if roles is None else accounts.check_roles(list(roles)),
            active=account.active if active is None else active,
        )
        loses = not changes.active or not set(account.roles) <= set(changes.roles)
        if changes == account:
            return shown(account)
        await ctx.audit("identity.user_changed", user=account.name, roles=list(changes.roles), active=changes.active)
        await self._store(changes, account, loses)
        await changed(ctx, "account", user=account.name)
        return shown(accounts.existing(self.house.store, name))

    async def _store(self, changes: Account, before: Account, loses: bool) -> None:
        def store(tx: Any) -> None:
            tx.execute(
                "UPDATE identity__accounts SET roles = ?, active = ?, version = version + ? WHERE name = ?",
                [" ".join(changes.roles), changes.active, loses, changes.name],
            )
            if before.is_admin and before.active:
                _keep_one_administrator(tx, changes.name)

        await self.house.store.write(store)
        self.house.directory.forget(account=changes.name)

    @needs("user:manage")
    async def remove(self, ctx: Context, name: str) -> None:
        """Remove an account: its sessions and tokens end, its name stays taken, and what it stored stays its own."""
        account = accounts.existing(self.house.store, name)
        now = ctx.clock.now()
        await ctx.audit("identity.user_removed", user=account.name)

        def remove(tx: Any) -> tuple[list[str], list[str]]:
            tx.execute(
                "UPDATE identity__accounts SET removed_at = ?, active = 0, email = NULL, password = NULL, roles = '', "
                "version = version + 1 WHERE name = ?",
                [now, account.name],
            )
            if account.is_admin and account.active:
                _keep_one_administrator(tx, account.name)
            names = tx.all("SELECT name FROM identity__tokens WHERE account = ? AND revoked_at IS NULL", [account.name])
            for row in names:
                tokens.revoke(tx, row["name"], now)
            return sessions.end_all(tx, account.name, REVOKED), [row["name"] for row in names]

        ended, revoked = await self.house.store.write(remove)
        directory = self.house.directory
        directory.forget(account=account.name)
        for id in ended:
            directory.forget(session=id)
        for token in revoked:
            directory.forget(token=token)
        await changed(ctx, "account", user=account.name)

    @needs("user:manage")
    async def reset_password(self, ctx: Context, name: str, new: str) -> None:
        """Set the password of an account; all its sessions end."""
        account = accounts.existing(self.house.store, name)
        await set_password(ctx, self.house, account, new)

    @needs("user:manage")
    async def end_sessions(self, ctx: Context, name: str) -> int:
        """End every session of an account, and what was set going in them; return how many there were."""
        account = accounts.existing(self.house.store, name)
        await self.house.store.write(
            lambda tx: tx.execute("UPDATE identity__accounts SET version = version + 1 WHERE name = ?", [account.name])
        )
        return await end_sessions(ctx, self.house, account.name)


class Tokens(Inside):
    """The service `tokens`."""

    @needs("user:read")
    async def list(self, ctx: Context, limit: int = 100, after: str = "") -> dict[str, Any]:
        """Return a page of service tokens by name, those that are over as well; never a secret."""
        rows = self.house.store.all(
            f"SELECT {tokens.COLUMNS} FROM identity__tokens WHERE name > ? ORDER BY name LIMIT ?",  # noqa: S608
            [after, limit + 1],
        )
        found = [tokens.read(row) for row in rows]
        page, now = found[:limit], ctx.clock.now()
        return {
            "tokens": [self._shown(token, now) for token in page],
            "next": page[-1].name if len(found) > limit else None,
        }

    @needs("token:manage")
    async def create(
        self,
        ctx: Context,
        name: str,
        scopes: Sequence[str],
        user: str | None = None,
        expires_days: float | None = 90.0,
    ) -> dict[str, Any]:
        """Make a token and return it with its secret, which is told this once; without days it never ends."""
        tokens.check_name(name)
        wanted = tuple(dict.fromkeys(scopes))
        if not 0 < len(wanted) <= tokens.SCOPES:
            raise BadInput(
                f"a token has 1 to {tokens.SCOPES} scopes, such as script:run:ci/* or job:read:own; got {len(wanted)}",
                details={"field": "scopes"},
            )
        wrong = await ctx.service("policy", Policy).check_words(list(wanted))
        if wrong:
            raise BadInput(f"scopes: {wrong[0]['message']}", details={"field": "scopes", "wrong": wrong})
        account = None if user is None else accounts.existing(self.house.store, user).name
        now, secret = ctx.clock.now(), new_secret(PREFIX)
        until = None if expires_days is None else now + expires_days * 86_400
        token = Token(name, account, wanted, ctx.chain.caller.id, now, until, None, None)
        await ctx.audit("identity.token_created", token=name, user=account, scopes=list(wanted))
        await self.house.store.write(
            lambda tx: tokens.insert(tx, token, hashed(secret), now, self.house.settings.tokens)
        )
        self.house.directory.forget(token=name)
        return {**self._shown(token, now), "secret": secret}

    @needs("token:manage")
    async def revoke(self, ctx: Context, name: str) -> dict[str, Any]:
        """Revoke a token: from now on it proves nobody, and what was set going with it may do nothing more."""
        now = ctx.clock.now()
        await ctx.audit("identity.token_revoked", token=name[:64])
        token: Token = await self.house.store.write(lambda tx: tokens.revoke(tx, name, now))
        self.house.directory.forget(token=name)
        await changed(ctx, "token", token=name)
        return self._shown(token, now)

    @needs("token:manage")
    async def replace_keys(self, ctx: Context) -> str:
        """Make a new key for access tokens and drop the others: every access token ends; sessions can be refreshed."""
        await ctx.audit("identity.keys_replaced")
        kid = self.house.authentication.keys.replace(ctx.clock.now())
        self.house.authentication.forget()
        await changed(ctx, "keys")
        return kid

    def _shown(self, token: Token, now: float) -> dict[str, Any]:
        used_at = self.house.directory.used.get(token.name, token.used_at)
        return {
            "name": token.name,
            "user": token.account,
            "scopes": list(token.scopes),
            "created_by": token.created_by,
            "created_at": iso(token.created_at),
            "expires_at": None if token.expires_at is None else iso(token.expires_at),
            "last_used": None if used_at is None else iso(used_at),
            "state": "holds" if token.holds(now) else "revoked" if token.revoked_at else "expired",
        }


def shown(account: Account) -> dict[str, Any]:
    """Return what an administrator sees of an account."""
    return {**profile(account), "name": account.name, "roles": list(account.roles)}


def _keep_one_administrator(tx: Any, changed: str) -> None:
    # The console remains in any case; but a hub that others reach would have nobody who may administer it.
    if not accounts.administrators(tx):
        raise Conflict(
            f"{changed} is the only administrator; make another one first, or do this on the hub's own machine with "
            "a new one: aether users add NAME --roles admin"
        )
