"""`rt`: what generated code may touch while it runs (language reference, sections 17, 18 and 22).

A `Runtime` is one run: its budget, its host, its modules. Each module of the run is a `Unit`. Generated code reaches
them through the names that `Unit.namespace` hands out, and through nothing else.
"""

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any, Final, NoReturn

from . import host as outside
from . import jobs, stdlib, verbs
from .boundaries import Contracts, Narrowing
from .branches import Branches, Passing
from .budget import LARGE, Budget
from .calling import CO_VARARGS, METHOD_ARITY, bound_args, checked_call, parameter_names
from .compiled import Compiled
from .delays import Delays
from .methods import METHODS, Method
from .operators import Operators
from .recovery import Recovery
from .regex import Regex, RegexError
from .stdlib import times
from .steps import Steps
from .transactions import Transactions
from .units import Unit
from .values import (
    Builtin,
    ErrorValue,
    Future,
    Place,
    Receiver,
    ScriptError,
    check_error_data,
    copied,
    elements,
    function_name,
    is_function,
    key_text,
    kind,
    limit_error,
    part,
    plain,
    position,
    text,
)

MAX_STACK: Final = 20
_ANY_ERROR: Final = frozenset({"Exception", "Error", "any"})
_NOTEWORTHY: Final = 256
"""Strings and lists up to this size are made in less time than the step that makes them."""
_NO_METHODS: Final[dict[str, Method]] = {}


class Runtime(Operators):
    """One run of one script. Create it, then let `program.run` drive it."""

    def __init__(
        self,
        host: outside.Host,
        budget: Budget,
        *,
        parameters: dict[str, Any] | None = None,
        context: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        policy: Mapping[str, Any] | None = None,
        contracts: Sequence[Mapping[str, Any]] = (),
        name: str = "main",
    ) -> None:
        """`config` replaces entries of a plugin's `config`; `policy` holds the script's own `policy:` entries,
        `contracts` those of its contracts with plugins; `name` is the script's."""
        super().__init__(self)
        self.name = name
        self.policy = dict(policy or {})
        self.budget = budget
        self.recovery = Recovery(self)
        self.branches = Branches(self, budget, self.recovery.left_branch)
        self.branches.one_by_one = not host.overlaps or self.policy.get("deterministic") is True
        self.direct = host.direct
        self.host: outside.Host = host if self.branches.one_by_one else Passing(host, self.branches)
        self.transactions = Transactions(self)
        self.narrowing = Narrowing(self)
        self.contracts = Contracts(self, contracts)
        self.steps = Steps(self)
        self.delays = Delays(self)
        self.main: Unit | None = None
        self.parameters = copied(parameters or {})
        self.context = copied(context or {})
        self.config = copied(config or {})
        self.strict_null = self.policy.get("strict_null") is True
        self.shared: dict[str, Any] = {}
        self.outputs: dict[str, Any] = {}
        self.event_data: Any = None
        self.at: Any = budget.depth
        self.handlers: dict[str, list[Any]] = {}
        self.commands: dict[str, Any] = {}
        self.timers: list[tuple[str, Any]] = []
        self.cleanups: list[Callable[[], None]] = []
        self.endings: list[Callable[[], None]] = []
        self.namespaces: list[dict[str, Any]] = []
        self._gone_over = 0
        self._modules: dict[str, Unit] = {}
        self._files: dict[tuple[str, str], Unit] = {}
        self._warned: set[tuple[str, int, int, str]] = set()
        self._log_left = int(budget.values["log_records"])
        self._output_left = int(budget.values["output_kb"] * 1024)
        self._started: float | None = None

    # ------------------------------------------------------------ sizes

    def check_text(self, length: int) -> None:
        """LimitError when a string of that length may not be made."""
        if length > self.budget.text_limit:
            raise limit_error("text_mb", self.budget.values["text_mb"], f"a string of {length} characters is too long")

    def check_items(self, count: int) -> None:
        """LimitError when a list or dict of that many elements may not be made."""
        if count > self.budget.item_limit:
            raise limit_error("items", self.budget.values["items"], f"a collection of {count} elements is too large")

    def sized(self, value: str) -> str:
        """The string, once its length is checked and charged."""
        if len(value) > _NOTEWORTHY:
            self.worked(len(value) >> 4)
        if len(value) > LARGE:
            self.check_text(len(value))
            self.budget.charge(len(value))
            self.budget.check()
        return value

    def listed(self, value: list[Any]) -> list[Any]:
        """The list, once its length is checked and charged."""
        if len(value) > _NOTEWORTHY:
            self.check_items(len(value))
            self.worked(len(value))
            if len(value) > LARGE // 8:
                self.budget.charge(len(value) * 8)
        return value

    def worked(self, size: int) -> None:
        """Counts elements that were gone over without a step drawn, and looks at the clock when they are many: a slice
        of fuel may hold thousands of such calls."""
        self._gone_over += size
        if self._gone_over > LARGE:
            self._gone_over = 0
            self.budget.check()

    def measured(self, value: Any) -> Any:
        """The value that an inline `+` made large, once its size is checked and charged."""
        if type(value) is str:
            return self.sized(value)
        return self.listed(value) if type(value) is list else value

    def spend(self, steps: int) -> None:
        """Charges steps at once."""
        self.budget.spend(steps)

    def charged(self, xs: list[Any]) -> list[Any]:
        """The list itself, once a step for each element is charged."""
        self.budget.spend(len(xs))
        return xs

    def paid(self, v: Any) -> Any:
        """The value itself, once a step for each element is charged."""
        if type(v) is list or type(v) is dict:
            self.budget.spend(len(v))
        return v

    # ------------------------------------------------------------ where we are

    def place(self) -> Place:
        """Where the script stands: the inmost frame of generated code."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_globals.get("@rt") is not self:
            frame = frame.f_back
        if frame is None:
            return ("", 0, 0, "")
        line, column = _position(frame.f_code, frame.f_lasti)
        return (frame.f_code.co_filename, line, column, frame.f_globals["@unit"])

    def stack(self) -> list[dict[str, Any]]:
        """The functions under way, inmost first."""
        found = self._frames(sys._getframe(1))
        return [{"function": name, "file": file, "line": line} for name, file, line in found]

    def _frames(self, frame: FrameType | None) -> list[tuple[str, str, int]]:
        found: list[tuple[str, str, int]] = []
        while frame is not None and len(found) < MAX_STACK:
            if frame.f_globals.get("@rt") is self:
                found.append((_shown(frame.f_code), frame.f_code.co_filename, frame.f_lineno or 0))
            frame = frame.f_back
        return found

    def located(self, error: BaseException) -> tuple[Place, tuple[tuple[str, str, int], ...]]:
        """Where an exception was raised, and the functions then under way."""
        frames: list[tuple[str, str, int]] = []
        place: Place = ("", 0, 0, "")
        trace: TracebackType | None = error.__traceback__
        outer = trace.tb_frame.f_back if trace is not None else None
        while trace is not None:
            code = trace.tb_frame.f_code
            if trace.tb_frame.f_globals.get("@rt") is self:
                line, column = _position(code, trace.tb_lasti)
                place = (code.co_filename, line, column, trace.tb_frame.f_globals["@unit"])
                frames.append((_shown(code), code.co_filename, line))
            trace = trace.tb_next
        return place, tuple((frames[::-1] + self._frames(outer))[:MAX_STACK])

    def warn(self, code: str, message: str) -> None:
        """A warning in the job's log, once per place of the script."""
        place = self.place()
        key = (place[0], place[1], place[2], code)
        if key not in self._warned:
            self._warned.add(key)
            self._record("warning", f"{code} {message}", place)

    # ------------------------------------------------------------ log and output

    def write_log(self, level: str, message: str) -> None:
        """One record of the job's log; past the limit one last record says so."""
        self.worked(len(message) >> 2)
        self._record(level, message, self.place())

    def _record(self, level: str, message: str, place: Place) -> None:
        if self._log_left > 0:
            self.host.log(level, message, place)
        elif self._log_left == 0:
            self.host.log("warning", "the log is full, later records are dropped", place)
        self._log_left -= 1

    def write_output(self, line: str) -> None:
        """One line of the job's output, cut with a mark at the limit."""
        self.worked(len(line) >> 2)
        if self._output_left < 0:
            return
        data = line.encode("utf-8", "replace")
        if len(data) + 1 > self._output_left:
            line = data[: self._output_left].decode("utf-8", "ignore") + " [output cut]"
            self._output_left = -1
        else:
            self._output_left -= len(data) + 1
        self.host.output(line)

    # ------------------------------------------------------------ the host

    def call_host(self, capability: str, operation: str, args: dict[str, Any], place: Place) -> Any:
        """One operation of the host. Arguments leave as plain data; nothing is called once the run must end."""
        self.budget.check()
        if self.narrowing:
            self.narrowing.check(capability, place)
        data = plain(args)
        if operation in outside.PLUGIN_CALLS and self.contracts:
            name = outside.called(data)
            given = data.get("args") or [], data.get("kwargs") or {}
            keep = self.contracts.tried if operation == "plugin.try" else self.contracts.kept
            result = keep(name, *given, lambda: self.host.call(capability, operation, data, place))
        else:
            result = self.host.call(capability, operation, data, place)
        self.budget.check()
        return result

    def indirect(self) -> None:
        """From now on every call of the host goes through `call_host`, whatever the host allows."""
        if self.direct:
            self.direct = False
            for namespace in self.namespaces:
                if "@host" in namespace:
                    namespace["@host"] = self.call_host

    def require_capabilities(self, wanted: Sequence[str]) -> None:
        """PermissionError for the first capability that the run does not have."""
        for word in self.serve("unmet", {"capabilities": list(wanted)}) if wanted else ():
            raise ScriptError("PermissionError", f"missing capability: {word}", {"capability": word})

    def require(self, wanted: Mapping[str, list[str]]) -> None:
        """RequirementError that names everything the script requires and does not have (12.3)."""
        asked = {key: listed for key, listed in wanted.items() if listed}
        unmet = self.serve("unmet", asked) if asked else []
        if unmet:
            raise ScriptError("RequirementError", "the script requires what is not there: " + "; ".join(unmet), unmet)

    def begin_simulation(self) -> tuple[outside.Host, int]:
        """From here on effects go to mock providers, and reads to the host; gives what `end_simulation` needs."""
        from .mocks import Mocks  # most runs have no use for it

        before = self.host, self.branches.mark()
        self.host = Mocks(self.host, reads=True, contracts=self.contracts.all, source=f"script:{self.name}")
        return before

    def end_simulation(self, mark: tuple[outside.Host, int]) -> list[dict[str, Any]]:
        """Gives the effects there would have been, as `$last_output` too; none of them has happened."""
        mocks: Any = self.host
        self.branches.join(mark[1])
        self.host = mark[0]
        found = [
            {name: getattr(effect, name) for name in ("operation", "capability", "args", "line", "would")}
            for effect in mocks.effects
        ]
        self.outputs["last_output"] = found
        return found

    def serve(self, name: str, args: dict[str, Any]) -> Any:
        """An operation of `host.BEHIND_THE_LANGUAGE` by the runtime's own name."""
        row = outside.BEHIND_THE_LANGUAGE[name]
        return self.call_host(row.capability, row.operation, args, self.place())

    def now(self) -> float:
        """Seconds since 1970, from the host."""
        return self.serve("now", {})  # type: ignore[no-any-return]

    def ambient(self, name: str) -> Any:
        """An ambient value of section 7; null while nothing has set it."""
        if name in ("current_timestamp", "current_time"):
            return self.now()
        if name == "current_date":
            return times.today(self)
        if name == "timestamp":
            return times.format_time(self, self.started(), "%Y%m%dT%H%M%SZ")
        if name == "event_data":
            return self.event_data
        if name == "parameters":
            return self.parameters
        return self.context if name == "context" else self.outputs.get(name)

    def started(self) -> float:
        """When the job started, as the host tells it at the first question."""
        if self._started is None:
            self._started = self.now()
        return self._started

    def signal(self, name: str) -> Any:
        """The value of a signal; null when it is unknown."""
        return self.serve("signal", {"name": name})

    def unbound(self, name: str) -> Any:
        """A name nothing is bound to: NameError, or null where the policy says so."""
        if self.policy.get("unbound_names") == "null":
            self.warn("AW201", f"nothing is bound to '{name}'")
            return None
        raise ScriptError("NameError", f"nothing is bound to '{name}'")

    def unset(self, name: str) -> None:
        """The value of a variable whose assignment was not reached: null, with a warning."""
        self.warn("AW206", f"'{name}' was not assigned yet and reads as null")

    # ------------------------------------------------------------ calls

    def call(self, depth: Any, f: Any, *args: Any) -> Any:
        """f(args) for a value that may not be a function."""
        if type(f) is FunctionType:
            code = f.__code__
            if code.co_argcount == len(args) + 1 and not code.co_flags & CO_VARARGS:
                return f(depth, *args)
            return f(depth, *self._fitted(f, args))
        self.at = depth
        if type(f) is Builtin:
            return f.call(*args)
        raise ScriptError("TypeError", f"{kind(f)} is not a function")

    def call_named(self, depth: Any, f: Any, args: list[Any], named: dict[str, Any]) -> Any:
        """f(args, name=value): keywords by the names of the parameters."""
        if not named:
            return self.call(depth, f, *args)
        if type(f) is Builtin:
            self.at = depth
            return f.call(*args, **named)
        if type(f) is not FunctionType:
            raise ScriptError("TypeError", f"{kind(f)} is not a function")
        names = parameter_names(f)
        unknown = next((name for name in named if name not in names), None)
        if unknown is not None:
            raise ScriptError("TypeError", f"{function_name(f)} has no parameter '{unknown}'")
        doubled = next((name for name in names[: len(args)] if name in named), None)
        if doubled is not None:
            raise ScriptError("TypeError", f"{function_name(f)} got '{doubled}' twice")
        first = len(names) - len(f.__defaults__ or ())
        filled = list(args)
        for n in range(len(args), len(names)):
            if names[n] in named:
                filled.append(named[names[n]])
            elif n >= first:
                filled.append((f.__defaults__ or ())[n - first])
            else:
                self.warn("AW204", f"{function_name(f)} was called without '{names[n]}'")
                filled.append(None)
        return f(depth, *filled)

    def _fitted(self, f: FunctionType, args: tuple[Any, ...]) -> tuple[Any, ...]:
        names = parameter_names(f)
        if len(args) > len(names) and not f.__code__.co_flags & CO_VARARGS:
            raise ScriptError("TypeError", f"{function_name(f)} takes {len(names)} arguments, got {len(args)}")
        required = len(names) - len(f.__defaults__ or ())
        if len(args) < required:
            self.warn("AW204", f"{function_name(f)} was called without '{names[len(args)]}'")
            return args + (None,) * (required - len(args))
        return args

    def callback(self, function: Any, most: int) -> Callable[..., Any]:
        """The function as a callable that drops arguments beyond its own and beyond `most`."""
        depth = self.at
        if type(function) is FunctionType:
            code = function.__code__
            own = code.co_argcount - 1
            takes = most if code.co_flags & CO_VARARGS else min(own, most)
            short = (None,) * max(own - len(function.__defaults__ or ()) - takes, 0)
            if takes == 1 and not short:
                return lambda x, *_: function(depth, x)
            return lambda *args: function(depth, *args[:takes], *short)
        if type(function) is Builtin:
            return lambda *args: self._counted_call(function, args[: max(most - 1, 1)])
        raise ScriptError("TypeError", f"expected a function, got {kind(function)}")

    def _counted_call(self, function: Builtin, args: tuple[Any, ...]) -> Any:
        """A call of a callback that draws no step of its own."""
        self.budget.spend(1)
        return function.call(*args)

    def invoke(self, depth: Any, v: Any, name: str, *args: Any) -> Any:
        """v.name(args): a callable entry of a dict, then the method of the type."""
        of = type(v)
        if of is dict:
            entry = v.get(name)
            if type(entry) is FunctionType or type(entry) is Builtin:
                return self.call(depth, entry, *args)
        self.at = depth
        method = METHODS.get(of, _NO_METHODS).get(name)
        if method is None:
            return self._invoke_other(depth, v, name, list(args), {})
        least, most = METHOD_ARITY[method]
        if not least <= len(args) <= most:
            args = self._method_args(name, args, least, most)
        return method(self, v, *args)

    def invoke_named(self, depth: Any, v: Any, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """v.name(args, name=value)."""
        if not named:
            return self.invoke(depth, v, name, *args)
        if type(v) is dict and is_function(v.get(name)):
            return self.call_named(depth, v[name], args, named)
        self.at = depth
        method = METHODS.get(type(v), _NO_METHODS).get(name)
        if method is None:
            return self._invoke_other(depth, v, name, args, named)
        return checked_call(name, method, (self, v, *args), named)

    def _method_args(self, name: str, args: tuple[Any, ...], least: int, most: int) -> tuple[Any, ...]:
        if len(args) > most:
            raise ScriptError("TypeError", f".{name}() takes {most} arguments, got {len(args)}")
        self.warn("AW204", f".{name}() was called with {len(args)} of {least} arguments")
        return args + (None,) * (least - len(args))

    def _invoke_other(self, depth: Any, v: Any, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        if type(v) is Receiver:
            return v.call(name, args, named)
        if type(v) is Future:
            return self.invoke_named(depth, v.get(), name, args, named)
        if v is None:
            raise ScriptError("TypeError", f"cannot call .{name}() of null")
        raise ScriptError("UnknownMethod", f"{kind(v)} has no method '{name}'")

    def effect(self, depth: Any, v: Any, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """`call v.name(args)`: a string addresses the plugin of that name, an agent's record that agent (8.1)."""
        if type(v) is str:
            return self.receiver(v, name, args, named)
        if type(v) is dict and v.get("type") == "agent" and not is_function(v.get(name)):
            return self.serve("agent_method", {"agent": v, "message": name, "args": args, "kwargs": named})
        return self.invoke_named(depth, v, name, args, named)

    def receiver(self, name: str, function: str, args: list[Any], named: dict[str, Any]) -> Any:
        """A function of the plugin or agent of that name; NameError when there is neither, and for functions among the
        arguments, which no plugin can take: what was meant is a variable."""
        if any(map(is_function, args)):
            raise ScriptError("NameError", f"nothing is bound to '{name}', and no plugin's function takes a function")
        return self.serve("receiver", {"receiver": name, "function": function, "args": args, "kwargs": named})

    def call_function(self, name: str, args: list[Any], named: Mapping[str, Any] = {}) -> Any:
        """A function of the library or the host by its full name, arguments checked here."""
        function = stdlib.FUNCTIONS.get(name) or jobs.FUNCTIONS.get(name)
        if function is not None:
            return checked_call(name, function, (self, *args), named)
        row = outside.FUNCTIONS[name]
        return self.call_host(row.capability, row.operation, bound_args(name, row, args, named), self.place())

    def call_library(self, depth: Any, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """`call_function` for functions that may run functions of the script."""
        self.at = depth
        return self.call_function(name, args, named)

    def unknown_function(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """A function nothing here knows: a plugin's, or what the policy says of unbound calls (section 7)."""
        request = {"name": name, "args": args, "kwargs": named}
        try:
            return self.serve("function", request)
        except ScriptError as error:
            # A host without a hub knows no plugins and says which operation it lacks; a hub's refusal is one.
            nobody = error.type == "PermissionError" and type(error.data) is dict and "operation" in error.data
            if error.type != "UnknownFunction" and not nobody:
                raise
            return self._unbound_call(name, request, error)

    def _unbound_call(self, name: str, request: dict[str, Any], error: ScriptError) -> Any:
        rule = self.policy.get("unbound_calls", "error")
        if rule == "null":
            self.warn("AW203", f"there is no function '{name}', the call is null")
            return None
        if rule == "ai":
            return self.serve("ai_function", request)
        raise ScriptError("UnknownFunction", f"there is no function '{name}' ({error.message})") from None

    def builtin(self, name: str) -> Builtin:
        """A library or host function as a value."""
        return Builtin(name, lambda *args, **named: self.call_function(name, list(args), named))

    def fire(self, event: str, data: Any) -> int:
        """Runs the handlers of an event; how many there were."""
        found = self.handlers.get(event, ())
        before, self.event_data = self.event_data, data
        depth = self.at
        try:
            for handler in found:
                self.run_handler(depth, handler, data)
        finally:
            self.event_data = before
        return len(found)

    def run_handler(self, depth: Any, handler: Any, data: Any) -> Any:
        """One handler; its parameters come from the event's data by name."""
        names = parameter_names(handler)
        values = {n: data[n] for n in names if n in data} if type(data) is dict else {}
        if names and not values and data is not None and type(data) is not dict:
            return self.call(depth, handler, data)
        return self.call_named(depth, handler, [], values) if values else self.call(depth, handler)

    # ------------------------------------------------------------ errors

    def caught(self, error: BaseException) -> ErrorValue:
        """The error value of an exception; it keeps nothing of Python."""
        if isinstance(error, ScriptError):
            if error.value is None:
                place, stack = self.located(error)
                error.value = ErrorValue(
                    error.type,
                    error.message,
                    line=place[1],
                    column=place[2],
                    file=place[0],
                    stack=stack,
                    data=error.data,
                    cause=error.cause,
                    retryable=error.retryable,
                )
            return error.value
        place, stack = self.located(error)
        return ErrorValue(
            "ValueError",
            "the result is beyond the range of numbers",
            line=place[1],
            column=place[2],
            file=place[0],
            stack=stack,
        )

    def thrown(self, value: Any) -> ScriptError:
        """What `throw value` raises (section 10)."""
        if type(value) is ErrorValue:
            if value.line:
                return ScriptError.again(value)
            # Made by `error(..)` and thrown for the first time: its place is where that happens.
            fresh = ScriptError(value.type, value.message, value.data, retryable=value.retryable)
            fresh.cause = value.cause
            return fresh
        if type(value) is dict and "message" in value:
            name = value.get("type", "UserError")
            error = ScriptError(
                name if type(name) is str and name in jobs.CATCHABLE else "UserError",
                text(value["message"]),
                check_error_data(value.get("data")),
                retryable=value.get("retryable") is True,
            )
            cause = value.get("cause")
            error.cause = cause if type(cause) is ErrorValue else None
            return error
        return ScriptError("UserError", text(value))

    def finishing(self) -> None:
        """A `finally` block begins: what it does, even `return`, cannot undo an error that no `catch` sees."""
        error = sys.exception()
        if error is not None:
            self.budget.ends(error)

    @staticmethod
    def is_error(error: ErrorValue, name: str) -> bool:
        """Whether `except name` catches the error."""
        wanted = "PermissionError" if name == "CapabilityError" else name
        return wanted in _ANY_ERROR or error.type == wanted

    # ------------------------------------------------------------ writing

    def set_field(self, target: Any, name: str, value: Any) -> None:
        """`target.name = value`."""
        if type(target) is dict:
            target[name] = value
            if len(target) > 1000:
                self.check_items(len(target))
        elif target is None:
            raise ScriptError("TypeError", f"cannot set .{name} of null")
        else:
            raise ScriptError("TypeError", f"cannot set .{name} of {kind(target)}")

    def set_element(self, target: Any, index: Any, value: Any) -> None:
        """`target[index] = value`; IndexError outside a list."""
        if type(target) is dict:
            self.set_field(target, key_text(index), value)
        elif type(target) is list:
            at = position(index)
            if not -len(target) <= at < len(target):
                raise ScriptError("IndexError", f"index {at} is outside a list of {len(target)}")
            target[at] = value
        else:
            raise ScriptError("TypeError", f"cannot set an element of {kind(target)}")

    def constant(self, name: str) -> NoReturn:
        """An assignment to something declared `const` or read-only."""
        raise ScriptError("ConstError", f"'{name}' cannot be assigned again")

    # ------------------------------------------------------------ pieces of expressions

    def part(self, v: Any, start: Any, end: Any) -> Any:
        """`v[start:end]`, its size charged as that of anything new."""
        return self.measured(part(v, start, end))

    def counted(self, v: Any) -> Any:
        """What `for x in v` walks over; a number n counts from 0 to n-1."""
        if type(v) is range:
            return v
        if type(v) is list or type(v) is str:
            self.worked(len(v))
        if type(v) is int or (type(v) is float and v.is_integer()):
            return range(max(int(v), 0))
        return elements(v)

    @staticmethod
    def taken_apart(v: Any, count: int) -> tuple[Any, ...]:
        """A list as that many values, missing ones null."""
        if type(v) is not list:
            raise ScriptError("TypeError", f"expected a list to take apart, got {kind(v)}")
        return tuple(v[n] if n < len(v) else None for n in range(count))

    def joined(self, parts: Iterable[list[Any]]) -> list[Any]:
        """A list out of lists, for `[...a, b]`."""
        result: list[Any] = []
        for piece in parts:
            self.check_items(len(result) + len(piece))
            result.extend(piece)
        return self.listed(result)

    def dict_of(self, entries: list[tuple[Any, Any]]) -> dict[str, Any]:
        """A dict out of keys and values; a key of None spreads its value."""
        result: dict[str, Any] = {}
        for key, value in entries:
            if key is not None:
                result[key] = value
            elif type(value) is dict:
                result.update(value)
            elif value is not None:
                raise ScriptError("TypeError", f"cannot spread {kind(value)} into a dict")
        self.check_items(len(result))
        return result

    def named_args(self, entries: list[tuple[Any, Any]]) -> dict[str, Any]:
        """Keyword arguments, spread dicts included."""
        return self.dict_of(entries)

    @staticmethod
    def awaited(v: Any) -> Any:
        """The value of a future; any other value as it is."""
        return v.get() if type(v) is Future else v

    def regex(self, pattern: str, flags: str) -> Regex:
        """A regex literal."""
        try:
            return Regex(pattern, flags)
        except RegexError as error:
            raise ScriptError("ValueError", str(error)) from None

    def construct(self, name: str, args: list[Any], named: dict[str, Any]) -> Any:
        """`new Name(args)`."""
        function = stdlib.CONSTRUCTORS.get(name)
        if function is not None:
            return checked_call(f"new {name}", function, (self, *args), named)
        if name == "Error":
            return checked_call("new Error", jobs.error, (self, *args), named)
        raise ScriptError("UnknownFunction", f"there is no constructor '{name}', expected one of Set Date URL Error")

    def entry_field(self, entry: Any, name: str) -> Any:
        """A name inside `where`: the field of the entry, null when it has none."""
        return entry.get(name) if type(entry) is dict else None

    @staticmethod
    def has_field(entry: Any, name: str) -> bool:
        """Whether the entry has the field, so that it hides a variable of that name."""
        return type(entry) is dict and name in entry

    # ------------------------------------------------------------ statements that reach the host

    def park(self, what: str, subject: Any, duration: Any) -> Any:
        """`await event` and `await approval`: the event's data or the decision; `Timeout` after the duration."""
        request: dict[str, Any] = {"name" if what == "event" else "text": text(subject)}
        if duration is not None:
            request["seconds"] = times.seconds(duration)
        return self.serve(f"park_{what}", request)

    def note_goal(self, title: Any, priority: Any, deadline: Any, metrics: Any) -> Any:
        """Declares a goal and gives its id; without the right to, it is only noted in the job (14.1)."""
        request = {"title": text(title), "priority": priority, "deadline": deadline, "metrics": metrics}
        try:
            return self.serve("goal", {key: value for key, value in request.items() if value is not None})
        except ScriptError as error:
            if error.type != "PermissionError":
                raise
            self.write_log("info", f"goal noted: {request['title']}")
            return None

    def end_goal(self, goal: Any, state: str) -> None:
        """Marks a goal with a body as completed or failed."""
        if goal is not None:
            self.serve("goal_done", {"id": goal, "state": state})

    def plugin_line(self, name: Any, args: list[Any]) -> Any:
        """`plugin: name.function args`: the plugin's answer, kept as `$response` and `$last_output`."""
        return self.keep(self.call_function("plugin", [text(name), *args]))

    def keep(self, result: Any) -> Any:
        """Keeps a result as `$response` and `$last_output`."""
        self.outputs["response"] = self.outputs["last_output"] = result
        return result

    def memory_scope(self, value: Any) -> None:
        """`memory: f()`: keeps the value as the variable `memory_scope`."""
        self.outputs["memory_scope"] = value

    def message(self, to: str, verb: str, slots: list[tuple[str, str, Any]], source: str) -> Any:
        """`architect: review for "risks"`: the intent as a message to that agent."""
        phrase = verbs.Phrase(verb, verb, [verbs.Slot(*slot) for slot in slots], source, None)
        return self.keep(self.serve("message", {"verb": verb, "to": to, "slots": phrase.data(), "text": source}))

    # ------------------------------------------------------------ modules

    def module(self, path: str) -> Receiver:
        """The module of a path; it is read at the first use of anything in it."""
        return Receiver(
            path,
            lambda function, args, named: self.load(path).call_member(function, args, named),
            lambda name: self.load(path).member(name),
        )

    def imported(self, path: str, name: str) -> Future:
        """`from path import name`: the member, read whenever the name is; ImportError when there is none."""
        return Future(lambda: self.load(path).imported(name))

    def manifest(self) -> dict[str, Any]:
        """The manifest of the module that asks, as data."""
        unit = self._modules.get(self.place()[3], self.main)
        return {} if unit is None else copied(unit.compiled.meta["manifest"])

    def load(self, path: str) -> Unit:
        """The module, instantiated once per run; ImportError when the host has none of that path."""
        unit = self._modules.get(path)
        if unit is not None:
            return unit
        found = self.host.load_module(path, self.place())
        same = (found.name, found.hash)
        if same in self._files:  # the same file under another path
            self._modules[path] = self._files[same]
            return self._files[same]
        try:
            compiled = Compiled(found.code)
        except ValueError as error:
            raise ScriptError("ImportError", f"module '{path}': {error}") from None
        unit = Unit(self, compiled, path)
        self._modules[path] = self._files[same] = unit  # before it runs, for modules may load each other
        try:
            unit.run(self.at)
        except BaseException:
            del self._modules[path], self._files[same]
            raise
        return unit


def _position(code: CodeType, lasti: int) -> tuple[int, int]:
    """Line and column, from 1, of an instruction."""
    line, _, column, _ = next(islice(code.co_positions(), lasti // 2, None), (0, 0, 0, 0))
    return line or 0, (column or 0) + 1


def _shown(code: CodeType) -> str:
    """The name of a function for a stack: the script itself is `main`."""
    name = code.co_name
    if name.startswith("v_"):
        return name[2:].partition("@")[0]
    return "main" if name == "@main" else "lambda"
