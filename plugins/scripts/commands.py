"""The verbs `aether run`, `check`, `jobs` and `cancel`: thin calls to the hub, but for `check`, which needs none."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec

import aether_lang
from kernel import BadInput, Plugin, ServiceUnavailable, Terminal

STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "pending": "dim"}


def add(p: Plugin) -> None:
    """Collect the verbs on `p`."""
    p.command("run")(run)
    p.command("check")(check)
    p.command("jobs")(jobs)
    p.command("cancel")(cancel)


async def run(
    terminal: Terminal, script: str, watch: bool = False, param: dict[str, Any] | None = None, priority: str = "normal"
) -> int | None:
    """Run a script: a file, whose text is sent, or a name of the hub's library.

    --param k=v gives it a parameter (JSON where it is JSON, else text); --watch shows its log and result as they come.
    """
    asked: dict[str, Any] = {"parameters": param or {}, "priority": priority}
    asked |= await asyncio.to_thread(_named, script)
    job = await terminal.request("POST", "/api/scripts/run", json=asked)
    if not watch:
        terminal.print(job if terminal.json else f"{job['job_id']}  {job['status']}  {job['script']}")
        return None
    with _Progress(terminal) as progress:
        async for event in terminal.stream(f"/api/jobs/{job['job_id']}/events"):
            progress.note(event)
            _show(terminal, event)
    ended = await terminal.request("GET", f"/api/jobs/{job['job_id']}")
    _show_end(terminal, ended)
    return 0 if ended["status"] == "completed" else 1


async def check(
    terminal: Terminal, files: list[str], capabilities: bool = False, as_: str = "user:local"
) -> int | None:
    """Check scripts without running them; the exit status is 1 when one has an error.

    --capabilities lists what each can reach, and what the policy of the running hub says of that for --as.
    """
    broken = False
    for name in files:
        found = await asyncio.to_thread(_checked, name)
        wrong = any(not finding.is_warning for finding in found)
        broken = broken or wrong
        reach = await _reach(terminal, Path(name), as_) if capabilities and not wrong else None
        if terminal.json:
            shown: dict[str, Any] = {"file": name, "diagnostics": [msgspec.to_builtins(finding) for finding in found]}
            terminal.print(shown if reach is None else {**shown, "principal": as_, "reach": reach})
            continue
        for finding in found:
            terminal.console.print(finding.render(), markup=False, highlight=False, soft_wrap=True)
        if not found:
            terminal.print(f"{name}: ok")
        if reach is not None:
            _show_reach(terminal, reach, as_)
    return 1 if broken else None


async def _reach(terminal: Terminal, path: Path, principal: str) -> list[dict[str, Any]]:
    """Return what a script can reach; the answers are empty without a hub."""
    source = await asyncio.to_thread(_read, path)
    asked = {"source": source, "name": _name(path), "principal": principal}
    try:
        checked = await terminal.request("POST", "/api/scripts/check", json=asked)
    except ServiceUnavailable as error:
        if error.code != "HUB_NOT_RUNNING":
            raise
        words = aether_lang.capabilities(aether_lang.parse(source, path.name))
        return [{"capability": word, "answer": "", "reason": "", "source": ""} for word in words]
    return list(checked["reach"])


def _show_reach(terminal: Terminal, reach: list[dict[str, Any]], principal: str) -> None:
    if not reach:
        terminal.print("  it reaches nothing outside itself")
        return
    if not reach[0]["answer"]:
        terminal.print(f"  it can reach {', '.join(one['capability'] for one in reach)}")
        terminal.print("  no hub runs, so what the policy says is not known; ask: aether policy explain --offline")
        return
    rows = [
        (
            one["capability"],
            "depends on its object" if one["answer"] == "depends" else one["answer"],
            f"line {one['line']}" if one["certain"] else "perhaps",
            one["source"],
        )
        for one in reach
    ]
    terminal.table(("capability", f"for {principal}", "used", "decided by"), rows)
    for one in reach:
        if one["answer"] == "no":
            sure = "so the hub refuses to run it: " if one["certain"] else ""
            place = f" ({one['source']})" if one["source"] else ""
            terminal.print(f"{one['capability']}: {sure}{one['reason']}{place}")
            terminal.print(f"  to learn more: {one['hint']}")


async def jobs(terminal: Terminal, status: str = "", limit: int = 20) -> None:
    """List jobs, newest first."""
    query = f"?limit={limit}" + (f"&status={status}" if status else "")
    answer = await terminal.request("GET", f"/api/jobs{query}")
    if terminal.json:
        terminal.print(answer)
        return
    from rich.text import Text

    rows = []
    for job in answer["jobs"]:
        took = "" if job["duration_s"] is None else f"{job['duration_s']:.2f} s"
        status_text = Text(job["status"], STYLES.get(job["status"], ""))
        rows.append((job["job_id"], status_text, took, job["script"], (job["error"] or {}).get("message")))
    terminal.table(("job", "status", "took", "script", "error"), rows)


async def cancel(terminal: Terminal, id: str) -> None:
    """Cancel the job ID."""
    answer = await terminal.request("POST", f"/api/cancel/{id}")
    terminal.print(answer if terminal.json else answer["message"])


def _checked(name: str) -> list[aether_lang.Diagnostic]:
    return aether_lang.check(_read(Path(name)), name)


def _named(script: str) -> dict[str, Any]:
    path = Path(script)
    return {"source": _read(path), "name": _name(path)} if path.is_file() else {"name": script}


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: byte {error.start + 1} cannot be read") from None


def _name(path: Path) -> str:
    """Return a name that the hub takes, as near to the file's as can be."""
    return re.sub(r"[^A-Za-z0-9_.-]", "_", path.name)[-100:].lstrip(".") or "script"


class _Progress:
    """The last line of a terminal while a job goes on: its state, for how long, and how much it has said."""

    def __init__(self, terminal: Terminal) -> None:
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        quiet = terminal.json or not terminal.console.is_terminal
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._bar = Progress(*columns, console=terminal.console, transient=True, disable=quiet)
        self._task = self._bar.add_task("waiting", total=None, said="")
        self._said = 0

    def note(self, event: dict[str, Any]) -> None:
        """Follow the job's life."""
        topic = event.get("topic", "")
        self._said += topic in ("job.log", "job.output")
        self._bar.update(
            self._task,
            description="running" if topic == "job.started" else None,
            said=f"lines: {self._said}" if self._said else "",
        )

    def __enter__(self) -> _Progress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()


def _show(terminal: Terminal, event: dict[str, Any]) -> None:
    from rich.text import Text

    data, topic = event.get("data") or {}, event.get("topic", "")
    if terminal.json:
        terminal.print(event)
    elif topic == "job.output":
        terminal.print(Text(data.get("text", "")))
    elif topic == "job.log":
        place = f" ({data['file']}:{data['line']})" if data.get("line") else ""
        style = {"error": "red", "warning": "yellow"}.get(data.get("level", ""), "dim")
        terminal.print(Text(f"{data.get('level', 'info')}: {data.get('message', '')}{place}", style))
    elif topic == "job.metrics":
        terminal.print(f"metrics: {msgspec.json.encode(data.get('values')).decode()}")
    elif topic == "job.started":
        terminal.print(Text(f"started {data.get('name', '')}", "cyan"))


def _show_end(terminal: Terminal, job: dict[str, Any]) -> None:
    if terminal.json:
        terminal.print(job)
        return
    took = "" if job["duration_s"] is None else f" in {job['duration_s']:.2f} s"
    terminal.console.print(f"{job['status']}{took}", style=STYLES.get(job["status"], ""), markup=False)
    if job["status"] == "completed":
        terminal.console.print_json(msgspec.json.encode(job["result"]).decode())
        return
    error = job["error"] or {}
    if error.get("diagnostics"):
        for finding in error["diagnostics"]:
            terminal.print(msgspec.convert(finding, aether_lang.Diagnostic).render())
        return
    place = f"{error['file']}:{error['line']}:{error.get('column') or 1}: " if error.get("line") else ""
    terminal.console.print(f"{place}{error.get('type', '')}: {error.get('message', '')}", style="red", markup=False)
    _show_denial(terminal, error.get("data"))


def _show_denial(terminal: Terminal, data: Any) -> None:
    """Print why the policy refused a right, and the command that tells more."""
    if not isinstance(data, dict) or not data.get("reason"):
        return
    source = f" ({data['source']})" if data.get("source") else ""
    terminal.print(f"{data.get('chain', '')} may not {data.get('capability', '')}: {data['reason']}{source}")
    if data.get("hint"):
        terminal.print(f"to learn more: {data['hint']}")
