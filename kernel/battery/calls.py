"""Calls that a plugin's doors must refuse, or stand: arguments that do not fit, and those that nobody thinks of."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect as types

from kernel.battery import samples
from kernel.battery.report import Findings
from kernel.capabilities import Caller
from kernel.context import Context, EventStream, Reply
from kernel.contribution import SAFE_METHODS, Function, Owned, Route, above
from kernel.errors import AetherraError, BadInput
from kernel.generation import Generation
from kernel.kernel import Kernel
from kernel.services import plain
from kernel.signature import Parameter, Signature, place_of
from kernel.testing import Recording, TestClock, TestSocket

CALLER = Caller("user:local", ("role:admin", "role:user"))
CALLS_PER_DOOR = 60
CALL_S = 5.0
"""How long one call may take; the clock that it sees runs meanwhile, a second at every turn."""
ITEM_S = 0.05
"""How long a stream is waited for: that nothing happens on it is no fault."""


@dataclass
class Door:
    """A function or route in one shape: what it is called, what it takes, and how it is entered."""

    name: str
    signature: Signature
    where: str
    root: str
    item: Function | Route

    @property
    def reads_only(self) -> bool:
        """True when the door promises to change nothing, so that it may be called with anything."""
        return not above(self.item.effect, "read")


def doors(generation: Generation) -> Sequence[Door]:
    """Return the functions and routes of a generation."""
    contribution = generation.contribution
    found: list[Function | Route] = [*contribution.functions, *contribution.routes]
    return [
        Door(
            item.name if isinstance(item, Function) else f"{item.method} {item.path}",
            item.signature,
            place_of(item.fn),
            str(generation.source.path),
            item,
        )
        for item in found
    ]


def check_binding(door: Door, findings: Findings) -> None:
    """Bind what does not fit: too little, too much, of a wrong type. Each must be a `BadInput`; nothing is called."""
    parameters = door.signature.parameters
    base = {p.field: value for p in parameters if p.required for value in _first(p)}
    wrong: list[tuple[str, Mapping[str, Any]]] = [("an unknown argument", {**base, "no_such_argument": 1})]
    wrong += [
        (f"without `{p.field}`", {k: v for k, v in base.items() if k != p.field}) for p in parameters if p.required
    ]
    for parameter in parameters:
        if isinstance(types.type_info(parameter.type), types.CustomType):
            findings.fail(
                "arguments",
                f"{door.name} takes `{parameter.name}` as {getattr(parameter.type, '__name__', parameter.type)}, which "
                "no data can become; take text or a number, or a msgspec.Struct",
                door.where,
            )
    messages = [Parameter("message", "message", door.signature.receives)] if door.signature.socket else []
    for parameter in (*parameters, *messages):
        for value in samples.candidates(parameter.type):
            try:
                refused = not samples.fits(parameter, value)
            except Exception as error:
                _raised(door, {parameter.field: value}, error, findings)
                break
            if refused and parameter in parameters:
                wrong.append((f"{parameter.field}={value!r:.40}", {**base, parameter.field: value}))
    for what, values in wrong:
        try:
            door.signature.binder.bind(values)
        except BadInput:
            continue
        except Exception as error:
            _raised(door, values, error, findings)
        else:
            findings.fail("arguments", f"{door.name} takes {what} without a word", door.where)
        return


def _first(parameter: Parameter) -> Iterator[Any]:
    """Yield one value that fits, if there is any."""
    for value in samples.candidates(parameter.type):
        try:
            if samples.fits(parameter, value):
                yield value
                return
        except Exception:
            return


def odd_arguments(signature: Signature) -> Iterator[dict[str, Any]]:
    """Yield arguments that fit, one parameter at a time at the ends of what its type takes."""
    base = {p.field: value for p in signature.parameters if p.required for value in _first(p)}
    if len(base) < sum(p.required for p in signature.parameters):
        return  # no value is known that fits: nothing can be called
    yield base
    for parameter in signature.parameters:
        for value in samples.candidates(parameter.type):
            try:
                fits = samples.fits(parameter, value)
            except Exception:
                return  # told while binding
            if fits:
                yield {**base, parameter.field: value}


def _raised(door: Door, values: Mapping[str, Any], error: BaseException, findings: Findings) -> None:
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename.startswith(door.root)]
    at = f" ({Path(lines[-1].filename).name}:{lines[-1].lineno})" if lines else ""
    findings.fail(
        "arguments",
        f"{door.name} called with {_shown(values)} raised {type(error).__name__}: {str(error)[:200]}{at}; its caller "
        "sees a bug. Give the parameter a type that refuses the value, or raise BadInput",
        door.where,
    )


def _shown(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r:.40}" for name, value in values.items()) or "no arguments"


class Rows:
    """What a plugin's tables hold, compared cheaply: SQLite tells whether anybody has committed since."""

    def __init__(self, database: Path, plugin: str) -> None:
        self._connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
        self._plugin = plugin
        self._version = -1
        self._digest = ""

    def changed(self) -> bool:
        """Tell whether the rows differ from what they were at the last call."""
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        if version == self._version:
            return False
        before, self._version, self._digest = self._digest, version, self._read()
        return before != self._digest

    def _read(self) -> str:
        digest = hashlib.sha256()
        tables = self._connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name")
        for (table,) in tables.fetchall():
            if table.lower().startswith(f"{self._plugin}__"):
                rows = self._connection.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - a name SQLite gave us
                digest.update(table.encode() + repr(rows.fetchall()).encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of the database."""
        self._connection.close()


async def check_calls(kernel: Kernel, generation: Generation, clock: TestClock, findings: Findings) -> None:
    """Check how every door takes bad arguments, and call those that only read with whatever fits."""
    for door in doors(generation):
        check_binding(door, findings)
    with closing(Rows(kernel.config.paths.database, generation.plugin)) as rows, Recording(kernel.bus) as seen:
        for door in doors(generation):
            if door.reads_only:
                await _call_with_anything(kernel, generation, clock, door, rows, seen, findings)


async def _call_with_anything(
    kernel: Kernel,
    generation: Generation,
    clock: TestClock,
    door: Door,
    rows: Rows,
    seen: Recording,
    findings: Findings,
) -> None:
    safe = isinstance(door.item, Route) and door.item.method in SAFE_METHODS
    what = f"a {door.item.method}" if safe and isinstance(door.item, Route) else f"declared {door.item.effect}"
    before = len(findings.found)
    for number, values in enumerate(odd_arguments(door.signature)):
        if number == CALLS_PER_DOOR or len(findings.found) > before:
            return
        await clock.settle()
        rows.changed()
        ctx = kernel.context(CALLER)
        try:
            await _finished(_enter(kernel, generation, door, ctx, values), clock)
        except AetherraError:
            pass  # refused with a code, as it should be
        except TimeoutError:
            findings.fail(
                "arguments", f"{door.name} called with {_shown(values)} did not end in {CALL_S:g} s", door.where
            )
        except Exception as error:
            _raised(door, values, error, findings)
        await clock.settle()
        if rows.changed():
            findings.fail(
                "reads",
                f"{door.name} is {what}, and called with {_shown(values)} it writes to its tables; serve it with POST, "
                'and declare the function effect="staged"',
                door.where,
            )
        for event in seen.events:
            if event.trace == ctx.trace and event.source == generation.plugin:
                findings.fail(
                    "reads",
                    f"{door.name} is {what}, and called with {_shown(values)} it publishes {event.topic}; serve it "
                    'with POST, and declare the function effect="deferred"',
                    door.where,
                )
        seen.events.clear()


async def _enter(kernel: Kernel, generation: Generation, door: Door, ctx: Context, values: Mapping[str, Any]) -> None:
    """Go through a door as a hub or a script does, and look at what comes out."""
    if isinstance(door.item, Function) and not door.signature.streams:
        msgspec.json.encode(await ctx.call(door.item.name, **values))
        return
    route = door.item if isinstance(door.item, Route) else None
    bound = door.signature.binder.bind(values)
    if route is None:
        child = await ctx.calling(generation, door.item.needs, exact=True, ceiling=door.item.effect)
        await _some_items(generation.stream(door.item.fn, child, bound))
        return
    if door.signature.socket:
        await _talk(kernel, Owned(route, generation), ctx, bound)
        return
    result = await kernel.serve(Owned(route, generation), ctx, bound)
    if door.signature.streams:
        await _some_items(result)
    elif not isinstance(result, EventStream):
        value = result.value if isinstance(result, Reply) else result
        msgspec.json.encode(plain(value))


async def _talk(kernel: Kernel, owned: Owned[Route], ctx: Context, bound: dict[str, Any]) -> None:
    """Say to a socket's handler whatever it takes, one message after the other, and then leave."""
    signature = owned.item.signature
    said = Parameter(signature.socket, signature.socket, signature.receives)
    fitting = (value for value in samples.candidates(said.type) if samples.fits(said, value))
    messages = [msgspec.convert(value, said.type) for value in islice(fitting, CALLS_PER_DOOR)]
    socket = TestSocket(messages)
    await kernel.serve(owned, ctx, {**bound, signature.socket: socket})
    msgspec.json.encode(socket.sent)


async def _some_items(stream: Any) -> None:
    try:
        async with asyncio.timeout(ITEM_S):
            async for item in stream:
                msgspec.json.encode(plain(item))
                return
    except TimeoutError:
        pass
    finally:
        await stream.aclose()


async def _finished(work: Any, clock: TestClock) -> None:
    """Await `work`, its own clock running, for `CALL_S` of real time at most."""
    task = asyncio.ensure_future(work)
    until = asyncio.get_running_loop().time() + CALL_S
    try:
        while not (await asyncio.wait({task}, timeout=0.02))[0]:
            if asyncio.get_running_loop().time() > until:
                raise TimeoutError
            await clock.advance(1.0)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=1.0)
    task.result()
