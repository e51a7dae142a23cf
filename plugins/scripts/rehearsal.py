"""What a script would do, before anything happens: every call in order, and what the policy says of it.

The script runs on mocks; a call that the policy refuses is shown, and the run goes on as if it were allowed.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from aether_lang.host import called
from aether_lang.mocks import Effect
from kernel import AetherraError, Command, Config, Terminal, load_commands

from .local import Ended, LocalRun, aside, complain, prepared, rendered
from .names import readable
from .rights import right_of

_UNKNOWN: Final = "unknown"


class Foreseen(msgspec.Struct, frozen=True):
    """A call, and the policy's verdict: `yes`, `no`, or `unknown` where nobody could be asked."""

    line: int
    operation: str
    capability: str
    right: str
    effect: str
    would: str
    args: dict[str, Any]
    verdict: str
    reason: str = ""
    source: str = ""


async def rehearse(
    terminal: Terminal, script: str, *, parameters: Mapping[str, Any], entry: str, seed: int | None, principal: str
) -> int:
    """Run a script on mocks, with a clock that does not wait, and print each call with the verdict on it.

    Returns 1 when the script fails, or when the policy refuses a call.
    """
    program = await prepared(terminal, script)
    if program is None:
        return 1
    local = LocalRun(program, terminal.config, seed=seed, exact=True)
    ended = await aside(local, lambda: local.run(local.mocks, parameters, entry or None))
    through = f"script:inline/{readable(Path(program.source.name).name)}"
    policy = Policy(terminal, principal, through)
    foreseen = [await _foreseen(call, policy) for call in ended.calls]
    outcome = ended.outcome
    if terminal.json:
        terminal.print(
            {
                "principal": principal, "through": through, "judged_by": policy.judged_by, "state": outcome.state,
                "error": outcome.error, "result": outcome.result, "calls": msgspec.to_builtins(foreseen),
            }
        )  # fmt: skip
    else:
        _show(terminal, foreseen, policy, ended)
        if outcome.error is not None:
            complain(rendered(outcome.error, program.source))
    refused = any(one.verdict == "no" for one in foreseen)
    return 1 if refused or outcome.state != "completed" else 0


def right_for(call: Effect) -> str:
    """Return the right that the gateway would ask for: with the object that the call is about, where it has one."""
    right, whole = right_of(call.capability.replace(".", ":", 1))
    if whole:
        return right
    args = call.args
    named = {
        "event:emit": f"user.{str(args.get('event', '')).removeprefix('user.')}",
        "ui:notify": str(args.get("user") or args.get("team") or "everybody"),
        "intent:act": str(args.get("verb") or "*"),
        "plugin:call": called(args),
    }
    return f"{right}:{named[right]}"


async def _foreseen(call: Effect, policy: Policy) -> Foreseen:
    right = right_for(call)
    verdict, reason, source = await policy.verdict(right)
    return Foreseen(
        call.line, call.operation, call.capability, right, call.effect, call.would, call.args, verdict, reason, source
    )


class Policy:
    """The policy, asked once for each right by the verb that explains it: the running hub's, else that of the files."""

    def __init__(self, terminal: Terminal, principal: str, through: str) -> None:
        self._terminal = terminal
        self._principal = principal
        self._through = through
        self._verb: Command | None = None
        self._known: dict[str, tuple[str, str, str]] = {}
        self.judged_by = "nobody: no loaded plugin explains the policy"

    async def verdict(self, right: str) -> tuple[str, str, str]:
        """Return yes, no or unknown, why, and by which line."""
        if right not in self._known:
            self._known[right] = await self._asked(right)
        return self._known[right]

    async def _asked(self, right: str) -> tuple[str, str, str]:
        if self._verb is None:
            owned = load_commands(self._terminal.config).get("policy explain")
            if owned is None:
                return _UNKNOWN, "", ""
            self._verb = owned.item
        heard = Heard(self._terminal)
        try:
            await self._verb.fn(heard, self._principal, right, through=[self._through])
            told = heard.told[-1]
        except (AetherraError, IndexError) as error:
            return _UNKNOWN, str(error), ""
        self.judged_by = str(told.get("judged_by", self.judged_by))
        return "yes" if told.get("allowed") else "no", str(told.get("reason", "")), str(told.get("source", ""))


class Heard:
    """The terminal for a verb that is asked by another one: what it would print as data is kept."""

    json = True

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self.told: list[dict[str, Any]] = []

    @property
    def home(self) -> Path:
        """The hub's HOME."""
        return self._terminal.home

    @property
    def config(self) -> Config:
        """The settings of this command line."""
        return self._terminal.config

    @property
    def console(self) -> Any:
        """A console that nobody sees."""
        from rich.console import Console

        return Console(file=io.StringIO())

    def print(self, value: Any = "") -> None:
        """Keep what is printed."""
        if isinstance(value, dict):
            self.told.append(value)

    def table(self, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Under `--json` there are no tables."""

    async def request(self, method: str, path: str, json: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        """Ask the hub."""
        return await self._terminal.request(method, path, json, headers)

    def stream(
        self, path: str, *, method: str = "GET", json: Any = None, headers: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Follow a stream of the hub."""
        return self._terminal.stream(path, method=method, json=json, headers=headers)


def _show(terminal: Terminal, foreseen: list[Foreseen], policy: Policy, ended: Ended) -> None:
    from rich.text import Text

    styles = {"yes": "green", "no": "red", _UNKNOWN: "yellow"}
    if foreseen:
        rows = [(str(one.line), Text(one.verdict, styles[one.verdict]), one.capability, one.would) for one in foreseen]
        terminal.table(("line", "may", "capability", "would"), rows)
    else:
        terminal.print("it asks nothing of the hub")
    refused = {one.right: one for one in foreseen if one.verdict == "no"}
    for one in refused.values():
        terminal.print(f"no to {one.right}: {one.reason}{f' ({one.source})' if one.source else ''}")
    if refused:
        terminal.print(
            "the run went on as if each were allowed; in the hub it ends at the first, or the script catches it"
        )
    if foreseen:
        terminal.print(f"judged by {policy.judged_by}; nothing has happened, the answers were mocks")
