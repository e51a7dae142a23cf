"""The gateway: every host call of a run, and nothing else, comes in here.

In order: the right of the chain (the user, and the script) → the quota and the script's own budget → the arguments'
types → the operation, within its time and tried again where the script wants it → a converted copy of its result.
What a worker sends is data from a stranger: its operation is looked up, its capability is not taken from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Any, Final

import msgspec

from aether_lang.host import RISKS
from aether_lang.recovery import FIRST_PAUSE_S
from aether_lang.stdlib.times import seconds
from kernel import AetherraError, BadInput, Context, DeadlineExceeded, Denied, Signature

from . import commits, operations, recollection, scheduling
from .faults import RETRYABLE, fault, in_script_words, missing
from .rights import CAPABILITIES, FREE, right_of

DEEPEST: Final = 28
TRACED: Final = 2_000
_MILLIONTHS: Final = 1_000_000
_CLASSES: Final = ("public", "internal", "confidential", "restricted")
_EXPORTS: Final = frozenset({"net:http", "ai:call", "ui:notify"})
"""What carries data out of the hub."""

_TABLES: Final = {**operations.TABLE, **recollection.TABLE, **scheduling.TABLE, **commits.TABLE}
_PLACED: Final = frozenset({"time.interval"})
"""Operations that are told where in the script they are called."""
_WAITS: Final = frozenset({"time.sleep", "park.event"})
"""Operations that wait by design: `timeout_default` is not for them."""
_SIGNATURES: Final = {name: Signature.of(function, method=True) for name, function in _TABLES.items()}


class Request(msgspec.Struct, frozen=True):
    """A call as the worker sends it; `within` are the seconds until the script gives up, `at` its place in the text."""

    op: str
    args: dict[str, Any] = {}
    within: float | None = None
    at: Any = None


class Gateway:
    """The gateway of one run. `counts` are its quotas' counters, kept by the run."""

    def __init__(
        self,
        ctx: Context,
        script: str,
        run: operations.RunView,
        limits: Mapping[str, float],
        counts: dict[str, int],
        policy: Mapping[str, Any] | None = None,
    ) -> None:
        self._ctx = ctx
        self._principal = f"script:{script}"
        self._through = ctx.through(self._principal)
        self._run = run
        self._limits = limits
        self._counts = counts
        self._policy = policy or {}
        self._owners: dict[Any, Any] = {
            name: owner
            for owner, table in (
                (operations.Operations(run), operations.TABLE),
                (recollection.Recollection(), recollection.TABLE),
                (scheduling.Scheduling(run), scheduling.TABLE),
                (commits.Commits(run, self._carry, self._permit_call), commits.TABLE),
            )
            for name in table
        }

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

    async def _carry(self, operation: str, args: dict[str, Any]) -> Any:
        return await self._carry_out(Request(operation, args))

    async def _carry_out(self, request: Request) -> Any:
        capability = CAPABILITIES.get(request.op)
        if capability is None:
            raise fault("UnknownFunction", f"the hub has no operation {request.op[:80]!r}")
        await self._permit(capability)
        self._risk(capability)
        self._export(capability)
        ctx = self._counted(capability)
        target = _TABLES.get(request.op)
        if target is None:
            raise missing(ctx, operations.SERVICES[request.op.partition(".")[0]], request.op)
        try:
            placed = {"at": request.at} if request.op in _PLACED else {}
            arguments = _SIGNATURES[request.op].binder.bind({**request.args, **placed})
        except BadInput as error:
            raise fault("TypeError", f"{request.op}: {error.message}", **error.details) from None
        result = await self._tried(ctx, request, target, arguments)
        if self._run.trace_level == "debug":
            self._run.note("job.trace", _trace(request, None if isinstance(result, Awaitable) else result))
        return result

    async def _tried(self, ctx: Context, request: Request, target: Any, arguments: dict[str, Any]) -> Any:
        """Carry it out within its time, and again as often as the script's policy says, under the same effect key."""
        left = int(self._policy.get("max_retries") or 0)
        pause = FIRST_PAUSE_S
        while True:
            try:
                return await self._in_time(ctx, request, target(self._owners[request.op], ctx, **arguments))
            except AetherraError as error:
                if left <= 0 or not (isinstance(error, RETRYABLE) or error.details.get("retryable") is True):
                    raise
            left, pause = left - 1, pause * 2
            await ctx.clock.sleep(pause / 2)

    async def _in_time(self, ctx: Context, request: Request, work: Awaitable[Any]) -> Any:
        default = self._policy.get("timeout_default")
        limits = [] if request.within is None else [max(request.within, 0.0)]
        if default is not None and request.op not in _WAITS:
            limits.append(seconds(default))
        if not limits:
            return await work
        within = min(limits)
        try:
            async with ctx.clock.timeout(within):
                result = await work
                # A wait is waited for here: the kernel would not know when to stop.
                return await result if isinstance(result, Awaitable) else result
        except TimeoutError:
            data = {"limit": "timeout", "value": within}
            details = {"type": "Timeout", "data": data, "retryable": True}
            raise DeadlineExceeded(f"{request.op} took longer than {within:g} s", details=details) from None

    # Whether it may ----------------------------------------------------------------------------------------------

    async def _permit(self, capability: str) -> None:
        right, whole = right_of(capability)
        if whole:
            await self._through.require(right)

    async def _permit_call(self, operation: str, args: dict[str, Any]) -> None:
        """Raise what a call would raise for want of a right or of a service."""
        capability = CAPABILITIES.get(operation)
        if capability is None:
            raise fault("UnknownFunction", f"the hub has no operation {operation[:80]!r}")
        await self._permit(capability)
        if operation not in _TABLES:
            raise missing(self._through, operations.SERVICES[operation.partition(".")[0]], operation)
        await operations.permit_object(self._through, operation, args)

    def _risk(self, capability: str) -> None:
        budget = self._policy.get("risk_budget")
        if budget is None:
            return
        used = self._counts.get("risk", 0) + round(RISKS.get(capability.replace(":", "."), 0.0) * _MILLIONTHS)
        if used > round(budget * _MILLIONTHS):
            data = {"budget": budget, "used": used / _MILLIONTHS, "capability": capability}
            raise fault("BudgetError", f"the script has used up its risk_budget of {budget:g}", **data)
        self._counts["risk"] = used

    def _export(self, capability: str) -> None:
        """Refuse what would carry data out that is of a higher class than the hub lets go."""
        if capability not in _EXPORTS:
            return
        given, most = self._run.data_class, self._run.export_most
        if _rank(given) > _rank(most):
            raise fault(
                "PermissionError",
                f"data of the class {given!r} does not leave the hub: [plugins.scripts] export_data_class is {most!r}",
                capability=capability.replace(":", "."),
            )

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


def _rank(name: str) -> int:
    return _CLASSES.index(name) if name in _CLASSES else len(_CLASSES)


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
