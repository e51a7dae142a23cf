"""The library functions that no capability guards, and those that only read the clock: one table by their full name.

Each takes the runtime first. What needs the host for more than the time stands in `host.FUNCTIONS`.
"""

from collections.abc import Callable
from typing import Any, Final

from . import lists, numbers, schemas, text, times

FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "now": times.now,
    "current_time": times.now,
    "today": times.today,
    "date": times.date,
    "time_since": times.time_since,
    "format_time": times.format_time,
    "parse_time": times.parse_time,
    "parse_duration": times.parse_duration,
    "calculate_duration": times.calculate_duration,
    "len": lists.length,
    "count": lists.count,
    "sum": numbers.total,
    "average": numbers.average,
    "avg": numbers.average,
    "min": numbers.least,
    "max": numbers.greatest,
    "round": numbers.rounded,
    "floor": numbers.floor,
    "ceil": numbers.ceil,
    "abs": numbers.absolute,
    "sqrt": numbers.sqrt,
    "pow": numbers.power,
    "any": lists.any_of,
    "all": lists.all_of,
    "range": lists.ints,
    "sorted": lists.in_order,
    "reversed": lists.backwards,
    "unique": lists.unique,
    "zip": lists.zipped,
    "enumerate": lists.numbered,
    "keys": lists.keys,
    "values": lists.values,
    "items": lists.items,
    "merge": lists.merge,
    "filter": lists.filtered,
    "map": lists.mapped,
    "str": text.to_text,
    "int": numbers.to_int,
    "float": numbers.to_float,
    "bool": numbers.to_bool,
    "list": lists.to_list,
    "dict": lists.to_dict,
    "parseInt": numbers.parse_int,
    "parseFloat": numbers.parse_float,
    "typeof": lists.type_of,
    "type": lists.kind_of,
    "contains": lists.contains,
    "split": text.split,
    "join": text.join,
    "replace": text.replace,
    "lower": text.lower,
    "upper": text.upper,
    "trim": text.trim,
    "JSON.stringify": text.to_json,
    "JSON.parse": text.from_json,
    "to_json": text.to_json,
    "from_json": text.from_json,
    "Math.floor": numbers.floor,
    "Math.ceil": numbers.ceil,
    "Math.round": numbers.rounded,
    "Math.max": numbers.greatest,
    "Math.min": numbers.least,
    "Math.abs": numbers.absolute,
    "Math.pow": numbers.power,
    "Math.sqrt": numbers.sqrt,
    "Object.keys": lists.keys,
    "Object.entries": lists.items,
    "Object.values": lists.values,
    "Object.assign": lists.assign,
    "Array.isArray": lists.is_list,
    "Array.from": lists.array_from,
    "hash": text.short_hash,
    "sha256": text.sha256,
    "base64_encode": text.base64_encode,
    "base64_decode": text.base64_decode,
    "url_encode": text.url_encode,
    "validate_schema": schemas.validate_schema,
}

CONSTANTS: Final[dict[str, Any]] = {"Math.PI": numbers.PI}
"""Fields of the library's namespaces that are no functions."""

CONSTRUCTORS: Final[dict[str, Callable[..., Any]]] = {
    "Set": lists.new_set,
    "Date": times.new_date,
    "URL": text.new_url,
}
"""What `new X(..)` calls; `Error` is the runtime's."""
