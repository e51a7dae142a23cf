"""Accounts and service tokens, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Protocol

import msgspec

from kernel import Conflict, Context, NotFound, Plugin, StorageFull

Limit = Annotated[int, msgspec.Meta(ge=1, le=500)]
Name = Annotated[str, msgspec.Meta(max_length=80)]
Secret = Annotated[str, msgspec.Meta(max_length=1_024)]
Roles = Annotated[list[Name], msgspec.Meta(max_length=16)]
Scopes = Annotated[list[Annotated[str, msgspec.Meta(max_length=200)]], msgspec.Meta(max_length=64)]
Days = Annotated[float, msgspec.Meta(gt=0, le=3_650)]


class Users(Protocol):
    """What this dialect asks of the accounts."""

    async def list(self, limit: int, after: str) -> dict[str, Any]:
        """Return a page."""

    async def find(self, name: str) -> dict[str, Any]:
        """Return one."""

    async def create(self, name: str, password: str, email: str | None, roles: Sequence[str]) -> dict[str, Any]:
        """Make one."""

    async def change(self, name: str, roles: Sequence[str] | None, active: bool | None) -> dict[str, Any]:
        """Change one."""

    async def remove(self, name: str) -> None:
        """Remove one."""

    async def reset_password(self, name: str, new: str) -> None:
        """Set a password."""

    async def end_sessions(self, name: str) -> int:
        """End the sessions of one."""


class Tokens(Protocol):
    """What this dialect asks of the service tokens."""

    async def list(self, limit: int, after: str) -> dict[str, Any]:
        """Return a page."""

    async def create(
        self, name: str, scopes: Sequence[str], user: str | None, expires_days: float | None
    ) -> dict[str, Any]:
        """Make one."""

    async def revoke(self, name: str) -> dict[str, Any]:
        """Revoke one."""

    async def replace_keys(self) -> str:
        """Replace the keys of access tokens."""


class User(msgspec.Struct):
    """An account as an administrator sees it; to the policy it is `user:NAME`, with `role:` and each of its roles."""

    name: str
    id: str
    username: str
    email: str | None
    roles: list[str]
    is_active: bool
    is_admin: bool
    created_at: str
    last_login: str | None


class UserList(msgspec.Struct):
    """A page of accounts by name; `next` is the `after` of the next page."""

    users: list[User]
    count: int
    next: str | None


class Token(msgspec.Struct):
    """A service token: it acts as `user`, narrowed to its scopes, or as `token:NAME`. `expires_at` null: never."""

    name: str
    user: str | None
    scopes: list[str]
    created_by: str
    created_at: str
    expires_at: str | None
    last_used: str | None
    state: Literal["holds", "revoked", "expired"]


class NewToken(Token, kw_only=True):
    """A token that was made; its secret is told here and never again."""

    secret: str


class TokenList(msgspec.Struct):
    """A page of service tokens by name; `next` is the `after` of the next page."""

    tokens: list[Token]
    count: int
    next: str | None


class Ended(msgspec.Struct):
    """How many sessions ended."""

    ended: int


class Key(msgspec.Struct):
    """The key that signs access tokens from now on."""

    kid: str


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("users")(Users)
    p.uses("tokens")(Tokens)
    changes: dict[str, Any] = {"needs": "user:manage", "effect": "irreversible"}
    p.get("/api/users", needs="user:read", raises=())(list_users)
    p.get("/api/users/{name}", needs="user:read", raises=(NotFound,))(show_user)
    p.post("/api/users", status=201, raises=(StorageFull,), **changes)(create_user)
    p.patch("/api/users/{name}", raises=(NotFound, Conflict, StorageFull), **changes)(change_user)
    p.delete("/api/users/{name}", status=204, raises=(NotFound, Conflict, StorageFull), **changes)(remove_user)
    p.post("/api/users/{name}/password", status=204, raises=(NotFound, StorageFull), **changes)(reset_password)
    p.post("/api/users/{name}/logout", raises=(NotFound, StorageFull), **changes)(end_sessions)
    orders: dict[str, Any] = {"needs": "token:manage", "effect": "irreversible"}
    p.get("/api/tokens", needs="user:read", raises=())(list_tokens)
    p.post("/api/tokens", status=201, raises=(NotFound, Conflict, StorageFull), **orders)(create_token)
    p.delete("/api/tokens/{name}", raises=(NotFound, StorageFull), **orders)(revoke_token)
    p.post("/api/tokens/keys", raises=(), **orders)(replace_keys)


async def list_users(ctx: Context, limit: Limit = 100, after: Name = "") -> UserList:
    """List accounts by name."""
    page = await ctx.service("users", Users).list(limit=limit, after=after)
    users = msgspec.convert(page["users"], list[User])
    return UserList(users, len(users), page["next"])


async def show_user(ctx: Context, name: Name) -> User:
    """Return one account."""
    return msgspec.convert(await ctx.service("users", Users).find(name=name), User)


async def create_user(
    ctx: Context,
    name: Name,
    password: Secret,
    email: Secret | None = None,
    roles: Roles = ["user"],  # noqa: B006 - copied
) -> User:
    """Make an account. Roles are words that the policy files name; `admin` and `user` are those that ship."""
    made = await ctx.service("users", Users).create(name=name, password=password, email=email, roles=roles)
    return msgspec.convert(made, User)


async def change_user(ctx: Context, name: Name, roles: Roles | None = None, active: bool | None = None) -> User:
    """Change an account's roles, or whether it may be used; what it loses, it loses at once, wherever it is in use."""
    return msgspec.convert(await ctx.service("users", Users).change(name=name, roles=roles, active=active), User)


async def remove_user(ctx: Context, name: Name) -> None:
    """Remove an account: its sessions and tokens end, and its name is never given to somebody else."""
    await ctx.service("users", Users).remove(name=name)


async def reset_password(ctx: Context, name: Name, new: Secret) -> None:
    """Set the password of an account; all its sessions end."""
    await ctx.service("users", Users).reset_password(name=name, new=new)


async def end_sessions(ctx: Context, name: Name) -> Ended:
    """End every session of an account, and what was set going in them."""
    return Ended(await ctx.service("users", Users).end_sessions(name=name))


async def list_tokens(ctx: Context, limit: Limit = 100, after: Name = "") -> TokenList:
    """List service tokens by name, those that are over as well; never a secret."""
    page = await ctx.service("tokens", Tokens).list(limit=limit, after=after)
    tokens = msgspec.convert(page["tokens"], list[Token])
    return TokenList(tokens, len(tokens), page["next"])


async def create_token(
    ctx: Context, name: Name, scopes: Scopes, user: Name | None = None, expires_days: Days | None = 90.0
) -> NewToken:
    """Make a service token. `scopes` are rights as policy files write them; `expires_days` null: it never ends."""
    made = await ctx.service("tokens", Tokens).create(name=name, scopes=scopes, user=user, expires_days=expires_days)
    return msgspec.convert(made, NewToken)


async def revoke_token(ctx: Context, name: Name) -> Token:
    """Revoke a service token: from now on it proves nobody, and what was set going with it may do nothing more."""
    return msgspec.convert(await ctx.service("tokens", Tokens).revoke(name=name), Token)


async def replace_keys(ctx: Context) -> Key:
    """Replace the keys of access tokens at once: all of them end. Sessions go on with their refresh tokens."""
    return Key(await ctx.service("tokens", Tokens).replace_keys())
