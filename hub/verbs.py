"""Verbs that plugins add to `aether`: a function's signature becomes arguments and options, and its values typed ones.

A parameter without a default is an argument, one with a default an option, a truth value that is False a flag; a list
may be given several times, and a map as `key=value`. `Annotated[.., msgspec.Meta(extra={"argument": True})]` makes one
with a default an argument that may be left out.
"""

from __future__ import annotations

import asyncio
import sys
import types
import typing
from collections.abc import Mapping
from typing import Any

import click
import msgspec

from hub.console import HubTerminal
from hub.home import HomeLock
from kernel import BadInput, Command, Config, Parameter, load_commands


def plugin_verbs(config: Config) -> dict[str, click.Command]:
    """Return the verbs of the plugins in the folders of `config`, by name; those of two words are in groups."""
    verbs: dict[str, click.Command] = {}
    for owned in load_commands(config).values():
        verb, group = build(owned.item, config), owned.item.group
        if group is None:
            verbs[owned.item.name] = verb
        else:
            held = verbs.setdefault(group, click.Group(group))
            assert isinstance(held, click.Group)  # load_commands gives no word to both
            held.add_command(verb)
            held.help = f"Verbs: {', '.join(sorted(held.commands))}."
    return verbs


def build(command: Command, config: Config) -> click.Command:
    """Return one verb."""
    parameters = [_parameter(p) for p in command.signature.parameters]
    json_flag = click.Option(["--json", "as_json"], is_flag=True, help="Print data as JSON.")

    def run(as_json: bool, **given: Any) -> None:
        status = asyncio.run(_run(command, config, as_json, given))
        if status:
            sys.exit(status)

    return click.Command(
        command.name.rpartition(" ")[2],
        params=[*parameters, json_flag],
        callback=run,
        help=command.description,
        short_help=(command.description.splitlines() or [""])[0],
    )


async def _run(command: Command, config: Config, as_json: bool, given: Mapping[str, Any]) -> int | None:
    parameters = {p.name: p for p in command.signature.parameters}
    values = {
        parameters[name].field: _value(parameters[name], value)
        for name, value in given.items()
        if value is not None and not (value == () and not parameters[name].required)
    }
    binder = command.signature.part((p.field for p in parameters.values()), lax=True, extras=False)
    try:
        arguments = binder.bind(values)
    except BadInput as error:
        raise click.UsageError(error.message) from None
    home = config.paths.home
    async with HubTerminal(home, json=as_json, config=config) as terminal:
        if not command.offline:
            return await command.fn(terminal, **arguments)
        config.paths.prepare()
        with HomeLock(home):
            return await command.fn(terminal, **arguments)


def _parameter(parameter: Parameter) -> click.Parameter:
    kind = _origin(parameter.type)
    if parameter.required:
        several = kind in (list, tuple)
        return click.Argument([parameter.name], nargs=-1 if several else 1, required=True)
    if _stands_alone(parameter.type):
        return click.Argument([parameter.name], required=False)
    flag = "--" + parameter.field.replace("_", "-")
    if kind is bool:
        declared = flag if parameter.default is False else f"{flag}/--no-{flag[2:]}"
        return click.Option([declared, parameter.name], is_flag=True, default=parameter.default)
    several = kind in (list, tuple, dict)
    shown = parameter.default not in (None, [], {}, ())
    help_text = f"default: {parameter.default}" if shown else ""
    metavar = "KEY=VALUE" if kind is dict else None
    return click.Option([flag, parameter.name], multiple=several, help=help_text, metavar=metavar)


def _value(parameter: Parameter, given: Any) -> Any:
    kind = _origin(parameter.type)
    if kind is dict:
        return dict(_pair(parameter, text) for text in given)
    return list(given) if isinstance(given, tuple) else given


def _pair(parameter: Parameter, text: str) -> tuple[str, Any]:
    key, found, value = text.partition("=")
    if not found or not key:
        raise click.UsageError(f"--{parameter.field} is written KEY=VALUE, got {text!r}")
    try:
        return key, msgspec.json.decode(value)
    except msgspec.DecodeError:
        return key, value


def _stands_alone(kind: Any) -> bool:
    """Tell whether the type says that its parameter is an argument in spite of its default."""
    marks = typing.get_args(kind)[1:] if typing.get_origin(kind) is typing.Annotated else ()
    return any(isinstance(mark, msgspec.Meta) and (mark.extra or {}).get("argument") for mark in marks)


def _origin(kind: Any) -> Any:
    """Return the plain type behind `X | None` and `Annotated[X, ...]`."""
    origin = typing.get_origin(kind)
    if origin is typing.Annotated:
        return _origin(typing.get_args(kind)[0])
    if origin in (typing.Union, types.UnionType):
        chosen = [_origin(choice) for choice in typing.get_args(kind) if choice is not type(None)]
        return chosen[0] if len(chosen) == 1 else str
    return origin or kind
