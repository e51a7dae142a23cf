"""The modules of a run: their members, what they declare, and the names their generated code may use (15, 22)."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from . import jobs, stdlib, steps, verbs
from .compiled import Compiled
from .host import BEHIND_THE_LANGUAGE
from .stdlib.lists import bounds, span
from .stdlib.numbers import formatted
from .stdlib.times import seconds
from .values import (
    CATCHABLE,
    Receiver,
    ScriptError,
    copied,
    element,
    elements,
    field,
    is_function,
    key_text,
    kind,
    pair,
    pairs,
    plain,
    text,
)

if TYPE_CHECKING:
    from .runtime import Runtime

ABSENT: Final = object()
"""The default of a parameter whose default value must be computed at each call."""
UNSET: Final = object()


class Unit:
    """One module of a run: its members and what it declared."""

    def __init__(self, rt: "Runtime", compiled: Compiled, path: str = "") -> None:
        """`path` is empty for the started script."""
        self.rt = rt
        self.compiled = compiled
        self.path = path
        self.members: dict[str, Callable[[], Any]] = {}
        self.public: frozenset[str] = frozenset()
        self.plugins: list[PluginInstance] = []

    @property
    def is_main(self) -> bool:
        """Whether this is the started script."""
        return not self.path

    def run(self, depth: Any) -> Any:
        """Runs the top level once; the value of its `return`."""
        meta = self.compiled.meta
        self.rt.narrowing.add(self.compiled.name, meta["plugins"])
        if not meta["direct"]:
            self.rt.indirect()
        self.rt.require(meta["require"])
        namespace = self.namespace()
        self.rt.namespaces.append(namespace)
        exec(self.compiled.code, namespace)  # noqa: S102  verified code, no builtins
        return self.main(namespace)(depth)

    def main(self, namespace: dict[str, Any]) -> Callable[[Any], Any]:
        """The top level as a function, once the code has run."""
        return namespace["@main"]  # type: ignore[no-any-return]

    def namespace(self) -> dict[str, Any]:
        """The globals of the generated code: no builtins, and only the names it uses."""
        rt = self.rt
        table = _helpers(rt, self)
        names: dict[str, Any] = {"__builtins__": {}, "@rt": rt, "@unit": self.path}
        for name in self.compiled.meta["globals"]:
            family, _, rest = name.partition(":")
            if family == "@lib":
                names[name] = partial(stdlib.FUNCTIONS[rest], rt)
            elif family == "@job":
                names[name] = partial(jobs.FUNCTIONS[rest], rt)
            elif family == "@value":
                names[name] = rt.builtin(rest)
            elif name != "@main":
                names[name] = table[name]
        return names

    # ------------------------------------------------------------ declarations

    def begin(self, members: dict[str, Callable[[], Any]], public: tuple[str, ...]) -> None:
        """The members of the module, each behind a function that reads it."""
        self.members = members
        self.public = frozenset(public or members)

    def handler(self, event: str, function: Any) -> None:
        """Registers a handler; those of a loaded module are not registered."""
        if self.is_main:
            self.rt.handlers.setdefault(event, []).append(function)

    def command(self, word: str, function: Any) -> None:
        """Makes a word a command of the script."""
        if self.is_main:
            self.rt.commands[word] = function

    def timer(self, schedule: str, function: Any) -> None:
        """Registers a timer, which works while the script is resident."""
        if self.is_main:
            self.rt.timers.append((schedule, function))

    def plugin(self, name: str, this: dict[str, Any], functions: dict[str, Any]) -> Receiver:
        """Declares a plugin block; the value of its name."""
        instance = PluginInstance(self.rt, name, this, functions)
        self.plugins.append(instance)
        return Receiver(name, instance.call, instance.field)

    def enter(self, depth: Any, name: str) -> None:
        """A function of a plugin block begins: its `init` has run by then, whichever way the call came."""
        self.rt.at = depth
        for plugin in self.plugins:
            if plugin.name == name:
                plugin.begin()

    def configured(self, config: Any) -> dict[str, Any]:
        """The config of a plugin block, entries replaced by those of the request."""
        if config is not None and type(config) is not dict:
            raise ScriptError("TypeError", f"config must be a dict, not {kind(config)}")
        entries = dict(config or {})
        if self.is_main:
            entries.update({key: copied(v) for key, v in self.rt.config.items() if key in entries})
        return entries

    def persisted(self, name: str, state: Any) -> dict[str, Any]:
        """The state of a block as its last run left it, over what the script says; kept when this run completes."""
        if type(state) is not dict:
            raise ScriptError("TypeError", f"state must be a dict, not {kind(state)}")
        key = name if self.is_main else f"{self.path}#{name}"
        here = (self.compiled.name, 0, 0, "")  # the block's own limits are for its code, not for keeping its state
        load, save = BEHIND_THE_LANGUAGE["state_load"], BEHIND_THE_LANGUAGE["state_save"]
        kept = self.rt.call_host(load.capability, load.operation, {"plugin": key}, here)
        found: dict[str, Any] = {**state, **kept} if type(kept) is dict else state
        before = plain(found)

        def keep() -> None:
            if plain(found) != before:
                self.rt.call_host(save.capability, save.operation, {"plugin": key, "value": found}, here)

        self.rt.endings.append(keep)
        return found

    # ------------------------------------------------------------ members

    @property
    def _one_plugin(self) -> "PluginInstance | None":
        """The plugin block that the module consists of, whose members are then the module's (15)."""
        return self.plugins[0] if len(self.plugins) == 1 and self.compiled.meta["one_plugin"] else None

    def member(self, name: str) -> Any:
        """A public member; null when there is none."""
        one = self._one_plugin
        if one is not None:
            return one.field(name)
        return self.members[name]() if name in self.public and name in self.members else None

    def imported(self, name: str) -> Any:
        """A public member; ImportError when there is none."""
        one = self._one_plugin
        known = {*one.functions, *one.this} if one is not None else self.public & self.members.keys()
        if name not in known:
            raise ScriptError("ImportError", f"module '{self.path}' has no '{name}'")
        return self.member(name)

    def call_member(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """Calls a public member; UnknownFunction when there is none."""
        depth = self.rt.at
        one = self._one_plugin
        if one is not None:
            return one.call(name, args, named)
        member = self.member(name)
        if not is_function(member):
            raise ScriptError("UnknownFunction", f"module '{self.path}' has no function '{name}'")
        return self.rt.call_named(depth, member, args, named)


class PluginInstance:
    """A plugin block of a run: `init` before the first call, `cleanup` when the run ends."""

    def __init__(self, rt: "Runtime", name: str, this: dict[str, Any], functions: dict[str, Any]) -> None:
        """`this` is what `self` gives; `functions` are its functions and handlers."""
        self.name = name
        self.this = this
        self.functions = functions
        self._rt = rt
        self._begun = False

    def begin(self) -> None:
        """Runs `init` once, and has `cleanup` run at the end."""
        if self._begun:
            return
        self._begun = True
        depth = self._rt.at
        if "cleanup" in self.functions:
            self._rt.cleanups.append(lambda: self._rt.call(depth, self.functions["cleanup"]))
        if "init" in self.functions:
            self._rt.call(depth, self.functions["init"])

    def field(self, name: str) -> Any:
        """A function or a field of the block; null when there is none."""
        return self.functions.get(name, self.this.get(name))

    def call(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """Calls a function of the block."""
        depth = self._rt.at
        function = self.functions.get(name)
        if function is None:
            raise ScriptError("UnknownFunction", f"plugin '{self.name}' has no function '{name}'")
        self.begin()
        with self.in_time():
            return self._rt.call_named(depth, function, args, named)

    def in_time(self) -> AbstractContextManager[None]:
        """The deadline that the block's `timeout` gives a call of it."""
        limit = self.this.get("timeout")
        return nullcontext() if limit is None else self._rt.budget.within(seconds(limit))


def _ignored(_rows: Any) -> None:
    """Rules on errors of a module: those of the started script count."""


def _unregistered(_title: Any, _priority: Any, _deadline: Any, _metrics: Any) -> None:
    """Goals of a module are not registered (15)."""


def _helpers(rt: "Runtime", unit: Unit) -> dict[str, Any]:
    """Every name that generated code may use, with what stands behind it."""
    call_host = rt.host.call if rt.direct else rt.call_host
    return {
        "@fuel": rt.budget.fuel,
        "@zip": zip,
        "@type": type,
        "@len": len,
        "@append": list.append,
        "@enumerate": enumerate,
        "@type_error": TypeError,
        "@unbound_error": NameError,
        "@int": int,
        "@str": str,
        "@list": list,
        "@range": bounds,
        "@span": partial(span, rt),
        "@absent": ABSENT,
        "@unset_box": UNSET,
        **{f"@{name}": getattr(rt, name) for name in _OPERATORS},
        **{f"@{name}": getattr(rt, name) for name in _RUNTIME},
        "@note_goal": rt.note_goal if unit.is_main else _unregistered,
        "@rules": rt.recovery.rules if unit.is_main else _ignored,
        "@recover": rt.recovery.recover,
        "@branch": rt.branches.branch,
        "@open": rt.branches.open,
        "@begin_transaction": rt.transactions.begin,
        "@commit": rt.transactions.commit,
        "@discard": rt.transactions.discard,
        "@anything": BaseException,
        "@text": text,
        "@format": formatted,
        "@field": field,
        "@element": element,
        "@pairs": pairs,
        "@pair": pair,
        "@elements": elements,
        "@key": key_text,
        "@catchable": CATCHABLE,
        "@host": call_host,
        "@verb": partial(verbs.run, rt),
        "@begin": unit.begin,
        "@handler": unit.handler,
        "@command": unit.command,
        "@timer": unit.timer,
        "@plugin": unit.plugin,
        "@enter": unit.enter,
        "@configured": unit.configured,
        "@persisted": unit.persisted,
        "@name": "__main__" if unit.is_main else unit.path,
        **{f"@{name}": helper for name, helper in steps.helpers(rt, unit).items()},
    }


_OPERATORS: Final = (
    "add", "sub", "mul", "div", "mod", "pow", "neg", "pos", "band", "bor", "bxor", "shl", "shr", "inv",
    "lt", "le", "gt", "ge", "eq", "ne", "has", "hasnt",
)  # fmt: skip
_RUNTIME: Final = (
    "begin_simulation", "end_simulation", "measured", "charged", "paid", "listed", "park", "note_goal", "end_goal",
    "plugin_line", "message", "keep",
    "memory_scope", "ambient", "signal", "unbound", "unset", "call", "call_named", "invoke", "invoke_named",
    "effect", "receiver", "call_library", "unknown_function", "run_handler", "caught", "thrown", "is_error",
    "finishing", "set_field", "set_element", "constant", "counted", "taken_apart", "joined", "dict_of", "named_args",
    "awaited", "part", "regex", "construct", "entry_field", "has_field", "module", "imported",
)  # fmt: skip
_FIXED: Final = (
    "fuel", "zip", "type", "len", "append", "enumerate", "type_error", "unbound_error", "int", "str", "list", "range",
    "span", "absent", "unset_box", "text", "format", "field", "element", "pairs", "pair", "elements", "key",
    "catchable", "host", "verb", "begin", "handler", "command", "timer", "plugin", "enter", "configured", "persisted",
    "name",     "rules", "recover", "branch", "open", "begin_transaction", "commit", "discard", "anything",
)  # fmt: skip
HELPERS: Final = frozenset(f"@{name}" for name in (*_FIXED, *_OPERATORS, *_RUNTIME, *steps.NAMES))
"""The names that generated code may use for the runtime, besides `@lib:`, `@job:` and `@value:` names."""
