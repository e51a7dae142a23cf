"""Services: a name, a provider, and handles through which others call it.

A consumer holds a handle, never the object, so the provider can be swapped under it. Only data crosses: arguments and
results are made plain on one side and decoded into the other side's types, because after a reload a class of the same
name is another class.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Protocol

import msgspec

from kernel.contribution import Owned, Service, ServiceMethod, Table
from kernel.errors import ContractError, ServiceUnavailable
from kernel.signature import Signature
from kernel.suggest import nearest

_METHODS = "__aetherra_methods__"
PLAIN: Any = (bytes, bytearray)


def plain(value: Any) -> Any:
    """Return `value` as data without any plugin's classes; bytes stay bytes."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    return msgspec.to_builtins(value, builtin_types=PLAIN, str_keys=True)


class Consumer(Protocol):
    """The side of a context that a handle needs: what is provided now, who calls, and how rights are asked for."""

    plugin: str

    @property
    def table(self) -> Table: ...
    async def calling(self, owner: Any, needs: str) -> Any: ...
    def passes_through(self, owner: Any) -> bool: ...


class Handle:
    """A service as its consumer sees it: `await handle.method(...)` reaches whichever generation provides it now."""

    __slots__ = ("_ctx", "_name", "_protocol")

    def __init__(self, ctx: Consumer, name: str, protocol: type[Any] | None) -> None:
        self._ctx = ctx
        self._name = name
        self._protocol = protocol

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        return _Call(self._ctx, self._name, self._protocol, method)

    def __repr__(self) -> str:
        return f"<handle of service {self._name}>"


class _Call:
    """One method of a handle. Its own parameters are positional-only: a call's arguments may have any name."""

    __slots__ = ("_ctx", "_method", "_protocol", "_service")

    def __init__(self, ctx: Consumer, service: str, protocol: type[Any] | None, method: str, /) -> None:
        self._ctx = ctx
        self._service = service
        self._protocol = protocol
        self._method = method

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        owned = self._find()
        if self._offered(owned).signature.streams:
            return self._stream(args, kwargs)
        return self._value(args, kwargs)

    def _find(self) -> Owned[Service]:
        owned = self._ctx.table.services.get(self._service)
        if owned is None:
            close = nearest(self._service, list(self._ctx.table.services))
            raise ServiceUnavailable(
                f"the service {self._service!r} is not there: no loaded plugin provides it"
                + (f"; did you mean {close!r}?" if close else ""),
                details={"service": self._service},
            )
        return owned

    def _offered(self, owned: Owned[Service]) -> ServiceMethod:
        method = owned.item.methods.get(self._method)
        if method is None:
            raise _no_such_method(owned.item, self._method)
        return method

    async def _prepare(
        self, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, Any, Any, dict[str, Any], Any]:
        """Return (generation, bound method, child context, arguments, wanted result type) of the current provider."""
        owned = self._find()
        while owned.owner.paused is not None and not self._ctx.passes_through(owned.owner):
            await owned.owner.paused.wait()
            owned = self._find()
        method = self._offered(owned)
        result: Any = Any
        if self._protocol is not None:
            face = protocol_methods(self._protocol)
            check_protocol(face, owned.item, owned.owner.plugin, self._ctx.plugin)
            if self._method in face:
                result = face[self._method].result
        child = await self._ctx.calling(owned.owner, method.needs)
        arguments = method.signature.positional(args, kwargs)
        bound = method.signature.binder.bind({name: plain(value) for name, value in arguments.items()})
        return owned.owner, getattr(owned.owner.provider(self._service), self._method), child, bound, result

    async def _value(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        owner, target, child, bound, result = await self._prepare(args, kwargs)
        return _typed(await owner.call(target, child, bound), result)

    async def _stream(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        owner, target, child, bound, result = await self._prepare(args, kwargs)
        # Closed here and now, or a reader that leaves would leave the provider's generator to the garbage collector.
        async with aclosing(owner.stream(target, child, bound)) as items:
            async for item in items:
                yield _typed(item, result)


def _typed(value: Any, wanted: Any) -> Any:
    data = plain(value)
    if wanted is Any or wanted is None:
        return data
    try:
        return msgspec.convert(data, wanted)
    except msgspec.ValidationError as error:
        raise ContractError(f"a service's answer does not fit what its consumer declared: {error}") from None


def protocol_methods(protocol: type[Any]) -> Mapping[str, Signature]:
    """Return the methods that a consumer's Protocol names, with their parameters."""
    # Kept on the class itself: a cache of ours would hold a retired generation in memory.
    held: Mapping[str, Signature] | None = protocol.__dict__.get(_METHODS)
    if held is not None:
        return held
    found = {
        name: Signature.of(fn, method=True)
        for name, fn in inspect.getmembers(protocol, inspect.isfunction)
        if not name.startswith("_")
    }
    setattr(protocol, _METHODS, found)
    return found


def check_protocol(face: Mapping[str, Signature], service: Service, provider: str, consumer: str) -> None:
    """Raise `ContractError` where a consumer expects a method or parameter that the provider does not have."""
    for name, wanted in face.items():
        method = service.methods.get(name)
        if method is None:
            raise _no_such_method(service, name)
        offered = {p.field for p in method.signature.parameters}
        missing = [p.field for p in wanted.parameters if p.field not in offered]
        unmet = [
            p.field
            for p in method.signature.parameters
            if p.required and p.field not in {w.field for w in wanted.parameters}
        ]
        if missing or unmet:
            raise ContractError(
                f"service {service.name}: {consumer} and its provider {provider} disagree about {name}: "
                + "; ".join(
                    [f"no parameter `{m}`" for m in missing] + [f"the parameter `{u}` is required" for u in unmet]
                ),
                details={"service": service.name, "method": name, "consumer": consumer, "provider": provider},
            )


def _no_such_method(service: Service, method: str) -> ContractError:
    close = nearest(method, list(service.methods))
    hint = f"; did you mean `{close}`?" if close else f"; it has {', '.join(sorted(service.methods))}"
    return ContractError(f"service {service.name} has no method `{method}` that others may call{hint}")
