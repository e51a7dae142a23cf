"""What the hub keeps and for how long, for whoever wants to know; and telemetry, which is kept here when it is wanted.

Nothing is sent anywhere: telemetry is what clients give to this hub.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from kernel import Context, Denied, Plugin, StorageError, TooLarge

RECEIVED = "aetherra_telemetry_received_total"
TOPIC = "telemetry.received"
OPT_IN = "plugins.hub_api.telemetry_opt_in"
PRIVACY = "/api/policy/privacy"
TEXT = "text/plain; charset=utf-8"

EventType = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.:-]+$")]


class Settings(msgspec.Struct, frozen=True):
    """`[plugins.hub_api]`."""

    telemetry_opt_in: bool = False
    """Keep what clients send to `/api/telemetry`, on this machine; until then it is refused."""
    disclosure_url: Annotated[str, msgspec.Meta(pattern=r"^(https?://\S+)?$")] = ""
    """Where your own words about privacy are; without it, this hub's own (`/api/policy/privacy`)."""


class Disclosure(msgspec.Struct):
    """Whether telemetry is taken, how many days events are kept at most, and where more is said.

    `disclosure_url` is an address of the operator's, or a path of this hub.
    """

    telemetry_opt_in: bool
    data_retention_days: int | float
    disclosure_url: str


class Taken(msgspec.Struct):
    """The event is committed."""

    received: bool


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.settings(Settings)
    p.counter(RECEIVED, "Events of telemetry that clients gave to this hub, and that it keeps")
    p.get("/api/policy/disclosure", needs="health:read", documented=True, public=True, raises=())(disclosure)
    p.get(PRIVACY, needs="policy:read", raises=(), produces=TEXT)(privacy)
    p.post(
        "/api/telemetry",
        needs="event:emit:own",
        effect="deferred",
        status=202,
        documented=True,
        raises=(Denied, TooLarge, StorageError),
    )(telemetry)


async def disclosure(ctx: Context) -> Disclosure:
    """Return what the hub keeps, in short."""
    settings: Settings = ctx.settings
    return Disclosure(settings.telemetry_opt_in, _days(ctx), settings.disclosure_url or PRIVACY)


async def privacy(ctx: Context) -> str:
    """Say what this hub keeps, where, for how long, and what leaves it."""
    taken = "kept as events" if ctx.settings.telemetry_opt_in else "refused, and nothing of it is kept"
    kept = {setting.key: setting.value for setting in ctx.config.effective()}
    ended = kept.get("plugins.executions.keep_days")
    lines = [
        "What this hub keeps, it keeps in its data folder on the machine it runs on. It sends nothing anywhere.",
        "",
        f"- Durable events: {_days(ctx)} days at most, and the newest {kept['events.kept']} ([store], [events]).",
        f"- Telemetry of clients: {taken} ([plugins.hub_api] telemetry_opt_in).",
        "- Memories and goals: until their owner deletes them.",
    ]
    if ended is not None:
        lines.append(
            f"- Jobs, with their arguments, results and history: {ended} days after their end "
            "([plugins.executions] keep_days)."
        )
    session = kept.get("plugins.identity.session_days")
    if session is not None:
        lines.append(
            "- Accounts: name, address, roles, the hash of the password and the last log-in, until they are removed; "
            f"sessions, {session} days after their last use ([plugins.identity] session_days)."
        )
    records = kept.get("plugins.audit.records_kept")
    if records is not None:
        lines.append(
            "- The audit: who was refused what, who used a grave right, who logged in from which address, and changes "
            f"of policy and plugins: the newest {records} records ([plugins.audit] records_kept)."
        )
    lines.append("- Beyond that, addresses of clients, and which of them asked for what: not at all.")
    return "\n".join(lines) + "\n"


async def telemetry(ctx: Context, event_type: EventType, data: dict[str, Any] = {}) -> Taken:  # noqa: B006 - copied
    """Keep an event of a client's telemetry on this machine; refused unless the operator has opted in."""
    if not ctx.settings.telemetry_opt_in:
        raise Denied(
            f"this hub takes no telemetry; its operator can opt in with {OPT_IN} = true",
            code="TELEMETRY_OFF",
            details={"setting": OPT_IN},
        )
    await ctx.publish(TOPIC, {"event_type": event_type, "data": data})
    ctx.metric(RECEIVED).inc()
    return Taken(True)


def received(ctx: Context) -> int:
    """Return how many events of telemetry were taken since the start."""
    return int(ctx.metric(RECEIVED).value)


def _days(ctx: Context) -> int | float:
    days: float = ctx.config.store.retention_days
    return int(days) if days.is_integer() else days
