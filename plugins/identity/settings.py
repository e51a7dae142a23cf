"""`[plugins.identity]`: how accounts come about, how long what proves them lasts, and every bound."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Count = Annotated[int, msgspec.Meta(ge=1)]
Days = Annotated[float, msgspec.Meta(gt=0, le=3_650)]


class Settings(msgspec.Struct, frozen=True):
    """`[plugins.identity]`."""

    registration: Literal["closed", "local", "open"] = "local"
    """Who may register an account: nobody, whoever reaches the hub from this machine, or whoever reaches it."""
    admin_user: str = ""
    """The first administrator, made at the start when there is none of that name (AETHERRA_ADMIN_USER)."""
    admin_password: str = ""
    """The password it is made with (AETHERRA_ADMIN_PASSWORD)."""
    ai_api_token: str = ""
    """A static token for the AI API (AETHERRA_AI_API_TOKEN): its bearer is `token:ai-api`, with the scope `ai:*`."""
    agents_api_token: str = ""
    """A static token for the agents API (AETHERRA_AGENTS_API_TOKEN): its bearer is `token:agents-api`, `agent:*`."""

    access_minutes: Annotated[float, msgspec.Meta(gt=0, le=1_440)] = 30.0
    """How long an access token lasts."""
    session_days: Days = 30.0
    """How long a session lasts when it is not used: its refresh token is renewed by each use."""
    rotation_days: Days = 30.0
    """How long a key signs new access tokens; the one before it still verifies those it signed."""

    accounts: Count = 100_000
    """Accounts, those of removed users included: their names are never given to somebody else."""
    sessions_per_account: Count = 50
    """Sessions of one account; one more ends the one that was not used for the longest time."""
    tokens: Count = 10_000
    """Service tokens, those that are over included: what they did stays under their names."""
    cached: Count = 4_096
    """Verified tokens, accounts, sessions and tickets that are held in memory, of each so many."""

    login_failures: Count = 10
    """Failures to log in, of one account from one address, within `login_window_s`; beyond it the answer is 429."""
    login_failures_per_address: Count = 100
    """The same, of all accounts from one address."""
    login_window_s: Annotated[float, msgspec.Meta(gt=0)] = 600.0
    """How long a failure to log in counts."""
    hashes: Count = 2
    """Passwords that are hashed at the same time; each takes 19 MiB of memory."""
    hashes_waiting: Count = 16
    """Log-ins that wait for that; beyond it the answer is 429."""
