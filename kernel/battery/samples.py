"""Plain values made from a parameter's type: such as do not fit it, and such as fit and that nobody thinks of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import inspect as types

from kernel.signature import Parameter

PLAIN: Sequence[Any] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2**63,
    1.5,
    -0.5,
    1e300,
    "",
    "x",
    "no such thing",
    "0",
    "\0",
    "../../x",
    "%'\"*(",
    "é" * 300,
    "2024-02-29T23:59:60Z",
    "2024-02-29T12:00:00Z",
    "2024-02-29",
    "12:00:00",
    "PT1S",
    "00000000-0000-0000-0000-000000000000",
    "AAAA",
    [],
    [""],
    [0],
    [[]],
    [{}],
    {},
    {"a": None},
    {"a": 1},
    {"": {}},
)
"""Of every kind that JSON has, the ends of their ranges, and text that means something to SQL, paths and searches."""

DEEP = 4
"""How far records within records are filled in."""


def fits(parameter: Parameter, value: Any) -> bool:
    """Tell whether a type takes a value; raises what a type of the plugin's own raises instead of refusing."""
    try:
        msgspec.convert(value, parameter.type)
    except msgspec.ValidationError:
        return False
    return True


def candidates(kind: Any) -> Iterator[Any]:
    """Yield values that may fit a type: the choices that it names, its bounds, a filled record, and all of `PLAIN`."""
    yield from _made(types.type_info(kind), DEEP)
    yield from PLAIN


def _made(info: types.Type, deep: int) -> Iterator[Any]:
    if isinstance(info, types.LiteralType):
        yield from info.values
    elif isinstance(info, types.EnumType):
        yield from (member.value for member in info.cls)
    elif isinstance(info, types.UnionType):
        for part in info.types:
            yield from _made(part, deep)
    elif isinstance(info, types.IntType | types.FloatType):
        yield from (bound for bound in (info.ge, info.le) if bound is not None)
        yield from (bound + 1 for bound in (info.gt,) if bound is not None)
        yield from (bound - 1 for bound in (info.lt,) if bound is not None)
    elif isinstance(info, types.StrType) and info.min_length:
        yield "x" * info.min_length
    elif isinstance(info, types.ListType | types.VarTupleType | types.SetType | types.FrozenSetType) and deep:
        yield from ([one] for one in _some(info.item_type, deep))
    elif isinstance(info, types.TupleType) and deep:
        parts = [next(_some(part, deep), None) for part in info.item_types]
        yield parts
    elif isinstance(info, types.DictType) and deep:
        yield from ({"a": one} for one in _some(info.value_type, deep))
    elif isinstance(info, types.Metadata):
        yield from _made(info.type, deep)
    elif isinstance(info, types.StructType | types.TypedDictType | types.DataclassType) and deep:
        yield from _records(info, deep)


def _records(info: Any, deep: int) -> Iterator[Mapping[str, Any]]:
    """Yield records with every field that they must have (a tagged one with its tag), each field once at its ends."""
    tag = {info.tag_field: info.tag} if getattr(info, "tag_field", None) else {}
    base = {**tag, **{f.encode_name: next(_some(f.type, deep - 1), None) for f in info.fields if f.required}}
    yield base
    for each in info.fields:
        yield from ({**base, each.encode_name: end} for end in ENDS.get(type(each.type), ()))


def _some(info: types.Type, deep: int) -> Iterator[Any]:
    yield from _made(info, deep)
    yield SIMPLE.get(type(info), "x")


SIMPLE: Mapping[type[types.Type], Any] = {
    types.BoolType: True,
    types.IntType: 1,
    types.FloatType: 1.5,
    types.DictType: {},
    types.ListType: [],
    types.NoneType: None,
}
ENDS: Mapping[type[types.Type], Sequence[Any]] = {
    types.StrType: ("", "\0"),
    types.IntType: (0, -1, 2**63),
    types.FloatType: (0.0, -0.5, 1e300),
    types.ListType: ([],),
    types.DictType: ({}, {"": None}),
    types.AnyType: (None, "", 0, [], {}),
}
