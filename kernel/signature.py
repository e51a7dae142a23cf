"""A function's annotations, read once at load, as msgspec Structs: they decode, word the refusals, and document.

A parameter's name is the field's name; one trailing underscore is dropped (`async_` reads the field `async`), because
some documented fields are Python keywords.
"""

from __future__ import annotations

import collections.abc
import functools
import inspect
import math
import operator
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from kernel.errors import BadInput, ContractError
from kernel.socket import Socket
from kernel.suggest import nearest

NO_DEFAULT = inspect.Parameter.empty

_ITERATORS = (collections.abc.AsyncIterator, collections.abc.AsyncGenerator)
_PLACE = re.compile(r" - at `\$(?P<place>[^`]*)`$")


class Parameter(msgspec.Struct, frozen=True):
    """One argument: the name in Python, the field's name outside, its type and its default."""

    name: str
    field: str
    type: Any
    default: Any = NO_DEFAULT

    @property
    def required(self) -> bool:
        """True when the caller must give it."""
        return self.default is NO_DEFAULT


class Binder:
    """Turns a mapping of fields into keyword arguments, or refuses it with the field's name."""

    __slots__ = ("_decoder", "_names", "lax", "parameters", "struct")

    def __init__(self, title: str, parameters: Iterable[Parameter], *, lax: bool, extras: bool) -> None:
        self.parameters = tuple(parameters)
        self.lax = lax
        fields: list[Any] = []
        for parameter in sorted(self.parameters, key=lambda p: not p.required):
            default = parameter.default
            if parameter.required:
                fields.append((parameter.name, parameter.type))
            elif isinstance(default, list | dict | set):
                fields.append((parameter.name, parameter.type, msgspec.field(default_factory=_copier(default))))
            else:
                fields.append((parameter.name, parameter.type, default))
        self.struct = msgspec.defstruct(
            title,
            fields,
            rename={p.name: p.field for p in self.parameters},
            forbid_unknown_fields=not extras,
            kw_only=True,
        )
        self._names = tuple(p.name for p in self.parameters)
        self._decoder = msgspec.json.Decoder(self.struct)

    def bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return keyword arguments for plain `values`; raise `BadInput` naming the field that does not fit."""
        try:
            filled = msgspec.convert(values, self.struct, strict=not self.lax)
        except msgspec.ValidationError as error:
            raise refusal(error, self.parameters) from None
        bound = {name: getattr(filled, name) for name in self._names}
        if self.lax:
            self._refuse_endless(bound)
        return bound

    def _refuse_endless(self, bound: Mapping[str, Any]) -> None:
        # Text such as `nan` or `inf` reads as a float, while JSON has no such number.
        for parameter in self.parameters:
            value = bound[parameter.name]
            for number in value if isinstance(value, list | tuple) else (value,):
                if isinstance(number, float) and not math.isfinite(number):
                    raise BadInput(
                        f"Expected a finite number - at `$.{parameter.field}`", details={"field": parameter.field}
                    )

    def decode(self, body: bytes | bytearray | memoryview) -> dict[str, Any]:
        """Return keyword arguments for a JSON `body`; raise `BadInput` with place and expectation."""
        try:
            filled = self._decoder.decode(body)
        except msgspec.ValidationError as error:
            raise refusal(error, self.parameters) from None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadInput(f"the body is not valid JSON: {error}") from None
        return {name: getattr(filled, name) for name in self._names}


class MessageDecoder:
    """Decodes a client's messages to one type, or refuses them with the field's name."""

    __slots__ = ("_decoder", "tag_field", "tags", "type")

    def __init__(self, type: Any) -> None:
        self.type = type
        self._decoder = msgspec.json.Decoder(type)
        self.tag_field, self.tags = _tags(type)

    def decode(self, text: bytes | str) -> Any:
        """Return the value of a message; raise `BadInput` with place and expectation."""
        try:
            return self._decoder.decode(text)
        except msgspec.ValidationError as error:
            refused = refusal(error)
        except (msgspec.DecodeError, UnicodeError) as error:
            raise BadInput(f"the message is not valid JSON: {error}") from None
        if self.tags and refused.details.get("field") == self.tag_field and "Invalid value" in refused.message:
            given = refused.message.partition("'")[2].partition("'")[0]
            close = nearest(given, self.tags)
            refused.message += f"; expected {' or '.join(self.tags)}" + (f"; did you mean {close}?" if close else "")
            refused.details["expected"] = list(self.tags)
        raise refused


class Signature(msgspec.Struct, frozen=True):
    """The typed face of one function: its parameters (the context aside), its result, and whether it streams.

    Of a socket's function `socket` names the parameter that takes the socket, `receives` and `sends` are the types of
    its messages; elsewhere `socket` is empty.
    """

    title: str
    parameters: tuple[Parameter, ...]
    result: Any
    streams: bool
    takes_context: bool
    binder: Binder
    socket: str = ""
    receives: Any = None
    sends: Any = None

    @classmethod
    def of(cls, fn: Callable[..., Any], *, method: bool = False, socket: bool = False) -> Signature:
        """Read `fn`; raise `ContractError` for a parameter without a type or one that JSON cannot carry.

        `socket` says that the function stands behind a socket's door: one of its parameters is a `Socket`.
        """
        try:
            return cls._of(fn, method, socket)
        except ContractError as error:
            error.details.setdefault("place", place_of(fn))
            raise

    @classmethod
    def _of(cls, fn: Callable[..., Any], method: bool, socket: bool) -> Signature:
        title = getattr(fn, "__qualname__", repr(fn))
        try:
            hints = typing.get_type_hints(fn, include_extras=True)
        except (NameError, TypeError) as error:
            raise ContractError(f"{title}: an annotation cannot be read: {error}") from None
        listed = list(inspect.signature(fn).parameters.values())
        if method:
            listed = listed[1:]
        takes_context = bool(listed) and listed[0].name == "ctx"
        taken = [p for p in listed if _is_socket(hints.get(p.name))]
        if socket or taken:
            _check_socket(title, fn, [p.name for p in taken], socket)
            listed = [p for p in listed if p not in taken]
        parameters = tuple(_parameter(title, p, hints) for p in (listed[1:] if takes_context else listed))
        result = hints.get("return", Any)
        # A consumer's Protocol says it without `yield`: `def watch(self) -> AsyncIterator[Row]`.
        iterates = typing.get_origin(result) in _ITERATORS and not inspect.iscoroutinefunction(fn)
        streams = inspect.isasyncgenfunction(fn) or iterates
        try:
            binder = Binder(title.replace(".", "_"), parameters, lax=False, extras=False)
        except TypeError as error:
            raise ContractError(f"{title}: a parameter's type cannot be carried as data: {error}") from None
        result = _streamed(result) if streams else result
        if not taken:
            return cls(title, parameters, result, streams, takes_context, binder)
        receives, sends = _message_types(title, hints[taken[0].name])
        return cls(title, parameters, result, streams, takes_context, binder, taken[0].name, receives, sends)

    def part(self, fields: Iterable[str], *, lax: bool, extras: bool) -> Binder:
        """Return a binder for just those fields: what stands in the path, the query or the body of a request.

        `lax` is for text of a URL, where there is no null: what is not given is left out.
        """
        wanted = set(fields)
        chosen = [p for p in self.parameters if p.field in wanted]
        if lax:
            chosen = [msgspec.structs.replace(p, type=_without_none(p.type)) for p in chosen]
        return Binder(self.title.replace(".", "_"), chosen, lax=lax, extras=extras)

    def positional(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Name positional arguments, as a call from a script or a handle gives them; refuse too many and doubles."""
        if len(args) > len(self.parameters):
            raise BadInput(f"{self.title} takes {len(self.parameters)} arguments at most, got {len(args)}")
        named = {parameter.field: value for parameter, value in zip(self.parameters, args, strict=False)}
        doubled = named.keys() & kwargs.keys()
        if doubled:
            raise BadInput(f"{self.title} got two values for `{min(doubled)}`")
        return {**named, **kwargs}


def place_of(fn: Any) -> str:
    """Return the file and line where a function is written, such as `hello.py:8`; "" where that is not known."""
    code = getattr(inspect.unwrap(fn), "__code__", None) if callable(fn) else None
    return "" if code is None else f"{code.co_filename.rpartition('/')[2]}:{code.co_firstlineno}"


def refusal(error: msgspec.ValidationError, parameters: Iterable[Parameter] = ()) -> BadInput:
    """Word a msgspec refusal as `BadInput`: what was expected, what came, and the field."""
    text = str(error)
    found = _PLACE.search(text)
    place = found["place"].lstrip(".") if found else ""
    if not place:
        missing = re.search(r"(?:required field|unknown field) `([^`]+)`", text)
        place = missing[1] if missing else ""
    details: dict[str, Any] = {"field": place} if place else {}
    if "unknown field" in text:
        details["expected"] = sorted(p.field for p in parameters)
    return BadInput(text, details=details)


def _parameter(title: str, given: inspect.Parameter, hints: Mapping[str, Any]) -> Parameter:
    if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD):
        raise ContractError(f"{title}: `*{given.name}` cannot be documented or checked; name each parameter")
    if given.name not in hints:
        raise ContractError(
            f"{title}: the parameter `{given.name}` needs a type, such as `{given.name}: str`: it is what callers are "
            "checked against and told"
        )
    if _is_context(hints[given.name]):
        raise ContractError(
            f"{title}: the context is the first parameter and is called `ctx`; here it is called `{given.name}`"
            + (", and others come before it" if given.name == "ctx" else "")
        )
    field = given.name.removesuffix("_")
    return Parameter(given.name, field, hints[given.name], given.default)


def _is_context(hint: Any) -> bool:
    # Told by its name: the context's own file builds on this one.
    return getattr(hint, "__qualname__", "") == "Context" and getattr(hint, "__module__", "") == "kernel.context"


def _is_socket(hint: Any) -> bool:
    return hint is Socket or typing.get_origin(hint) is Socket


def _check_socket(title: str, fn: Callable[..., Any], taken: list[str], wanted: bool) -> None:
    if not wanted:
        raise ContractError(f"{title}: `{taken[0]}` is a Socket, which only a function behind `@p.socket(path)` gets")
    if len(taken) != 1:
        raise ContractError(
            f"{title}: a function behind `@p.socket` takes one Socket, such as `socket: Socket[Ask, Answer]`; "
            f"it takes {len(taken)}"
        )
    if not inspect.iscoroutinefunction(fn):
        raise ContractError(f"{title}: a function behind `@p.socket` is an `async def` without `yield`")


def _message_types(title: str, hint: Any) -> tuple[Any, Any]:
    if hint is Socket:
        raise ContractError(f"{title}: say what the socket receives and sends: Socket[Incoming, Outgoing]")
    receives, sends = typing.get_args(hint)
    for kind, what in ((receives, "receives"), (sends, "sends")):
        try:
            decoder = MessageDecoder(kind)
        except TypeError as error:
            raise ContractError(f"{title}: what the socket {what} cannot be carried as JSON: {error}") from None
        if what == "receives" and decoder.tag_field == "type" and "auth" in decoder.tags:
            raise ContractError(f"{title}: messages of the type `auth` are the hub's; name yours otherwise")
    return receives, sends


def _tags(kind: Any) -> tuple[str, tuple[str, ...]]:
    union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    configs = [getattr(choice, "__struct_config__", None) for choice in (typing.get_args(kind) if union else (kind,))]
    tagged = [config for config in configs if config is not None and config.tag is not None]
    if not tagged:
        return "", ()
    return str(tagged[0].tag_field), tuple(str(config.tag) for config in tagged)


def _without_none(kind: Any) -> Any:
    if typing.get_origin(kind) not in (typing.Union, types.UnionType):
        return kind
    choices = [choice for choice in typing.get_args(kind) if choice is not types.NoneType]
    return functools.reduce(operator.or_, choices)


def _streamed(result: Any) -> Any:
    if typing.get_origin(result) in _ITERATORS:
        return typing.get_args(result)[0]
    return Any


def _copier(default: Any) -> Callable[[], Any]:
    return lambda: default.copy()
