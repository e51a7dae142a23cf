"""The gateway: every host call of a run, and nothing else, comes in here.

In order: the right of the chain (the user, and the script) → the quota → the arguments' types → the operation → a
converted copy of its result. What a worker sends is data from a stranger: its operation is looked up, its capability is
not taken from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final

import msgspec

from aether_lang import host
from kernel import AetherraError, BadInput, Context, Denied, Signature

from . import operations, recollection
from .faults import fault, in_script_words, missing

FREE: Final = frozenset({"log:write", "metrics:write", "trace:write", "time:read", "random:read", "signal:read"})
"""Calls of class free, which no quota counts."""
OWN: Final = frozenset({"memory", "goal", "storage", "schedule"})
"""Domains whose object, for a script, is what belongs to its user."""
DECIDED_INSIDE: Final = frozenset({"event:emit", "plugin:call", "ui:notify", "intent:act"})
"""What is decided on the object, which the operation knows."""
DEEPEST: Final = 28
TRACED: Final = 2_000

CAPABILITIES: Final[Mapping[str, str]] = {
    row.operation: row.capability.replace(".", ":")
    for rows in (host.FUNCTIONS, host.BEHIND_THE_LANGUAGE)
    for row in rows.values()
}
"""The right of each operation, by the language's own table."""

_SIGNATURES: Final = {
    name: Signature.of(function, method=True)
    for table in (operations.TABLE, recollection.TABLE)
    for name, function in table.items()
}


def right_of(capability: str) -> tuple[str, bool]:
    """Return what the gateway asks for a capability, and whether that is all: else an object is added that it names."""
    domain = capability.partition(":")[0]
    return (f"{capability}:own" if domain in OWN else capability), capability not in DECIDED_INSIDE


class Request(msgspec.Struct, frozen=True):
    """A call as the worker sends it."""

    op: str
    args: dict[str, Any] = {}


class Gateway:
    """The gateway of one run. `counts` are its quotas' counters, kept by the run."""

    def __init__(
        self, ctx: Context, script: str, run: operations.RunView, limits: Mapping[str, float], counts: dict[str, int]
    ) -> None:
        self._ctx = ctx
        self._principal = f"script:{script}"
        self._through = ctx.through(self._principal)
        self._run = run
        self._limits = limits
        self._counts = counts
        self._operations = operations.Operations(run)
        self._recollection = recollection.Recollection()

    async def call(self, body: Any) -> Any:
        """Carry out one call; what goes wrong is raised in the script's words.

        A wait is given as it is, for the kernel to wait.
        """
        try:
            request = msgspec.convert(body, Request)
        except msgspec.ValidationError as error:
            raise fault("HostError", f"the call cannot be read: {error}") from None
        try:
            result = await self._carry_out(request)
            return result if isinstance(result, Awaitable) else _checked(result, request.op)
        except AetherraError as error:
            if isinstance(error, Denied):
                self._run.refused(error.details)
            raise in_script_words(error, request.op) from None
        except Exception:
            # What the hub is made of is nothing that a script should read.
            self._ctx.log.exception("job %s: %s failed", self._run.id, request.op)
            raise fault("HostError", f"{request.op} failed in the hub; the reason is in its log") from None

    async def _carry_out(self, request: Request) -> Any:
        capability = CAPABILITIES.get(request.op)
        if capability is None:
            raise fault("UnknownFunction", f"the hub has no operation {request.op[:80]!r}")
        await self._permit(capability)
        ctx = self._counted(capability)
        target = operations.TABLE.get(request.op) or recollection.TABLE.get(request.op)
        if target is None:
            raise missing(ctx, operations.SERVICES[request.op.partition(".")[0]], request.op)
        try:
            arguments = _SIGNATURES[request.op].binder.bind(request.args)
        except BadInput as error:
            raise fault("TypeError", f"{request.op}: {error.message}", **error.details) from None
        owner = self._operations if request.op in operations.TABLE else self._recollection
        result = await target(owner, ctx, **arguments)
        if self._run.trace_level == "debug":
            self._run.note("job.trace", _trace(request, None if isinstance(result, Awaitable) else result))
        return result

    async def _permit(self, capability: str) -> None:
        right, whole = right_of(capability)
        if whole:
            await self._through.require(right)

    def _counted(self, capability: str) -> Context:
        """Return the context of this call; a call that may have an effect is counted and has its key."""
        if capability in FREE:
            return self._through
        self._spend("host_calls")
        if capability.startswith("ai:"):
            self._spend("ai_calls")
        key = f"{self._run.id}:0:{self._counts['host_calls']}"
        return self._ctx.through(self._principal, effect_key=key)

    def _spend(self, limit: str) -> None:
        most = int(self._limits[limit])
        if self._counts.get(limit, 0) >= most:
            raise fault(
                "LimitError", f"the script made too many calls (limit {limit} = {most})", limit=limit, value=most
            )
        self._counts[limit] = self._counts.get(limit, 0) + 1


def _checked(result: Any, operation: str) -> Any:
    data = msgspec.to_builtins(result, str_keys=True)
    level = [data]
    for _ in range(DEEPEST):
        level = [
            part
            for value in level
            if isinstance(value, dict | list)
            for part in (value.values() if isinstance(value, dict) else value)
            if isinstance(part, dict | list)
        ]
        if not level:
            return data
    raise fault("ValueError", f"the result of {operation} is nested deeper than {DEEPEST}")


def _trace(request: Request, result: Any) -> dict[str, Any]:
    def short(value: Any) -> str:
        return msgspec.json.encode(value).decode()[:TRACED]

    return {"operation": request.op, "args": short(request.args), "result": short(result)}
