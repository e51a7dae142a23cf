"""`aether events`: what happens in the running hub, followed over its restarts, and what a person lets happen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import click

if TYPE_CHECKING:
    from hub.console import HubTerminal

AGAIN_S, AGAIN_MOST_S = 0.1, 2.0
"""How long a hub that went away is waited for before it is tried again, the first time and at most."""

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C has ended."""

AWAY = frozenset({"HUB_NOT_RUNNING", "STARTING", "SHUTTING_DOWN", "SLOW_CONSUMER"})
"""Errors after which a stream is taken up again."""

Options = Callable[[Any], Any]
Talk = Callable[[click.Context, "Path | None", bool, Callable[["HubTerminal"], Any]], None]


def events_group(home_and_json: Options, talk: Talk) -> click.Group:
    """Return the verb `aether events`; `home_and_json` adds a hub's options, and `talk` speaks to that hub."""

    @click.group("events", invoke_without_command=True)
    @click.option("--topics", help="Topic patterns, separated by commas; # (every topic) if none.")
    @home_and_json
    @click.pass_context
    def events(ctx: click.Context, topics: str | None, home: Path | None, as_json: bool) -> None:
        """Follow the events of the running hub, and publish one. Alone, it follows them all."""
        if ctx.invoked_subcommand is None:
            patterns = [part.strip() for part in (topics or "").split(",") if part.strip()]
            _follow(talk, ctx, home, as_json, patterns)
        elif topics is not None:
            raise click.UsageError(f"--topics is for `aether events` alone; {ctx.invoked_subcommand} takes arguments")

    events.add_command(_tail(home_and_json, talk))
    events.add_command(_emit(home_and_json, talk))
    return events


def _tail(home_and_json: Options, talk: Talk) -> click.Command:
    @click.command("tail")
    @click.argument("patterns", nargs=-1, metavar="[PATTERN...]")
    @click.option("--since", metavar="SEQ|SPAN", help="Begin after this number, or a span ago such as 10m, 2h or 1d.")
    @click.option("--count", type=click.IntRange(1), help="Stop after so many events.")
    @home_and_json
    @click.pass_context
    def tail(
        ctx: click.Context,
        patterns: Sequence[str],
        since: str | None,
        count: int | None,
        home: Path | None,
        as_json: bool,
    ) -> None:
        """Print events as they happen, until interrupted: those that fit a PATTERN (* one word, # the rest), or all.

        When the hub restarts, it is waited for, and what happened meanwhile is printed as well, as far as it is kept.
        """
        _follow(talk, *_of_group(ctx, home, as_json), patterns, since, count)

    return tail


def _emit(home_and_json: Options, talk: Talk) -> click.Command:
    @click.command("emit")
    @click.argument("topic")
    @click.argument("data", metavar="[JSON]", required=False)
    @click.option("--key", help="An Idempotency-Key: repeated with the same one, it is published once.")
    @home_and_json
    @click.pass_context
    def emit(
        ctx: click.Context, topic: str, data: str | None, key: str | None, home: Path | None, as_json: bool
    ) -> None:
        """Publish an event on TOPIC, with JSON as its data."""
        body = {"topic": topic, "data": _json(data)}
        headers = {"Idempotency-Key": key} if key is not None else {}

        async def post(terminal: HubTerminal) -> None:
            answer = await terminal.request("POST", "/api/events", json=body, headers=headers)
            kept = "kept" if answer["durable"] else "not kept"
            terminal.print(answer if terminal.json else f"{answer['seq']}  {answer['topic']}  ({kept})")

        talk(*_of_group(ctx, home, as_json), post)

    return emit


def _follow(
    talk: Talk,
    ctx: click.Context,
    home: Path | None,
    as_json: bool,
    patterns: Sequence[str],
    since: str | None = None,
    count: int | None = None,
) -> None:
    try:
        talk(ctx, home, as_json, lambda terminal: follow(terminal, patterns or ["#"], since, count))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _of_group(ctx: click.Context, home: Path | None, as_json: bool) -> tuple[click.Context, Path | None, bool]:
    """Return the context whose parent has a hub's options, and the options of a verb or else of its group."""
    assert ctx.parent is not None
    given = ctx.parent.params
    return ctx.parent, home or given.get("home"), as_json or bool(given.get("as_json"))


def _json(text: str | None) -> Any:
    if text is None:
        return None
    import msgspec

    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        shown = msgspec.json.encode(text).decode()
        raise click.UsageError(f"the data of an event is JSON: {error}; a text is written as '{shown}'") from None


async def follow(terminal: HubTerminal, patterns: Sequence[str], since: str | None, count: int | None) -> None:
    """Print events of the running hub, and of the one that takes its place when it restarts."""
    from kernel import AetherraError

    place = since
    if place is None:
        # Without a number to begin from, what happens between a hub's end and its restart could not be asked for.
        place = str((await terminal.request("GET", "/api/keb/status"))["position"])
    delay, away = AGAIN_S, False

    def opened() -> None:
        nonlocal delay, away
        if away:
            click.echo(f"aether: the hub is back; going on after event {place}", err=True)
        delay, away = AGAIN_S, False

    while True:
        path = f"/api/events?{urlencode({'topics': ','.join(patterns), 'since': place})}"
        try:
            async for event in terminal.stream(path, on_open=opened):
                show(terminal, event)
                if "seq" not in event:
                    continue
                place = str(event["seq"])
                count = None if count is None else count - 1
                if count == 0:
                    return
        except AetherraError as error:
            if error.code not in AWAY:
                raise
        if not away:
            click.echo(f"aether: the stream ended; waiting for the hub, to go on after event {place}", err=True)
        away = True
        await asyncio.sleep(delay)
        delay = min(2 * delay, AGAIN_MOST_S)


def show(terminal: HubTerminal, event: Mapping[str, Any]) -> None:
    """Print an event, or word of a gap."""
    import msgspec

    if terminal.json:
        terminal.print(event)
    elif "seq" in event:
        terminal.print(f"{event['time']}  {event['topic']}  {msgspec.json.encode(event['data']).decode()}")
    else:
        click.echo(f"aether: {event.get('message', 'some events are missing')}", err=True)
