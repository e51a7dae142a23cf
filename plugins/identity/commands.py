"""The verbs `aether users ...` and `aether tokens ...`; a password is typed, or read from standard input, never given
on the command line, where other users of the machine could read it."""

from __future__ import annotations

import asyncio
import getpass
import sys
from typing import Any
from urllib.parse import quote

from kernel import BadInput, Plugin, Terminal


def add(p: Plugin) -> None:
    """Collect the verbs on `p`."""
    p.command("users list")(list_users)
    p.command("users add")(add_user)
    p.command("users roles")(set_roles)
    p.command("users disable")(disable)
    p.command("users enable")(enable)
    p.command("users password")(set_password)
    p.command("users logout")(logout)
    p.command("users remove")(remove)
    p.command("tokens list")(list_tokens)
    p.command("tokens create")(create_token)
    p.command("tokens revoke")(revoke_token)
    p.command("tokens keys")(replace_keys)


# Users -------------------------------------------------------------------------------------------------------------


async def list_users(terminal: Terminal) -> None:
    """List the accounts of the hub."""
    found = await _all(terminal, "/api/users", "users")
    if terminal.json:
        terminal.print(found)
        return
    rows = ((u["name"], ", ".join(u["roles"]), "" if u["is_active"] else "disabled", u["last_login"]) for u in found)
    terminal.table(["user", "roles", "state", "last login"], rows)


async def add_user(
    terminal: Terminal, name: str, roles: list[str] | None = None, email: str | None = None, stdin: bool = False
) -> None:
    """Make the account NAME; its password is asked for, or read from standard input (--stdin).

    --roles may be given several times: `admin`, `user`, or a role that your policy files name; without it, `user`.
    """
    asked: dict[str, Any] = {"name": name, "roles": roles or ["user"], "password": await _password(stdin)}
    if email is not None:
        asked["email"] = email
    made = await terminal.request("POST", "/api/users", json=asked)
    terminal.print(made if terminal.json else f"user:{made['name']}  {', '.join(made['roles'])}")


async def set_roles(terminal: Terminal, name: str, roles: list[str]) -> None:
    """Give the account NAME these roles and no others; what it loses, it loses at once."""
    await _changed(terminal, name, {"roles": roles})


async def disable(terminal: Terminal, name: str) -> None:
    """Let the account NAME be used no more, at once; its data stays."""
    await _changed(terminal, name, {"active": False})


async def enable(terminal: Terminal, name: str) -> None:
    """Let the account NAME be used again."""
    await _changed(terminal, name, {"active": True})


async def set_password(terminal: Terminal, name: str, stdin: bool = False) -> None:
    """Set the password of the account NAME, typed or read from standard input; all its sessions end."""
    await terminal.request("POST", f"/api/users/{_quoted(name)}/password", json={"new": await _password(stdin)})
    terminal.print({"name": name} if terminal.json else f"user:{name}: password set, sessions ended")


async def logout(terminal: Terminal, name: str) -> None:
    """End every session of the account NAME, and what was set going in them."""
    answer = await terminal.request("POST", f"/api/users/{_quoted(name)}/logout")
    terminal.print(answer if terminal.json else f"user:{name}: {answer['ended']} sessions ended")


async def remove(terminal: Terminal, name: str) -> None:
    """Remove the account NAME: its sessions and tokens end. The name is never given to somebody else."""
    await terminal.request("DELETE", f"/api/users/{_quoted(name)}")
    terminal.print({"name": name} if terminal.json else f"user:{name}: removed")


# Tokens ------------------------------------------------------------------------------------------------------------


async def list_tokens(terminal: Terminal) -> None:
    """List the service tokens of the hub; their secrets are not kept, and so not shown."""
    found = await _all(terminal, "/api/tokens", "tokens")
    if terminal.json:
        terminal.print(found)
        return
    head = ["token", "acts as", "state", "expires", "last used", "scopes"]
    rows = (
        (
            t["name"],
            f"user:{t['user']}" if t["user"] else f"token:{t['name']}",
            t["state"],
            t["expires_at"] or "never",
            t["last_used"],
            ", ".join(t["scopes"]),
        )
        for t in found
    )
    terminal.table(head, rows)


async def create_token(
    terminal: Terminal,
    name: str,
    scope: list[str] | None = None,
    user: str | None = None,
    days: float = 90.0,
    never: bool = False,
) -> None:
    """Make the service token NAME and print its secret, once. --scope may be given several times.

    With --user it acts as that account, narrowed to the scopes; else it is `token:NAME`, and the policy files say what
    that may do. It holds for --days; --never: until it is revoked.
    """
    asked: dict[str, Any] = {"name": name, "scopes": scope or [], "expires_days": None if never else days}
    if user is not None:
        asked["user"] = user
    made = await terminal.request("POST", "/api/tokens", json=asked)
    if terminal.json:
        terminal.print(made)
        return
    who = f"user:{made['user']}" if made["user"] else f"token:{made['name']}"
    terminal.print(f"{made['name']} acts as {who}, until {made['expires_at'] or 'it is revoked'}")
    terminal.print("Its secret, which is shown this once:")
    terminal.print(made["secret"])


async def revoke_token(terminal: Terminal, name: str) -> None:
    """Revoke the service token NAME, at once."""
    answer = await terminal.request("DELETE", f"/api/tokens/{_quoted(name)}")
    terminal.print(answer if terminal.json else f"{name}: {answer['state']}")


async def replace_keys(terminal: Terminal) -> None:
    """Replace the keys that sign access tokens: all of those end; sessions go on with their refresh tokens."""
    answer = await terminal.request("POST", "/api/tokens/keys")
    terminal.print(answer if terminal.json else f"access tokens are signed by {answer['kid']} from now on")


# What the verbs share ----------------------------------------------------------------------------------------------


async def _all(terminal: Terminal, path: str, field: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: str | None = ""
    while after is not None:
        page = await terminal.request("GET", f"{path}?limit=500&after={_quoted(after)}")
        found += page[field]
        after = page["next"]
    return found


async def _changed(terminal: Terminal, name: str, changes: dict[str, Any]) -> None:
    user = await terminal.request("PATCH", f"/api/users/{_quoted(name)}", json=changes)
    state = "" if user["is_active"] else "  disabled"
    terminal.print(user if terminal.json else f"user:{user['name']}  {', '.join(user['roles']) or 'no roles'}{state}")


async def _password(stdin: bool) -> str:
    if stdin:
        line: str = await asyncio.to_thread(sys.stdin.readline)
        return line.rstrip("\r\n")
    if not sys.stdin.isatty():
        raise BadInput("there is no terminal to type a password at; give it on standard input with --stdin")
    first: str = await asyncio.to_thread(getpass.getpass, "Password: ")
    if await asyncio.to_thread(getpass.getpass, "Once more: ") != first:
        raise BadInput("the two passwords are not the same")
    return first


def _quoted(text: str) -> str:
    return quote(text, safe="")
