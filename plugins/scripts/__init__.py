"""Scripts: the library, the compiled forms, and the runner that executes them in workers of their own.

As a runner (`runner.script`) it starts and stops what the plugin `executions` has accepted; as the service `scripts` it
lists, checks and submits.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from kernel import BadInput, Conflict, Context, Plugin, Pool, ServiceUnavailable, needs

from . import checking, commands, explaining, formatting, repl, signing, trials
from .agreement import disagreements
from .compiled import Compiled, Compiler, compile_program, fingerprint, run_program
from .examination import look
from .faults import failure_of_source
from .foresight import behalf, reach, refuse_what_must_fail
from .library import Library, Root, Script
from .limits import SHIPPED, for_worker, limits_of
from .names import entered, inline_name
from .questions import decide
from .runs import Run, State, begin, on_behalf
from .signals import measured
from .trust import admit, admit_inline, findings, findings_inline

scripts = Plugin(
    "scripts",
    version="1.0.0",
    description="Aether scripts: found, checked, compiled once, and run in sealed workers.",
    category="system",
    requires={"executions": ">=1.0"},
    topics=["script", "intent", "ui"],
    migrations="migrations",
)

STYLE = "AS"
"""How the codes of notes on style begin; a run is not told of them."""
Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]

runs_total = scripts.counter("aetherra_script_runs_total", "Runs of scripts begun")
compiled_total = scripts.counter(
    "aetherra_script_compilations_total", "Sources asked for in compiled form, by where it was found", ["found"]
)
calls_total = scripts.counter("aetherra_script_host_calls_total", "Host calls of scripts that count")


@scripts.settings
class Settings(msgspec.Struct, frozen=True):
    """`[plugins.scripts]`."""

    workers: Count = 4
    """Processes that run scripts at a time."""
    compile_s: Seconds = 10.0
    """How long a source may take to compile."""
    look_ahead_s: Seconds = 5.0
    """How long a run waits, before it is accepted, to be looked through for rights that it surely lacks."""
    cache_memory_mb: Count = 32
    """Compiled scripts kept in memory."""
    cache_disk_mb: Count = 64
    """Compiled scripts kept under HOME/cache/scripts."""
    export_data_class: Literal["public", "internal", "confidential", "restricted"] = "restricted"
    """The highest class of data that scripts may send out of the hub; one that no script's `data_class` may pass."""


scripts.examination(look)


class House:
    """What this generation has of its own; made when it opens."""

    def __init__(self, ctx: Context, version: str) -> None:
        paths, settings = ctx.config.paths, ctx.settings
        named = [paths.scripts] if paths.scripts is not None else []
        own = [Root(path, bundled=False) for path in dict.fromkeys([*named, paths.home / "scripts"])]
        self.ctx = ctx
        self.library = Library([*own, Root(paths.bundled_scripts, bundled=True)], int(SHIPPED["source_kb"]))
        self.runners: Pool = ctx.workers.pool(run_program(version, settings.workers))
        compilers: Pool = ctx.workers.pool(compile_program(version))
        self.compiler = Compiler(
            compilers,
            Path(paths.home) / "cache" / "scripts",
            ctx.clock,
            version=version,
            memory_mb=settings.cache_memory_mb,
            disk_mb=settings.cache_disk_mb,
            compile_s=settings.compile_s,
            count=lambda found: ctx.metric(compiled_total).labels(found).inc(),
        )
        self.pools = (self.runners, compilers)
        for pool in self.pools:
            pool.warm_up()


houses: list[House] = []
runs: dict[str, Run] = {}
handed: dict[str, Any] = {}


def house() -> House:
    """Return what this generation has; `ServiceUnavailable` before it is open."""
    if not houses:
        raise ServiceUnavailable("scripts is not open yet", details={"service": "scripts"})
    return houses[0]


# The runner ------------------------------------------------------------------------------------------------------


@scripts.service("runner.script")
class Runner:
    """Executes the kind `script` for the plugin `executions`."""

    @needs("system:admin")
    async def start(self, ctx: Context, execution: dict[str, Any]) -> dict[str, Any]:
        """Begin a run; a source that does not compile ends it here. Returns the seconds it may take."""
        own = house()
        run = runs[execution["id"]] = _run(begin(execution, execution["name"]), own)
        try:
            return await _start(run, own, execution["input"], execution)
        finally:
            run.state["begun"].set()
            if run.state["job"] is None:
                runs.pop(run.id, None)

    @needs("system:admin")
    async def stop(self, ctx: Context, execution: str) -> None:
        """Make a run end."""
        run = runs.get(execution)
        if run is not None:
            run.stop()


async def _start(run: Run, own: House, given: dict[str, Any], execution: dict[str, Any]) -> dict[str, Any]:
    state = run.state
    caller = on_behalf(own.ctx, state["caller"], state["trace"])
    source, state["name"], remark = await _source(own, given, execution["name"])
    # Asked again, for the policy may have changed while it waited.
    await caller.require("script:run", state["name"])
    limits = await limits_of(own.ctx, state["caller"], state["name"])
    wall_s = min(limits["wall_s"], execution["deadline_s"] or limits["wall_s"])
    state["limits"], state["due"] = limits, own.ctx.clock.monotonic() + wall_s
    state["log_left"], state["output_left"] = int(limits["log_records"]), int(limits["output_kb"] * 1024)
    compiled = await _unless_stopped(state["stopping"], own.compiler.compile(source, state["name"], limits))
    if compiled is None:
        await run.finish("cancelled")
        return {"wall_s": None}
    if not compiled.ok:
        await run.finish("failed", None, failure_of_source(compiled.diagnostics, state["name"]))
        return {"wall_s": None}
    if remark is not None:
        run.note("job.log", {"level": "warning", "message": remark, "file": state["name"], "line": 1, "column": 1})
    for finding in [one for one in compiled.diagnostics if not one["code"].startswith(STYLE)][:20]:
        run.note("job.log", {"level": "warning", **{k: finding.get(k) for k in ("message", "line", "column", "file")}})
    state["policy"] = compiled.meta.get("policy", {})
    body = {
        "kind": "run",
        "job": run.id,
        "code": compiled.code,
        "parameters": given.get("parameters") or {},
        "context": given.get("context") or {},
        "limits": for_worker(limits, wall_s),
        "entry": given.get("entry"),
        "config": given.get("config"),
    }
    run.attach(own.runners.submit(body, serve=run.serve, told=run.told))
    own.ctx.metric(runs_total).inc()
    if not handed.get("taken"):
        _watch(run)
    return {"wall_s": wall_s}


async def _unless_stopped(stopping: asyncio.Event, compiling: Coroutine[Any, Any, Compiled]) -> Compiled | None:
    """Return what became of a source, or None as soon as its run is asked to end."""
    made, asked = asyncio.ensure_future(compiling), asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait({made, asked}, return_when=asyncio.FIRST_COMPLETED)
        return None if stopping.is_set() else made.result()
    finally:
        asked.cancel()
        if not made.cancel() and not made.cancelled():
            made.exception()  # seen: whoever asked has left


async def _source(own: House, given: dict[str, Any], name: str) -> tuple[str, str, str | None]:
    """Return the text, its name, and what the run is to be told of its signature; `Denied` where it may not run."""
    if isinstance(given.get("source"), str):
        return given["source"], name, await admit_inline(own.ctx, given["source"], name)
    script = await asyncio.to_thread(own.library.find, name)
    return script.source, script.name, await admit(own.ctx, script)


def _run(state: State, own: House) -> Run:
    return Run(state, own.ctx, own.library, own.compiler.compile)


def _watch(run: Run) -> None:
    run.watcher = asyncio.create_task(run.watch(), name=f"run {run.id}")
    run.watcher.add_done_callback(lambda task: _over(run, task))


def _over(run: Run, task: asyncio.Task[None]) -> None:
    if task.cancelled():
        return  # handed over
    runs.pop(run.id, None)
    own = house()
    own.ctx.metric(calls_total).inc(run.state["counts"].get("host_calls", 0))
    error = task.exception()
    if error is not None:
        own.ctx.log.error("the end of job %s could not be recorded", run.id, exc_info=error)


# The service -----------------------------------------------------------------------------------------------------


@scripts.service("scripts")
class Scripts:
    """The library, the checker, and submitting a script to run."""

    @needs("script:check")
    async def list(self, ctx: Context) -> Sequence[dict[str, Any]]:
        """Return all scripts: `name`, `description`, `root`, `size`, `modified_at`."""
        listed = await asyncio.to_thread(house().library.list)
        return [msgspec.to_builtins(script) for script in listed]

    @needs("script:check")
    async def check(
        self, ctx: Context, source: str | None = None, name: str | None = None, principal: str | None = None
    ) -> dict[str, Any]:
        """Return what is found in a source, or in a script of the library, without running it.

        `ok` says that it may run; `diagnostics` has errors and warnings, `capabilities` what it can reach, and `reach`
        what the policy says of that for the caller, or for `principal` where the caller may read the policy.
        """
        own = house()
        if source is None:
            if name is None:
                raise BadInput("expected `source`, or the `name` of a script", details={"field": "source"})
            script = await asyncio.to_thread(own.library.find, name)
            source, name = script.source, script.name
            of_signature = await findings(own.ctx, script)
        else:
            name = inline_name(name)
            of_signature = await findings_inline(own.ctx, source, name)
        if any(one["code"].startswith("AE") for one in of_signature):
            # What may not run is not parsed either.
            return {"ok": False, "name": name, "diagnostics": of_signature, "capabilities": [], "reach": []}
        limits = await limits_of(own.ctx, behalf(ctx), name)
        found: Compiled = await own.compiler.compile(source, name, limits)
        unkept = await disagreements(own.ctx, found)
        return {
            "ok": found.ok and not unkept,
            "name": name,
            "diagnostics": [*of_signature, *found.diagnostics, *unkept],
            "capabilities": found.capabilities,
            "reach": [msgspec.to_builtins(one) for one in await reach(own.ctx, ctx, found, name, principal)],
        }

    @needs("job:read")
    async def submit(
        self,
        ctx: Context,
        script_name: str | None = None,
        parameters: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        source: str | None = None,
        priority: int | str = "normal",
        idempotency_key: str | None = None,
        deadline_s: float | None = None,
        entry: str | None = None,
        command: str | None = None,
        config: dict[str, Any] | None = None,
        parent: str | None = None,
    ) -> dict[str, Any]:
        """Accept a run of a script of the library, or of a source; return the job's row, committed.

        `entry` names a function, handler or timer of the script, `command` one of its commands: it runs behind the top
        level in the place of the script's own. `config` replaces entries of its plugin block's config.

        Raises `NotFound` for an unknown script, and asks for `script:run` on its name; raises `Denied` as well where
        the policy wants a signature that it does not have (code `SIGNATURE_ERROR`), and where the script surely uses a
        right that the caller does not have through it.
        """
        own = house()
        given: dict[str, Any] = {"parameters": parameters or {}, "context": context or {}}
        given |= entered(entry, command, config)
        script: Script | None = None
        if source is not None:
            name = inline_name(script_name)
            given["source"] = text = source
        elif script_name is not None:
            script = await asyncio.to_thread(own.library.find, script_name)
            name, text = script.name, script.source
        else:
            raise BadInput("expected the name of a script, or a source", details={"field": "script_name"})
        await ctx.require("script:run", name)
        await (admit_inline(own.ctx, text, name) if script is None else admit(own.ctx, script))
        await refuse_what_must_fail(own.ctx, ctx, own.compiler, text, name, patience_s=ctx.settings.look_ahead_s)
        row: dict[str, Any] = await ctx.service("executions").submit(
            "script",
            name,
            given,
            priority=priority,
            idempotency_key=idempotency_key,
            deadline_s=deadline_s,
            parent=parent,
        )
        return row

    @needs("script:check")
    async def registers(self, ctx: Context, name: str) -> dict[str, Any]:
        """Return what a script of the library has the hub do while it is resident, without running it.

        `name` and `hash` are the script's; `registers` has its `schedules`, `events`, `conditions` and `entries`.
        Raises `NotFound`, `Denied` without a signature that the policy wants, and `BadInput` for a source that cannot
        be compiled, with the first mistake.
        """
        own = house()
        script = await asyncio.to_thread(own.library.find, name)
        await admit(own.ctx, script)
        limits = await limits_of(own.ctx, behalf(ctx), script.name)
        compiled: Compiled = await own.compiler.compile(script.source, script.name, limits)
        if not compiled.ok:
            failure = failure_of_source(compiled.diagnostics, script.name)
            where = f"{script.name}:{failure['line'] or 1}"
            raise BadInput(f"{where}: {failure['message']}", details={"type": "SyntaxError"}, code=failure["code"])
        return {"name": script.name, "hash": script.hash, "registers": compiled.registers}

    @needs("signal:read")
    async def signals(self, ctx: Context) -> dict[str, Any]:
        """Return the signals that are measured, by name."""
        return measured()

    @needs("job:cancel")
    async def decide(self, ctx: Context, id: str, approved: bool = True, question: str | None = None) -> dict[str, Any]:
        """Answer what a run waits for with `await approval`; return the `question`, its `text` and what was decided.

        Raises `NotFound` for an unknown job or somebody else's, and `Conflict` where the job asks nothing, or several
        things and no `question` says which.
        """
        row = await ctx.service("executions").get(id=id)
        if row["owner"] != ctx.owner:
            await ctx.require("job:cancel", id)
        run = runs.get(id)
        if run is None:
            raise Conflict("the job asks nothing", details={"open": []})
        found = decide(run.questions, approved, question)
        decided = {"question": found["id"], "text": found["text"], "approved": approved}
        run.note("job.decided", {**decided, "by": ctx.chain.caller.id})
        return decided

    @needs("metrics:read")
    async def stats(self, ctx: Context) -> dict[str, Any]:
        """Return figures of runs, compiled forms and workers."""
        own = house()
        return {
            "scripts": len(await asyncio.to_thread(own.library.list)),
            "runs_under_way": len(runs),
            "compiled": own.compiler.stats(),
            "workers": {name: figures for name, figures in ctx.workers.stats().items() if name in ("run", "compile")},
        }


# The plugin's own life -------------------------------------------------------------------------------------------


@scripts.lifespan
async def lifespan(ctx: Context) -> AsyncIterator[None]:
    """Find library, compiler and workers; at the end stop what was not handed over."""
    (ctx.config.paths.home / "scripts").mkdir(parents=True, exist_ok=True)
    houses.append(House(ctx, await asyncio.to_thread(fingerprint)))
    yield
    await _close()
    houses.clear()


async def _close() -> None:
    """Leave the runs to the next generation, or end them when there is none."""
    left = list(runs.values())
    for run in left:
        if run.watcher is not None:
            run.watcher.cancel()
    if not handed.get("taken"):
        await asyncio.gather(*(run.abandon() for run in left if run.state["job"] is not None))


@scripts.task("runs", restart="always")
async def keep_runs(ctx: Context) -> None:
    """Watch the runs that were handed over by the generation before."""
    handed.clear()
    for run in list(runs.values()):
        if run.watcher is None or run.watcher.done():
            _watch(run)
    try:
        await asyncio.Event().wait()
    finally:
        for run in runs.values():
            if run.watcher is not None:
                run.watcher.cancel()


@scripts.task("library")
async def watch_library(ctx: Context) -> None:
    """Notice scripts that come, change and go."""
    stop = asyncio.Event()
    own = house()
    own.library.forget_list()
    await own.library.watch(stop, lambda names: _changed(ctx, names))


def _changed(ctx: Context, names: Sequence[str]) -> None:
    task = asyncio.ensure_future(ctx.publish("script.changed", {"scripts": list(names)}))
    telling.add(task)
    task.add_done_callback(telling.discard)


telling: set[asyncio.Future[Any]] = set()


@scripts.health
def health() -> str | None:
    """Return why scripts cannot be compiled or run, or None."""
    return next((problem for pool in house().pools if (problem := pool.problem()) is not None), None)


@scripts.export_state
def export_state() -> dict[str, Any]:
    """Hand over the runs under way."""
    handed.update({"runs": [run.state for run in runs.values()], "taken": False})
    return handed


@scripts.import_state
def import_state(version: str, state: dict[str, Any]) -> None:
    """Go on serving them: their next call comes here."""
    own = house()
    for one in state["runs"]:
        run = runs[one["id"]] = _run(one, own)
        if one["job"] is not None:
            run.attach(one["job"])
    # The old generation may still be compiling for some; it tells when they have begun.
    state["taken"] = True


for verbs in (commands, checking, explaining, formatting, repl, signing, trials):
    verbs.add(scripts)
