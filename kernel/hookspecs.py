"""Every hook of a plugin: when it is asked and what it returns.

Declaring hooks are nouns. They are asked once, at load, of a plugin manager that holds the newcomer alone; what they
return becomes its `Contribution`, and after that no hook is on a hot path. Most authors never see them: the decorators
of `kernel.Plugin` collect, and answer these hooks. A module may implement one itself with `@hookimpl`:

    from kernel import hookimpl

    @hookimpl
    def routes():
        return [...]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pluggy

from kernel.contribution import Command, Function, Metric, Route, Service, Subscription, Task

PROJECT = "aetherra"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def routes() -> list[Route]:  # type: ignore[empty-body]
    """At load: the paths this plugin serves, such as `[Route("GET", "/api/hello/{name}", ...)]`."""


@hookspec
def functions() -> list[Function]:  # type: ignore[empty-body]
    """At load: what scripts and agents may call, such as `[Function("hello.greet", ...)]`."""


@hookspec
def subscriptions() -> list[Subscription]:  # type: ignore[empty-body]
    """At load: the events it listens to, such as `[Subscription("memory.*", ...)]`."""


@hookspec
def services() -> list[Service]:  # type: ignore[empty-body]
    """At load: the named services it provides, such as `[Service("memory", Memory, ...)]`."""


@hookspec
def tasks() -> list[Task]:  # type: ignore[empty-body]
    """At load: the background coroutines to keep running, such as `[Task("pruner", prune)]`."""


@hookspec
def metrics() -> list[Metric]:  # type: ignore[empty-body]
    """At load: the metrics it declares, such as `[Metric("counter", "aetherra_x_total", "What x did")]`."""


@hookspec
def commands() -> list[Command]:  # type: ignore[empty-body]
    """At load: the verbs it adds to `aether`, such as `[Command("jobs", list_jobs, ...)]`."""


@hookspec
def uses() -> list[tuple[str, type[Any]]]:  # type: ignore[empty-body]
    """At load: the Protocols of the services it consumes, such as `[("memory", Memory)]`."""


@hookspec
def health() -> Callable[..., Any]:  # type: ignore[empty-body]
    """At load: a function asked, with a deadline, whether the plugin works; it returns None or a reason."""


@hookspec
def lifespan() -> Callable[..., Any]:  # type: ignore[empty-body]
    """At load: an async generator that opens, yields once, and closes; failing to open means not loaded."""


@hookspec
def settings() -> type[Any]:  # type: ignore[empty-body]
    """At load: the Struct of its settings, read from `[plugins.NAME]` and checked before the plugin starts."""


@hookspec
def export_state() -> Callable[[], Any]:  # type: ignore[empty-body]
    """At load: a function that gives, at a reload, plain data for the next generation. It must not await."""


@hookspec
def import_state() -> Callable[[str, Any], None]:  # type: ignore[empty-body]
    """At load: a function that takes (old version, that data) in the new generation. It must not await."""


@hookspec
def decider() -> Callable[..., Any]:  # type: ignore[empty-body]
    """At load: the function that decides about capabilities; at most one plugin has it."""


@hookspec
def auditor() -> Callable[..., Any]:  # type: ignore[empty-body]
    """At load: the function that is given what goes on record; at most one plugin has it."""


@hookspec
def trusts() -> Callable[[str], bool]:  # type: ignore[empty-body]
    """At load: a function told a folder's path, which says whether plugins there may run in the hub's process."""


@hookspec
def authenticator() -> Callable[..., Any]:  # type: ignore[empty-body]
    """At load: an async function that, given a `Credential`, returns the `Identity` it proves or raises
    `Unauthenticated`; at most one plugin has it."""


@hookspec
def renewer() -> Callable[..., Any]:  # type: ignore[empty-body]
    """At load: a function that, given a `Caller`, returns it as it is by now; at most one plugin has it."""


@hookspec
def examination() -> Callable[[Any], Iterable[Any]]:  # type: ignore[empty-body]
    """Without a hub: a function that, given the `Config`, looks at what the plugin needs and gives `Finding`s."""
