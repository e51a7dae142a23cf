"""A value for a schema: what a mock gives where nothing says more. Pure."""

import math
from typing import Any, Final

TEXT: Final = "mock"
MOST_LEVELS: Final = 32
MOST_CHARS: Final = 10_000


def sample(schema: Any) -> Any:
    """Return a value that the schema allows: an example that it gives, its default, or the plainest one.

    A pattern is not made up for; `examples` say what fits it. Of a contradiction there is no value: null.
    """
    definitions = schema.get("$defs") if isinstance(schema, dict) else None
    return _sample(schema, definitions if isinstance(definitions, dict) else {}, 0)


def _sample(schema: Any, definitions: dict[str, Any], level: int) -> Any:
    if not isinstance(schema, dict) or level > MOST_LEVELS:
        return None
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _sample(definitions.get(reference.rpartition("/")[2]), definitions, level + 1)
    if "const" in schema:
        return schema["const"]
    for word in ("examples", "enum"):
        if isinstance(schema.get(word), list) and schema[word]:
            return schema[word][0]
    if "default" in schema:
        return schema["default"]
    for word in ("oneOf", "anyOf"):
        if isinstance(schema.get(word), list) and schema[word]:
            return _sample(schema[word][0], definitions, level + 1)
    return _of_type(_type(schema), schema, definitions, level)


def _type(schema: dict[str, Any]) -> str:
    wanted = schema.get("type")
    if isinstance(wanted, list):
        wanted = next((name for name in wanted if name != "null"), "null")
    if isinstance(wanted, str):
        return wanted
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema else "null"


def _of_type(name: str, schema: dict[str, Any], definitions: dict[str, Any], level: int) -> Any:
    if name == "object":
        known, required = schema.get("properties"), schema.get("required")
        wanted = dict(known) if isinstance(known, dict) else {}
        extra = schema.get("additionalProperties", True)
        for key in required if isinstance(required, list) else []:
            if isinstance(key, str):
                wanted.setdefault(key, extra)
        return {key: _sample(inner, definitions, level + 1) for key, inner in wanted.items()}
    if name == "string":
        return _text(_bound(schema, "minLength"), _bound(schema, "maxLength"))
    if name in ("integer", "number"):
        return _number(_bound(schema, "minimum"), _bound(schema, "maximum"), whole=name == "integer")
    return {"array": [], "boolean": False}.get(name)


def _bound(schema: dict[str, Any], word: str) -> int | float | None:
    value = schema.get(word)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _text(least: int | float | None, most: int | float | None) -> str:
    text = TEXT.ljust(math.ceil(min(least or 0, MOST_CHARS)), ".")
    return text if most is None else text[: int(max(min(most, MOST_CHARS), 0))]


def _number(least: int | float | None, most: int | float | None, *, whole: bool) -> int | float:
    value: int | float = 0
    if least is not None and value < least:
        value = math.ceil(least) if whole else least
    if most is not None and value > most:
        value = math.floor(most) if whole else most
    return value
