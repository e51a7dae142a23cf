"""From a type to its JSON Schema, with every named type once among the components.

msgspec's own generator names what two modules name alike by the path of its module, which changes with each reload, and
does not tell what is read from what is written: an answer holds every field, a request only those without a default.
"""

from __future__ import annotations

import inspect
import logging
import re
from typing import Any

import msgspec
import msgspec.inspect as mi

log = logging.getLogger("hub.schemas")

GENERATION = re.compile(r"^plugins/(?P<name>[^@.]+)@\d+")
"""How the module of a plugin's generation begins; the number is not for anybody outside."""

_NAMED = (mi.StructType, mi.TypedDictType, mi.DataclassType, mi.NamedTupleType, mi.EnumType)
_TEXT_FORMATS: dict[type[mi.Type], str] = {
    mi.DateTimeType: "date-time",
    mi.TimeType: "time",
    mi.DateType: "date",
    mi.TimeDeltaType: "duration",
    mi.UUIDType: "uuid",
    mi.DecimalType: "decimal",
}
_LISTS = (mi.ListType, mi.SetType, mi.FrozenSetType, mi.VarTupleType, mi.CollectionType)

Schema = dict[str, Any]


def module_name(module: str) -> str:
    """Return a module's name as it is known outside: `hub_api.jobs`, whatever generation it is of."""
    return GENERATION.sub(r"\g<name>", module).removeprefix("plugins.")


class Components:
    """The schemas of all named types that were asked for, under names that outlive a reload.

    A type that is both answered and asked for has two schemas where they differ; that of requests ends in `.given`.
    Answers come first, so that this is known.
    """

    def __init__(self, prefix: str = "#/components/schemas/") -> None:
        self._prefix = prefix
        self._names: dict[tuple[Any, bool], str] = {}
        self.schemas: dict[str, Schema] = {}

    def of(self, type: Any, *, given: bool) -> Schema:
        """Return the schema of a type as it is answered or, `given`, as a client sends it.

        What cannot be described is described by an empty schema: anything. A plugin's types are its own, and one that
        names what is not there must not take the whole document with it.
        """
        try:
            return self._of(mi.type_info(type), given)
        except Exception:
            log.debug("%r has no schema", type, exc_info=True)
            return {}

    def _of(self, kind: mi.Type, given: bool) -> Schema:
        if isinstance(kind, mi.Metadata):
            return {**self._of(kind.type, given), **(kind.extra_json_schema or {})}
        if isinstance(kind, _NAMED):
            return {"$ref": self._prefix + self._name(kind, given)}
        if isinstance(kind, mi.UnionType):
            return self._union(kind, given)
        if isinstance(kind, mi.LiteralType):
            return _literal(list(kind.values))
        if isinstance(kind, mi.DictType):
            return _bounded(self._dict(kind, given), kind, "Properties")
        if isinstance(kind, mi.TupleType):
            items = [self._of(item, given) for item in kind.item_types]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        if isinstance(kind, _LISTS):
            unique = {"uniqueItems": True} if isinstance(kind, mi.SetType | mi.FrozenSetType) else {}
            return _bounded({"type": "array", "items": self._of(kind.item_type, given), **unique}, kind, "Items")
        return _plain(kind)

    def _union(self, kind: mi.UnionType, given: bool) -> Schema:
        choices = [self._of(choice, given) for choice in kind.types]
        if any(not choice for choice in choices):
            return {}  # one of them is anything
        simple = all(set(choice) == {"type"} and isinstance(choice["type"], str) for choice in choices)
        return {"type": [choice["type"] for choice in choices]} if simple else {"anyOf": choices}

    def _dict(self, kind: mi.DictType, given: bool) -> Schema:
        schema: Schema = {"type": "object"}
        values = self._of(kind.value_type, given)
        keys = self._of(kind.key_type, given)
        if values:
            schema["additionalProperties"] = values
        if keys.pop("type", None) == "string" and keys:
            schema["propertyNames"] = keys
        return schema

    # Named types -------------------------------------------------------------------------------------------------

    def _name(self, kind: Any, given: bool) -> str:
        known = self._names.get((kind.cls, given))
        if known is not None:
            return known
        name = self._names.get((kind.cls, False)) if given else None
        if name is None:
            return self._add(kind, given, self._free(kind.cls))
        # Answered, too: a name of its own only if it is not the same.
        own = self._add(kind, given, f"{name}.given")
        if self._differs(kind.cls, own, name):
            return own
        del self.schemas[own]
        self._names[kind.cls, given] = name
        return name

    def _add(self, kind: Any, given: bool, name: str) -> str:
        self._names[kind.cls, given] = name
        self.schemas[name] = {}  # before what is within it, which may name it
        self.schemas[name] = _enum(kind) if isinstance(kind, mi.EnumType) else self._object(kind, given)
        return name

    def _differs(self, cls: Any, own: str, answered: str) -> bool:
        def same(value: Any) -> Any:
            if isinstance(value, dict):
                return {k: same(v) for k, v in value.items()}
            if isinstance(value, list):
                return [same(v) for v in value]
            return value.replace(own, answered) if isinstance(value, str) else value

        return bool(same(self.schemas[own]) != self.schemas[answered])

    def _free(self, cls: Any) -> str:
        origin = getattr(cls, "__origin__", cls)
        base = re.sub(r"[^A-Za-z0-9._-]", "_", f"{module_name(origin.__module__)}.{origin.__qualname__}")
        if arguments := getattr(cls, "__args__", ()):
            base += "".join(f".{getattr(a, '__name__', 'Any')}" for a in arguments)
        name, number = base, 2
        while name in self.schemas:
            name, number = f"{base}.{number}", number + 1
        return name

    def _object(self, kind: Any, given: bool) -> Schema:
        config = getattr(kind.cls, "__struct_config__", None)
        properties: dict[str, Schema] = {}
        required: list[str] = []
        if config is not None and config.tag is not None:
            properties[config.tag_field] = {"const": config.tag}
            required.append(config.tag_field)
        leaves_out = config is not None and config.omit_defaults
        for field in kind.fields:
            schema = self._of(field.type, given)
            if given and not field.required:
                schema = with_default(schema, _default(field))
            properties[field.encode_name] = schema
            if field.required or not (given or leaves_out or _is_unset(kind, field)):
                required.append(field.encode_name)
        if isinstance(kind, mi.NamedTupleType) or getattr(config, "array_like", False):
            listed = list(properties.values())
            return {**_about(kind.cls), "type": "array", "prefixItems": listed, "minItems": len(required)}
        made: Schema = {**_about(kind.cls), "type": "object", "properties": properties}
        if required:
            made["required"] = required
        if config is not None and config.forbid_unknown_fields:
            made["additionalProperties"] = False
        return made


def with_default(schema: Schema, default: Any) -> Schema:
    """Return a schema with a default, where there is one and JSON can say it."""
    if default is msgspec.NODEFAULT or default is msgspec.UNSET:
        return schema
    try:
        return {**schema, "default": msgspec.to_builtins(default, str_keys=True)}
    except (TypeError, ValueError):
        return schema


def _default(field: mi.Field) -> Any:
    return field.default_factory() if field.default_factory in (list, dict, set) else field.default


def _is_unset(kind: Any, field: mi.Field) -> bool:
    """Tell whether the field may be missing from an answer: it has no default that would stand in for it."""
    if not isinstance(kind, mi.StructType):
        return True
    return not field.required and field.default is field.default_factory is msgspec.NODEFAULT


def _plain(kind: mi.Type) -> Schema:
    if isinstance(kind, mi.NoneType):
        return {"type": "null"}
    if isinstance(kind, mi.BoolType):
        return {"type": "boolean"}
    if isinstance(kind, mi.IntType | mi.FloatType):
        bounds = {"minimum": kind.ge, "exclusiveMinimum": kind.gt, "maximum": kind.le, "exclusiveMaximum": kind.lt}
        bounds["multipleOf"] = kind.multiple_of
        said = {name: value for name, value in bounds.items() if value is not None}
        return {"type": "integer" if isinstance(kind, mi.IntType) else "number", **said}
    if isinstance(kind, mi.StrType):
        schema = _bounded({"type": "string"}, kind, "Length")
        return schema if kind.pattern is None else {**schema, "pattern": kind.pattern}
    if isinstance(kind, mi.BytesType | mi.ByteArrayType | mi.MemoryViewType):
        return {"type": "string", "contentEncoding": "base64"}
    if type(kind) in _TEXT_FORMATS:
        return {"type": "string", "format": _TEXT_FORMATS[type(kind)]}
    return {}


def _bounded(schema: Schema, kind: Any, of: str) -> Schema:
    if kind.min_length is not None:
        schema[f"min{of}"] = kind.min_length
    if kind.max_length is not None:
        schema[f"max{of}"] = kind.max_length
    return schema


def _literal(values: list[Any]) -> Schema:
    kinds = {bool: "boolean", int: "integer", str: "string", type(None): "null"}
    types = sorted({kinds[type(value)] for value in values})
    return {"type": types[0] if len(types) == 1 else types, "enum": sorted(values, key=str)}


def _enum(kind: mi.EnumType) -> Schema:
    return {**_about(kind.cls), **_literal([member.value for member in kind.cls])}


def _about(cls: Any) -> Schema:
    cls = getattr(cls, "__origin__", cls)
    about = {"title": cls.__name__}
    written = inspect.getdoc(cls) if "__doc__" in vars(cls) else None
    if written and not written.startswith(f"{cls.__name__}("):
        about["description"] = " ".join(written.split())
    return about
