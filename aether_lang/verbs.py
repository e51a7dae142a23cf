"""Verb statements at run time (language reference, section 13): what each verb does with its slots.

The compiler evaluates guards and slots and hands them over in order; `run` does the verb's work and gives its result.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, Final, NamedTuple, Protocol

from . import host, jobs, stdlib
from .values import ScriptError, ScriptSet, element, elements, equal, function_name, identity, is_function, kind, text

MOST_RECALLED: Final = 20
MOST_LOOKED_AT: Final = 100
"""How many entries a `where` behind `recall` looks through: as many as one question gives."""


class Room(Protocol):
    """What verbs ask of the runtime."""

    outputs: dict[str, Any]
    handlers: dict[str, list[Any]]
    policy: dict[str, Any]
    at: Any

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE`."""

    def call_function(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """A function of the library or the host."""

    def call_named(self, depth: Any, f: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """A function of the script."""

    def callback(self, function: Any, most: int) -> Callable[..., Any]:
        """The script's function as a callable."""

    def warn(self, code: str, message: str) -> None:
        """A warning, once per place."""

    def worked(self, size: int) -> None:
        """Counts elements gone over without a step drawn, and looks at the clock when they are many."""

    def check_items(self, count: int) -> None:
        """LimitError when a list of that many elements may not be made."""


class Slot(NamedTuple):
    """One slot: `kind` is value, call, word, prep, key or where; `name` the preposition or key."""

    kind: str
    name: str
    value: Any


class Phrase:
    """A verb with its slots, and how parts of it are found."""

    def __init__(self, verb: str, base: str, slots: list[Slot], source: str, payload: Any) -> None:
        """`source` is the text of the slots as written; `payload` the dict of the block, or None."""
        self.verb = verb
        self.base = base
        self.slots = slots
        self.source = source
        self.payload = payload
        self.values = [slot.value for slot in slots if slot.kind in ("value", "call", "word")]
        self.preps = {slot.name: slot.value for slot in reversed(slots) if slot.kind == "prep"}
        self.keys = {slot.name: slot.value for slot in reversed(slots) if slot.kind == "key"}
        self.where = next((slot.value for slot in slots if slot.kind == "where"), None)

    @property
    def first(self) -> Any:
        """The first value, else what the first key holds."""
        return self.values[0] if self.values else next(iter(self.keys.values()), None)

    def words(self) -> str:
        """The values as one text."""
        return " ".join(map(text, self.values))

    def data(self) -> list[dict[str, Any]]:
        """The slots as plain data for the host."""
        rows = [
            {"kind": slot.kind, "name": slot.name, "value": text(slot.value) if is_function(slot.value) else slot.value}
            for slot in self.slots
            if slot.kind != "where"
        ]
        return rows if self.payload is None else [*rows, {"kind": "payload", "name": "", "value": self.payload}]


Verb = Callable[[Room, Phrase], Any]


def run(
    rt: Room,
    depth: Any,
    verb: str,
    base: str,
    family: str,
    slots: list[tuple[str, str, Any]],
    source: str,
    function: Any = None,
    payload: Any = None,
) -> Any:
    """Runs the verb and keeps its result as `$last_output`. `family` is core, ai, message or intent; `function` is the
    function of that name in the script, if there is one."""
    rt.at = depth
    phrase = Phrase(verb, base, [Slot(*slot) for slot in slots], source, payload)
    core = _CORE.get(base) if verb == base else None
    result = core(rt, phrase) if core is not None else _dispatch(rt, depth, phrase, family, function)
    rt.outputs["last_output"] = result
    return result


def _dispatch(rt: Room, depth: Any, phrase: Phrase, family: str, function: Any) -> Any:
    if function is not None:
        names = _parameters(function)
        named = {k: v for k, v in {**phrase.preps, **phrase.keys}.items() if k in names}
        room = [name for name in names if name not in named]
        return rt.call_named(depth, function, phrase.values[: len(room)], named)
    if phrase.verb != phrase.base:
        phrase.slots.insert(0, Slot("value", "", phrase.verb[len(phrase.base) + 1 :]))
        phrase = Phrase(phrase.verb, phrase.base, phrase.slots, phrase.source, phrase.payload)
        if phrase.base in _CORE:
            return _CORE[phrase.base](rt, phrase)
    if phrase.base in ("filter", "find") and phrase.where is not None and type(phrase.first) is list:
        found = _where(rt, phrase, phrase.first)
        return found if phrase.base == "filter" else element(found, 0)
    if family == "message":
        return _message(rt, phrase)
    if _is_function(phrase.base) and (phrase.values or phrase.keys or phrase.preps):
        return _function(rt, phrase)
    return _declared(rt, phrase, family)


def _parameters(function: Any) -> list[str]:
    if type(function) is not FunctionType:
        return []
    code = function.__code__
    return [name.removeprefix("v_").partition("@")[0] for name in code.co_varnames[1 : code.co_argcount]]


def _is_function(name: str) -> bool:
    return name in host.FUNCTIONS or name in jobs.FUNCTIONS or name in stdlib.FUNCTIONS


def _function(rt: Room, phrase: Phrase) -> Any:
    """A host or library function named like the verb, when the slots fit its parameters."""
    row = host.FUNCTIONS.get(phrase.base)
    if row is None:
        return rt.call_function(phrase.base, phrase.values, {**phrase.preps, **phrase.keys})
    names = [p.rstrip("?") for p in row.parameters if not p.startswith("*")]
    named = {k: v for k, v in {**phrase.preps, **phrase.keys}.items() if k in names}
    room = len([name for name in names if name not in named])
    return rt.call_function(
        phrase.base, [phrase.words()] if room == 1 < len(phrase.values) else phrase.values[:room], named
    )


def _request(phrase: Phrase) -> dict[str, Any]:
    return {"verb": phrase.verb, "target": _plainly(phrase.first), "slots": phrase.data(), "text": phrase.source}


def _plainly(value: Any) -> Any:
    return text(value) if is_function(value) else value


def _declared(rt: Room, phrase: Phrase, family: str) -> Any:
    """A plugin that declares the verb; else AI, or an intent record and a warning."""
    request = _request(phrase)
    answer = rt.serve("verb_plugin", {k: request[k] for k in ("verb", "slots", "text")})
    if type(answer) is dict and answer.get("handled"):
        return answer.get("result")
    if family == "ai":
        return rt.serve("think", request)
    if rt.policy.get("strict"):
        raise ScriptError("UnknownFunction", f"nothing handles the verb '{phrase.verb}'")
    rt.warn("AW211", f"nothing handles the verb '{phrase.verb}', it is recorded only")
    rt.serve("intent", request)
    return {**request, "status": "recorded"}


def _message(rt: Room, phrase: Phrase) -> Any:
    to = phrase.preps.get("with", phrase.preps.get("to", phrase.first))
    return rt.serve("message", {"verb": phrase.verb, "to": _plainly(to), "slots": phrase.data(), "text": phrase.source})


def _where(rt: Room, phrase: Phrase, entries: Any) -> list[Any]:
    if phrase.where is None:
        return elements(entries)
    holds = rt.callback(phrase.where, 1)
    return [entry for entry in elements(entries) if holds(entry)]


# ---------------------------------------------------------------- core verbs


def _log(rt: Room, phrase: Phrase) -> None:
    named = {"level": phrase.keys["level"]} if "level" in phrase.keys else {}
    rest = [v for k, v in phrase.keys.items() if k != "level"]
    rt.call_function("log", [*phrase.values, *rest], named)


def _print(rt: Room, phrase: Phrase) -> None:
    rt.call_function("print", phrase.values, {})


def _speak(rt: Room, phrase: Phrase) -> Any:
    return rt.serve("speak", {"text": phrase.words()})


def _narrate(rt: Room, phrase: Phrase) -> Any:
    return rt.serve("narrate", {"text": phrase.words()} if phrase.values else {})


def _remember(rt: Room, phrase: Phrase) -> Any:
    request: dict[str, Any] = {}
    if phrase.values:
        request["content"] = phrase.values[0] if len(phrase.values) == 1 else phrase.words()
    elif phrase.keys:
        request["key"], request["content"] = next(iter(phrase.keys.items()))
    if phrase.payload is not None:
        request["data" if "content" in request else "content"] = phrase.payload
    if "content" not in request:
        raise ScriptError("ValueError", "remember needs something to remember")
    request.update({k: v for k, v in phrase.preps.items() if k in ("as", "for")})
    return rt.serve("remember_verb", request)


def _recall(rt: Room, phrase: Phrase) -> Any:
    request: dict[str, Any] = {k: v for k, v in phrase.preps.items() if k in ("with", "from")}
    if "tag" in phrase.keys:
        request["tag"] = phrase.keys["tag"]
    if phrase.values:
        request["query"] = phrase.words()
    elif phrase.keys and "tag" not in phrase.keys:
        request["query"] = text(phrase.first)
    if phrase.where is None:
        return rt.serve("recall", {**request, "limit": MOST_RECALLED})
    return _where(rt, phrase, rt.serve("recall", {**request, "limit": MOST_LOOKED_AT}))[:MOST_RECALLED]


def _forget(rt: Room, phrase: Phrase) -> Any:
    if "tag" in phrase.keys:
        return rt.serve("forget", {"tag": phrase.keys["tag"]})
    if not phrase.values:
        raise ScriptError("ValueError", "forget needs a text or `tag:`")
    return rt.serve("forget", {"query": phrase.words()})


def _store(rt: Room, phrase: Phrase) -> Any:
    value = phrase.first if phrase.payload is None else phrase.payload
    into = phrase.preps.get("in", phrase.preps.get("into", "memory"))
    if into == "memory":
        request = {"content": value, **{k: v for k, v in phrase.preps.items() if k in ("as", "for")}}
        if "with" in phrase.preps:
            request["data"] = phrase.preps["with"]
        return rt.serve("remember_verb", request)
    request = {"collection": text(into), "value": value}
    if "with" in phrase.preps:
        request["with"] = phrase.preps["with"]
    return rt.serve("collection_store", request)


def _append(rt: Room, phrase: Phrase) -> Any:
    target = phrase.preps.get("to", phrase.preps.get("into"))
    if type(target) is list:
        rt.check_items(len(target) + 1)
        target.append(phrase.first)
        return target
    return rt.serve("collection_append", {"collection": _named(target, "append"), "value": phrase.first})


def _named(target: Any, verb: str) -> str:
    if type(target) is not str:
        raise ScriptError("TypeError", f"{verb} needs a list or the name of a collection, not {kind(target)}")
    return target


def _clear(rt: Room, phrase: Phrase) -> Any:
    target = phrase.first
    if type(target) is list or type(target) is dict:
        target.clear()
        return target
    return rt.serve("collection_clear", {"collection": _named(target, "clear")})


def _remove(rt: Room, phrase: Phrase) -> Any:
    target = phrase.preps.get("from")
    if type(target) is list:
        rt.worked(len(target))
        at = next((n for n, x in enumerate(target) if equal(x, phrase.first, rt.worked)), -1)
        if at >= 0:
            del target[at]
        return target
    if type(target) is dict:
        return target.pop(text(phrase.first), None)
    if type(target) is ScriptSet:
        return target.elements.pop(identity(phrase.first, rt.worked), None)
    return rt.serve("collection_remove", {"collection": _named(target, "remove"), "value": phrase.first})


def _tag(rt: Room, phrase: Phrase) -> Any:
    return rt.serve("tag", {"value": phrase.first, "tag": phrase.preps.get("with", phrase.preps.get("as"))})


def _update(rt: Room, phrase: Phrase) -> Any:
    target = phrase.preps.get("in")
    if target is None:
        return _learn(rt, phrase)
    if type(target) is list:
        value = phrase.first
        ids = [
            n
            for n, x in enumerate(target)
            if type(x) is dict and type(value) is dict and x.get("id") == value.get("id")
        ]
        for n in ids:
            target[n] = {**target[n], **value}
        return target
    return rt.serve("collection_update", {"collection": _named(target, "update"), "value": phrase.first})


def _learn(rt: Room, phrase: Phrase) -> Any:
    source = _plainly(phrase.preps.get("from"))
    return rt.serve("learn", {"verb": phrase.verb, "source": source, "slots": phrase.data(), "text": phrase.source})


def _run(rt: Room, phrase: Phrase) -> Any:
    if phrase.slots and phrase.slots[0].kind == "call":
        return phrase.slots[0].value
    if is_function(phrase.first):
        return rt.call_named(rt.at, phrase.first, phrase.values[1:], {**phrase.preps, **phrase.keys})
    if len(phrase.values) >= 2 and phrase.values[0] == "agent":
        name = text(phrase.values[1])
        request = {"agent": name, "input": phrase.preps.get("with")}
        if phrase.payload is not None:
            request["data"] = phrase.payload
        result = rt.serve("run_agent", request)
        rt.outputs[f"{name}_output"] = result
        return result
    return _declared(rt, phrase, "intent")


def _assistant(rt: Room, phrase: Phrase) -> Any:
    result = _declared(rt, phrase, "ai")
    rt.outputs["response"] = result
    return result


def _use(rt: Room, phrase: Phrase) -> Any:
    if "plugin" in phrase.keys:
        name, args = text(phrase.keys["plugin"]), phrase.values
    elif len(phrase.values) >= 2 and phrase.values[0] == "plugin":
        name, args = text(phrase.values[1]), phrase.values[2:]
    elif phrase.values:
        name, args = text(phrase.first), []
    else:
        raise ScriptError("ValueError", "use needs a module or a plugin")
    if "to" in phrase.preps:
        args = [*args, phrase.preps["to"]]
    result = rt.call_function("plugin", [name, *args], {})
    rt.outputs["response"] = result
    return result


def _event(rt: Room, phrase: Phrase) -> Any:
    data = phrase.payload if phrase.payload is not None else phrase.preps.get("with")
    event = function_name(phrase.first) if is_function(phrase.first) else phrase.first
    return rt.call_function(phrase.base, [event, data], {})


def _detect(rt: Room, phrase: Phrase) -> Any:
    if "patterns" in phrase.values or "pattern" in phrase.values:
        return _pattern(rt, phrase)
    return _declared(rt, phrase, "ai")


def _pattern(rt: Room, phrase: Phrase) -> Any:
    return rt.serve("pattern", {"slots": phrase.data(), "text": phrase.source})


def _check(rt: Room, phrase: Phrase) -> Any:
    if len(phrase.values) >= 2 and phrase.values[0] == "goal":
        return rt.serve("check_goal", {"goal": phrase.values[1]})
    return _declared(rt, phrase, "intent")


def _read_out(rt: Room, phrase: Phrase) -> Any:
    if phrase.base == "plugin" and phrase.values[:1] != ["info"]:
        return _use(rt, Phrase("use", "use", [Slot("value", "", "plugin"), *phrase.slots], phrase.source, None))
    result = rt.serve("read_out", {"what": phrase.base, "words": [_plainly(v) for v in phrase.values]})
    rt.call_function("log", [result], {})
    return result


def _mode(rt: Room, phrase: Phrase) -> Any:
    return rt.serve("agent_mode", {"mode": phrase.verb, "text": phrase.source})


_CORE: Final[dict[str, Verb]] = {
    "log": _log,
    "print": _print,
    "speak": _speak,
    "narrate": _narrate,
    "remember": _remember,
    "recall": _recall,
    "forget": _forget,
    "store": _store,
    "save": _store,
    "append": _append,
    "clear": _clear,
    "remove": _remove,
    "tag": _tag,
    "update": _update,
    "learn": _learn,
    "adapt": _learn,
    "evolve": _learn,
    "run": _run,
    "use": _use,
    "assistant": _assistant,
    "trigger": _event,
    "emit": _event,
    "detect": _detect,
    "pattern": _pattern,
    "check": _check,
    "goal": _read_out,
    "memory": _read_out,
    "list": _read_out,
    "plugin": _read_out,
    "show": _read_out,
    "status": _read_out,
    "autonomous": _mode,
    "reflective": _mode,
}
