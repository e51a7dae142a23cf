"""The verbs `aether schedule list|show|add|install|enable|disable|remove`: thin calls to the hub."""

from __future__ import annotations

from typing import Any

from kernel import Plugin, Terminal

PATH = "/api/schedules"


def add(p: Plugin) -> None:
    """Collect the verbs on `p`."""
    p.command("schedule list")(list_schedules)
    p.command("schedule show")(show)
    p.command("schedule add")(add_schedule)
    p.command("schedule install")(install)
    p.command("schedule enable")(enable)
    p.command("schedule disable")(disable)
    p.command("schedule remove")(remove)


async def list_schedules(terminal: Terminal, script: str = "", limit: int = 50) -> None:
    """List schedules and resident scripts, newest first."""
    query = f"?limit={limit}" + (f"&script={script}" if script else "")
    answer = await terminal.request("GET", PATH + query)
    if terminal.json:
        terminal.print(answer)
        return
    head = ("id", "script", "entry", "schedule", "next", "runs", "skipped", "missed", "owner", "trouble")
    terminal.table(head, [_line(one) for one in answer["schedules"]])


async def show(terminal: Terminal, id: str) -> None:
    """Show the schedule ID, all that is known of it."""
    one = await terminal.request("GET", f"{PATH}/{id}")
    if terminal.json:
        terminal.print(one)
        return
    for name, value in one.items():
        if value is not None:
            terminal.print(f"{name.replace('_', ' ')}: {value}")


async def add_schedule(
    terminal: Terminal,
    script: str,
    schedule: str,
    tz: str = "UTC",
    entry: str = "",
    param: dict[str, Any] | None = None,
) -> None:
    """Run SCRIPT whenever SCHEDULE is due: `every 30 minutes`, `daily at 06:00`, `0 6 * * 1-5`.

    --tz is the zone its times are read in, --entry a function or handler of the script.
    """
    asked = {"script": script, "schedule": schedule, "tz": tz, "parameters": param or {}}
    made = await terminal.request("POST", PATH, json=asked | ({"entry": entry} if entry else {}))
    terminal.print(made if terminal.json else f"{made['id']}  {made['script']}  next {made['next_due']}")


async def install(terminal: Terminal, script: str, param: dict[str, Any] | None = None) -> None:
    """Make SCRIPT resident: its timers, schedules, event handlers and conditions are live until it is removed."""
    made = await terminal.request("POST", PATH, json={"script": script, "resident": True, "parameters": param or {}})
    terminal.print(made if terminal.json else f"{made['id']}  {made['script']}  resident")


async def enable(terminal: Terminal, id: str) -> None:
    """Enable the schedule ID again; what has passed meanwhile is not caught up."""
    await _switch(terminal, id, "enable")


async def disable(terminal: Terminal, id: str) -> None:
    """Disable the schedule ID."""
    await _switch(terminal, id, "disable")


async def remove(terminal: Terminal, id: str) -> None:
    """Remove the schedule ID, and what it registers where it is a resident script."""
    gone = await terminal.request("DELETE", f"{PATH}/{id}")
    terminal.print(gone if terminal.json else f"{id} removed")


async def _switch(terminal: Terminal, id: str, how: str) -> None:
    one = await terminal.request("POST", f"{PATH}/{id}/{how}")
    state = f"next {one['next_due']}" if one["enabled"] else "disabled"
    terminal.print(one if terminal.json else f"{id}  {state}")


def _line(one: dict[str, Any]) -> tuple[Any, ...]:
    if one["resident"] is None and one["kind"] == "resident":
        when: Any = "resident"
    else:
        when = one["written"]
    due = one["next_due"] if one["enabled"] else f"off{': ' + one['reason'] if one['reason'] else ''}"
    trouble = one["failure"] or one["skip_reason"]
    counts = (one["runs"], one["skipped"], one["missed"])
    return (one["id"], one["script"], one["entry"], when, due, *counts, one["owner"], trouble)
