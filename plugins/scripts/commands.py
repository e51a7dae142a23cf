"""The verbs `aether run`, `jobs`, `cancel` and `approve`: thin calls to the hub."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

import aether_lang
from kernel import BadInput, Plugin, Terminal

from .local import run_locally
from .names import readable
from .reading import text_of
from .rehearsal import rehearse

STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "pending": "dim"}


def add(p: Plugin) -> None:
    """Collect the verbs on `p`."""
    p.command("run")(run)
    p.command("jobs")(jobs)
    p.command("cancel")(cancel)
    p.command("approve")(approve)


async def run(
    terminal: Terminal,
    script: str,
    watch: bool = False,
    param: dict[str, Any] | None = None,
    priority: str = "normal",
    entry: str = "",
    command: str = "",
    local: bool = False,
    dry_run: bool = False,
    seed: int | None = None,
    record: str = "",
    replay: str = "",
    as_: str = "user:local",
) -> int | None:
    """Run a script: a file, whose text is sent, or a name of the hub's library.

    --param k=v gives it a parameter (JSON where it is JSON, else text); --watch shows its log and result as they come.
    --entry runs a function or handler of the script behind its top level, --command one of its commands.

    --local runs it here, without a hub: its effects go to mocks, its log to the standard error. --seed N makes chance
    repeatable; --record FILE keeps what the mocks answered, --replay FILE answers from there.
    --dry-run runs it on mocks too and lists every call in order with what the policy says of it for --as; the exit
    status is 1 when one is refused.
    """
    if local or dry_run:
        return await _here(
            terminal, script, param or {}, entry or command, seed, record, replay, principal=as_ if dry_run else ""
        )
    if seed is not None or record or replay:
        raise BadInput("--seed, --record and --replay belong to --local; a script in the hub says `policy: seed: N`")
    asked: dict[str, Any] = {"parameters": param or {}, "priority": priority}
    asked |= {key: word for key, word in (("entry", entry), ("command", command)) if word}
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


async def _here(
    terminal: Terminal,
    script: str,
    parameters: dict[str, Any],
    entry: str,
    seed: int | None,
    record: str,
    replay: str,
    *,
    principal: str,
) -> int:
    """Run without a hub; with a principal, only to see what the run would do."""
    if not principal:
        return await run_locally(
            terminal, script, parameters=parameters, entry=entry, seed=seed, record=record, replay=replay
        )
    if record or replay:
        raise BadInput("--record and --replay belong to --local")
    return await rehearse(terminal, script, parameters=parameters, entry=entry, seed=seed, principal=principal)


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


async def approve(terminal: Terminal, id: str, refuse: bool = False, question: str = "") -> None:
    """Answer yes to what the job ID waits for with `await approval`; with --refuse no."""
    body = {"approved": not refuse, **({"question": question} if question else {})}
    answer = await terminal.request("POST", f"/api/jobs/{id}/approve", body)
    said = "approved" if answer["approved"] else "refused"
    terminal.print(answer if terminal.json else f"{said}: {answer['text']}")


def _named(script: str) -> dict[str, Any]:
    path = Path(script)
    return {"source": text_of(path), "name": readable(path.name)} if path.is_file() else {"name": script}


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
