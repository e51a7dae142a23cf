"""The script library, the checker, and running a source that comes along."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import msgspec

from kernel import BadInput, Context, NotFound, Plugin, Reply, TooLarge

from .jobs import RUNS, Accepted, ScriptName, accepted
from .jobs import Scripts as Submitting

Entry = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Principal = Annotated[str, msgspec.Meta(min_length=1, max_length=300)]


class Scripts(Protocol):
    """What this part asks of the scripts."""

    async def list(self) -> list[dict[str, Any]]:
        """Return the library."""

    async def check(self, source: str | None, name: str | None, principal: str | None) -> dict[str, Any]:
        """Check one."""


class ScriptRow(msgspec.Struct):
    """A script; `root` is `bundled`, or `operator` for the operator's own folder."""

    name: str
    description: str
    root: str
    size: int
    modified_at: str


class ScriptList(msgspec.Struct):
    """The library."""

    scripts: list[ScriptRow]
    count: int


class Related(msgspec.Struct):
    """Another place that a finding is about."""

    line: int
    message: str


class Diagnostic(msgspec.Struct):
    """One finding. Lines and columns count from 1; a `code` that begins with `AE` is an error's, with
    `AW` a warning's, with `AS` a note's on style."""

    kind: str
    code: str
    file: str
    line: int
    column: int
    end_column: int
    message: str
    source_line: str
    caret: str
    expected: list[str]
    suggestion: str | None
    related: list[Related]


class Reach(msgspec.Struct):
    """A capability that the script can reach, and what the policy says of it, with the deciding line.

    `capability` is the spelling of scripts, `right` that of the policy. `answer` is `depends` where only the run will
    know the object. `certain`: every run that reaches its end uses it, first on `line`.
    """

    capability: str
    right: str
    answer: Literal["yes", "no", "depends"]
    reason: str
    source: str
    hint: str
    certain: bool
    line: int | None


class Checked(msgspec.Struct):
    """What was found in a script: `ok` when it may run, errors and warnings, and the capabilities it can reach.

    `reach` has, for each of those, whether the policy allows it to the caller or to `principal`, through this script.
    """

    ok: bool
    name: str
    diagnostics: list[Diagnostic]
    capabilities: list[str]
    reach: list[Reach]


def add(p: Plugin) -> None:
    """Collect the doors on `p`."""
    p.uses("scripts")(Scripts)
    p.get("/api/scripts", needs="script:check", raises=())(list_scripts)
    p.post("/api/scripts/check", needs="script:check", effect="read", raises=(NotFound, TooLarge))(check_script)
    p.post("/api/scripts/run", **RUNS)(run_script)


async def list_scripts(ctx: Context) -> ScriptList:
    """List the scripts of the library with what their headers say about them."""
    rows = [msgspec.convert(one, ScriptRow) for one in await ctx.service("scripts", Scripts).list()]
    return ScriptList(rows, len(rows))


async def check_script(
    ctx: Context, source: str | None = None, name: ScriptName | None = None, principal: Principal | None = None
) -> Checked:
    """Check a source, or a script of the library, without running it; nothing is run.

    `principal`, such as `user:ada`, is for whom it is judged, by default the caller; others take `policy:read`.
    """
    if source is None and name is None:
        raise BadInput("expected `source`, or the `name` of a script of the library", details={"field": "source"})
    found = await ctx.service("scripts", Scripts).check(source=source, name=name, principal=principal)
    return msgspec.convert(found, Checked)


async def run_script(
    ctx: Context,
    name: ScriptName | None = None,
    source: str | None = None,
    parameters: dict[str, Any] | None = None,
    context: dict[str, Any] | None = None,
    priority: int | str = "normal",
    deadline_s: float | None = None,
    wait: bool = False,
    entry: Entry | None = None,
    command: Entry | None = None,
    config: dict[str, Any] | None = None,
) -> Reply[Accepted]:
    """Run a script of the library, or the `source` given here; with `wait` the answer has the end, if it comes in 30 s.

    `deadline_s` is how long it may run. A source runs as `inline/<name>`, with the rights of such scripts. `entry` is a
    function or handler to run behind the top level, `command` a command of the script; `config` replaces entries of its
    plugin block's config.
    """
    row = await ctx.service("scripts", Submitting).submit(
        script_name=name,
        parameters=parameters or {},
        context=context or {},
        source=source,
        priority=priority,
        deadline_s=deadline_s,
        entry=entry,
        command=command,
        config=config,
    )
    return await accepted(ctx, row, wait=wait)
