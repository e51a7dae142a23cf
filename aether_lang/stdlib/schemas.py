"""`validate_schema`: the JSON Schema subset of section 12.8."""

from collections.abc import Callable
from typing import Any, Final

from ..methods import Room
from ..regex import MAX_PATTERN, Regex, RegexError
from ..values import ScriptError, equal, kind, limit_error, text

MAX_ERRORS: Final = 20
MAX_DEPTH: Final = 64
MAX_SHOWN: Final = 1000
"""How many characters of a value a message shows."""
_WORK_OF_A_PATTERN: Final = 100
"""To compile a character of a pattern takes about as long as to go over so many elements."""

_TYPES: Final[dict[str, Callable[[Any], bool]]] = {
    "null": lambda v: v is None,
    "boolean": lambda v: type(v) is bool,
    "integer": lambda v: type(v) is int or (type(v) is float and v.is_integer()),
    "number": lambda v: type(v) in (int, float),
    "string": lambda v: type(v) is str,
    "array": lambda v: type(v) is list,
    "object": lambda v: type(v) is dict,
}


_KEYWORDS: Final[dict[str, tuple[type, ...]]] = {
    "enum": (list,),
    "properties": (dict,),
    "required": (list,),
    "anyOf": (list,),
    "oneOf": (list,),
    "minimum": (int, float),
    "maximum": (int, float),
    "minLength": (int, float),
    "maxLength": (int, float),
    "pattern": (str,),
}
"""What the value of a keyword must be; null counts as absent."""


def validate_schema(rt: Room, v: Any, schema: Any) -> dict[str, Any]:
    """`{valid, errors}`; each error is `{path, message}` with a JSON pointer. Each value looked at costs a step."""
    errors: list[Any] = []
    _check(rt, v, schema, "", errors, 0)
    return {"valid": not errors, "errors": errors[:MAX_ERRORS]}


def _check_keywords(schema: dict[str, Any]) -> None:
    """ValueError for a keyword whose value is of the wrong type."""
    for word, wanted in _KEYWORDS.items():
        value = schema.get(word)
        if value is not None and type(value) not in wanted:
            raise ScriptError("ValueError", f"'{word}' of a schema cannot be {kind(value)}")
    for name in schema.get("required") or []:
        if type(name) is not str:
            raise ScriptError("ValueError", f"'required' of a schema lists names, not {kind(name)}")


def _check(rt: Room, v: Any, schema: Any, path: str, errors: list[Any], depth: int) -> None:
    rt.spend(1)
    if type(schema) is bool:
        if not schema:
            errors.append({"path": path, "message": "no value is allowed here"})
        return
    if type(schema) is not dict:
        raise ScriptError("TypeError", f"a schema is a dict, not {kind(schema)}")
    if depth > MAX_DEPTH:
        raise ScriptError("ValueError", f"the schema nests deeper than {MAX_DEPTH}")
    _check_keywords(schema)

    def wrong(message: str) -> None:
        errors.append({"path": path, "message": message})

    wanted = schema.get("type")
    if wanted is not None:
        names = wanted if type(wanted) is list else [wanted]
        unknown = [name for name in names if type(name) is not str or name not in _TYPES]
        if unknown:
            raise ScriptError("ValueError", f"unknown type in schema: {text(unknown[0])}")
        if not any(_TYPES[name](v) for name in names):
            wrong(f"expected {' or '.join(names)}, got {kind(v)}")
            return
    if "const" in schema and not equal(v, schema["const"], rt.worked):
        wrong(f"expected {_shown(rt, schema['const'])}")
    if "enum" in schema and not any(equal(v, choice, rt.worked) for choice in schema["enum"] or []):
        wrong(f"expected one of {_shown(rt, schema['enum'])}")
    _check_size(rt, v, schema, wrong)
    _check_parts(rt, v, schema, path, errors, depth)
    _check_choices(rt, v, schema, path, errors, depth)


def _shown(rt: Room, value: Any) -> str:
    """The text of a value for a message, cut where it is long."""
    made = text(value)
    rt.worked(len(made))
    return made if len(made) <= MAX_SHOWN else made[:MAX_SHOWN] + " .."


def _check_size(rt: Room, v: Any, schema: dict[str, Any], wrong: Callable[[str], None]) -> None:
    if type(v) in (int, float):
        if schema.get("minimum") is not None and v < schema["minimum"]:
            wrong(f"less than {text(schema['minimum'])}")
        if schema.get("maximum") is not None and v > schema["maximum"]:
            wrong(f"more than {text(schema['maximum'])}")
    if type(v) is str:
        if schema.get("minLength") is not None and len(v) < schema["minLength"]:
            wrong(f"shorter than {text(schema['minLength'])} characters")
        if schema.get("maxLength") is not None and len(v) > schema["maxLength"]:
            wrong(f"longer than {text(schema['maxLength'])} characters")
        if schema.get("pattern") is not None:
            if len(schema["pattern"]) > MAX_PATTERN:
                raise limit_error("pattern", MAX_PATTERN, "the pattern of the schema has too many characters")
            rt.worked(len(v) + len(schema["pattern"]) * _WORK_OF_A_PATTERN)
            try:
                fits = Regex(schema["pattern"]).test(v)
            except RegexError as error:
                raise ScriptError("ValueError", f"the pattern of the schema is wrong: {error}") from None
            if not fits:
                wrong(f"does not match {schema['pattern']}")


def _check_parts(rt: Room, v: Any, schema: dict[str, Any], path: str, errors: list[Any], depth: int) -> None:
    if type(v) is dict:
        known = schema.get("properties") or {}
        errors.extend(
            {"path": f"{path}/{_pointer(name)}", "message": "missing"}
            for name in schema.get("required") or []
            if name not in v
        )
        extra = schema.get("additionalProperties", True)
        for key, value in v.items():
            if key in known:
                _check(rt, value, known[key], f"{path}/{_pointer(key)}", errors, depth + 1)
            elif extra is not True:
                _check(rt, value, extra, f"{path}/{_pointer(key)}", errors, depth + 1)
            if len(errors) >= MAX_ERRORS:
                return
    if type(v) is list and schema.get("items") is not None:
        for n, value in enumerate(v):
            _check(rt, value, schema["items"], f"{path}/{n}", errors, depth + 1)
            if len(errors) >= MAX_ERRORS:
                return


def _check_choices(rt: Room, v: Any, schema: dict[str, Any], path: str, errors: list[Any], depth: int) -> None:
    for word in ("anyOf", "oneOf"):
        choices = schema.get(word)
        if choices is None:
            continue
        hits = 0
        for choice in choices:
            found: list[Any] = []
            _check(rt, v, choice, path, found, depth + 1)
            hits += not found
        if hits == 0 or (word == "oneOf" and hits > 1):
            errors.append({"path": path, "message": f"fits {hits} of the {len(choices)} choices of {word}"})


def _pointer(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
