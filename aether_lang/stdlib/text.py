"""Text functions: case, parts, JSON, encodings (language reference, section 20)."""

import base64
import binascii
import hashlib
import json
from typing import Any
from urllib.parse import quote, urlsplit

from .. import methods
from ..methods import Room
from ..values import MAX_PIECES, LimitError, ScriptError, checked, json_text, kind, limit_error, text, whole


def _subject(value: Any, what: str) -> str:
    if type(value) is str:
        return value
    if value is None:
        return ""
    raise ScriptError("TypeError", f"{what} needs a string, not {kind(value)}")


def to_text(rt: Room, v: Any = "") -> str:
    """`str(v)`: the text of a value."""
    made = text(v)
    rt.worked(0 if type(v) is str else len(made))
    return rt.sized(made)


def lower(rt: Room, s: Any) -> str:
    """The string in lower case."""
    return rt.sized(_subject(s, "lower").lower())


def upper(rt: Room, s: Any) -> str:
    """The string in upper case."""
    return rt.sized(_subject(s, "upper").upper())


def trim(rt: Room, s: Any) -> str:
    """The string without blanks at its ends."""
    return rt.sized(_subject(s, "trim").strip())


def split(rt: Room, s: Any, sep: Any = None) -> list[Any]:
    """The parts of a string."""
    return methods.split(rt, _subject(s, "split"), sep)


def replace(rt: Room, s: Any, a: Any, b: Any) -> str:
    """As the method of strings."""
    return methods.replace(rt, _subject(s, "replace"), a, b)


def join(rt: Room, xs: Any, sep: Any = "") -> str:
    """The texts of a list with `sep` between them."""
    if type(xs) is not list:
        raise ScriptError("TypeError", f"join needs a list, not {kind(xs)}")
    return methods.join(rt, xs, sep)


def to_json(rt: Room, v: Any, indent: Any = 0, spaces: Any = None) -> str:
    """The value as JSON text; `JSON.stringify(v, null, 2)` gives the indentation as the third argument."""
    wide = whole(
        0 if (spaces if indent is None else indent) is None else (spaces if indent is None else indent), "indent"
    )
    if not 0 <= wide <= 16:
        raise ScriptError("ValueError", "the indentation of JSON must lie between 0 and 16")
    made = rt.sized(json_text(v, wide))
    rt.worked(len(made))
    return made


def from_json(rt: Room, s: Any) -> Any:
    """The value of a JSON text; ValueError with the place of the mistake."""
    source = _subject(s, "JSON.parse")
    rt.spend(len(source) >> 6)
    pieces = source.count(",") + source.count("[") + source.count("{") + 1
    rt.worked(pieces)
    if pieces > MAX_PIECES:
        raise limit_error("pieces", MAX_PIECES, "the JSON text has too many pieces")
    try:
        value = json.loads(source, parse_constant=_refuse, parse_int=_int, parse_float=_float)
        if "\\u" in source:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ScriptError("ValueError", f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise ScriptError("ValueError", "the JSON text nests too deep") from None
    except UnicodeEncodeError:  # half a pair of surrogates is no character, and can go nowhere
        raise ScriptError("ValueError", "not JSON: half a character behind \\u") from None
    try:
        rt.check_items(pieces)
    except LimitError:  # all together are too many, which says nothing yet about any one of them
        _check_sizes(rt, value)
    return value


def _check_sizes(rt: Room, value: Any) -> None:
    """LimitError when a list or dict in what was read has too many elements."""
    if type(value) is list or type(value) is dict:
        rt.check_items(len(value))
        for part in value.values() if type(value) is dict else value:
            _check_sizes(rt, part)


def _refuse(word: str) -> Any:
    raise ScriptError("ValueError", f"not JSON: {word} is no number")


def _int(digits: str) -> int:
    if len(digits) > 1300:
        raise ScriptError("ValueError", "not JSON: a number has too many digits")
    return int(checked(int(digits)))


def _float(digits: str) -> float:
    return float(checked(float(digits)))


def sha256(rt: Room, s: Any) -> str:
    """The SHA-256 of the text, in hex."""
    data = text(s).encode("utf-8", "surrogatepass")
    rt.worked(len(data))
    return hashlib.sha256(data).hexdigest()


def short_hash(rt: Room, s: Any) -> str:
    """A stable short hash of the text: the first 16 hex digits of its SHA-256."""
    return sha256(rt, s)[:16]


def base64_encode(rt: Room, s: Any) -> str:
    """The UTF-8 bytes of the text in base64."""
    return rt.sized(base64.b64encode(text(s).encode("utf-8", "replace")).decode("ascii"))


def base64_decode(rt: Room, s: Any) -> str:
    """The text behind base64; ValueError when it is none."""
    try:
        return rt.sized(base64.b64decode(_subject(s, "base64_decode"), validate=True).decode("utf-8"))
    except (binascii.Error, ValueError):
        raise ScriptError("ValueError", "not base64 of UTF-8 text") from None


def new_url(_rt: Room, s: Any) -> dict[str, Any]:
    """`new URL(s)`: the parts of an absolute address; ValueError when it is none."""
    try:
        parts = urlsplit(_subject(s, "URL"))
        port = parts.port
    except ValueError:
        raise ScriptError("ValueError", "not an address") from None
    if not parts.scheme or not parts.netloc:
        raise ScriptError("ValueError", "not an absolute address, expected one such as https://host/path")
    return {
        "href": parts.geturl(),
        "protocol": f"{parts.scheme}:",
        "hostname": parts.hostname,
        "port": port,
        "pathname": parts.path or "/",
        "search": f"?{parts.query}" if parts.query else "",
        "hash": f"#{parts.fragment}" if parts.fragment else "",
    }


def url_encode(rt: Room, s: Any) -> str:
    """The text with everything but unreserved characters percent-encoded."""
    return rt.sized(quote(text(s), safe="", errors="replace"))
