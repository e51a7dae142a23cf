"""Where a job enters a script behind its top level: a function, handler, command or timer (language reference, 11.3).

A bare name is looked for as a plugin block's function, a command, a function or a handler, in this order; `p.f` is a
function of the block p. `command:WORD`, `event:NAME` and `timer:SCHEDULE` say which of them is meant; of several timers
with one schedule the second is `timer:SCHEDULE#2`, counted by their lines. `when:..` is the top level alone, run again
for a change of those signals.
"""

from typing import TYPE_CHECKING, Any

from .calling import parameter_names
from .values import ScriptError, is_function

if TYPE_CHECKING:
    from .runtime import Runtime
    from .units import PluginInstance, Unit

SHOWN = 20
"""How many entries the error of an unknown one lists."""


def enter(rt: "Runtime", unit: "Unit", result: Any, entry: str | None) -> Any:
    """The value of what the request names; else of the workflow that is all the script has, or of `on_run` of the only
    plugin that has one; else of the top level."""
    rt.at = rt.budget.depth
    if entry is not None:
        return _named(rt, unit, result, entry)
    alone = unit.compiled.meta["alone"]
    if alone is not None:
        return _bare(rt, unit, alone)
    owners = [plugin for plugin in unit.plugins if "on_run" in plugin.functions]
    return _of_block(rt, owners[0], "on_run") if len(owners) == 1 else result


def _named(rt: "Runtime", unit: "Unit", result: Any, entry: str) -> Any:
    kind, colon, name = entry.partition(":")
    if not colon:
        return _bare(rt, unit, entry)
    if kind == "when":
        return result
    if kind == "event" and name in rt.handlers:
        return _fired(rt, name, rt.parameters.get("event_data", rt.parameters))
    if kind == "command" and name in rt.commands:
        return _with_parameters(rt, rt.commands[name])
    timer = _timer(rt, name) if kind == "timer" else None
    if timer is not None:
        return _with_parameters(rt, timer)
    raise _unknown(rt, unit, entry)


def _bare(rt: "Runtime", unit: "Unit", entry: str) -> Any:
    block, dot, function = entry.partition(".")
    for plugin in unit.plugins:
        if entry in plugin.functions:
            return _of_block(rt, plugin, entry)
        if dot and plugin.name == block and function in plugin.functions:
            return _of_block(rt, plugin, function)
    found = rt.commands.get(entry)
    if found is None and entry in unit.members:
        found = unit.members[entry]()
    if is_function(found):
        return _with_parameters(rt, found)
    if entry in rt.handlers:
        return _fired(rt, entry, rt.parameters)
    raise _unknown(rt, unit, entry)


def _timer(rt: "Runtime", name: str) -> Any:
    schedule, _, number = name.partition("#")
    found = [function for text, function in rt.timers if text == schedule]
    found.sort(key=lambda function: function.__code__.co_firstlineno)
    place = int(number) - 1 if number.isascii() and number.isdecimal() and len(number) < 6 else 0
    return found[place] if 0 <= place < len(found) else None


def _of_block(rt: "Runtime", plugin: "PluginInstance", name: str) -> Any:
    plugin.begin()
    with plugin.in_time():
        return _with_parameters(rt, plugin.functions[name])


def _fired(rt: "Runtime", event: str, data: Any) -> Any:
    rt.fire(event, data)
    return rt.outputs.get("last_output")


def _with_parameters(rt: "Runtime", function: Any) -> Any:
    """Calls the entry; its parameters come from the request by name, `parameters` and `context` as a whole.

    A run for an event has its data in the parameter `event_data`."""
    given = {**rt.parameters, "parameters": rt.parameters, "context": rt.context}
    named = {name: given[name] for name in parameter_names(function) if name in given}
    before, rt.event_data = rt.event_data, rt.parameters.get("event_data", rt.parameters)
    try:
        return rt.call_named(rt.budget.depth, function, [], named)
    finally:
        rt.event_data = before


def _unknown(rt: "Runtime", unit: "Unit", entry: str) -> ScriptError:
    """The error for an entry that is not there: says what is."""
    known = {name for name, read in unit.members.items() if is_function(_value(read))}
    known |= {name for plugin in unit.plugins for name in plugin.functions}
    known |= {f"command:{word}" for word in rt.commands} | {f"event:{name}" for name in rt.handlers}
    known |= {f"timer:{text}" for text, _ in rt.timers}
    listed = ", ".join(sorted(known)[:SHOWN]) or "none"
    return ScriptError(
        "UnknownFunction",
        f"the script has no entry '{entry}', it has: {listed}",
        {"entry": entry, "entries": sorted(known)[:SHOWN]},
    )


def _value(read: Any) -> Any:
    try:
        return read()
    except ScriptError:
        return None  # a name that nothing has set is no entry
