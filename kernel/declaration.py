"""Whether what a plugin declares can hold at all, found out while it is staged: after the switch it is too late."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec

from kernel.contribution import (
    Command,
    Contribution,
    Function,
    Manifest,
    Metric,
    Route,
    Service,
    Subscription,
    Task,
)
from kernel.errors import BadInput, ContractError
from kernel.metrics import check_names
from kernel.patterns import check_pattern
from kernel.signature import place_of
from kernel.versions import satisfies

KINDS: Mapping[str, type[Any]] = {
    "routes": Route,
    "functions": Function,
    "subscriptions": Subscription,
    "services": Service,
    "tasks": Task,
    "metrics": Metric,
    "commands": Command,
    "uses": tuple,
}
"""What each hook that gives a list gives a list of."""

ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "lifespan": ("ctx",),
    "export_state": (),
    "import_state": ("version", "state"),
    "decider": ("chain", "capability"),
    "auditor": ("record",),
    "trusts": ("folder",),
    "authenticator": ("credential",),
    "renewer": ("caller",),
    "examination": ("config",),
}
"""What the kernel calls each single function with."""


_VERB = re.compile(r"[a-z][a-z0-9_-]*( [a-z][a-z0-9_-]*)?")


def listed(hook: str, results: Iterable[Any]) -> tuple[Any, ...]:
    """Return what a hook's implementations gave, as one tuple; raise `ContractError` for anything of another kind."""
    kind = KINDS[hook]
    found: list[Any] = []
    for result in results:
        if not isinstance(result, list | tuple):
            raise ContractError(f"the hook {hook} gave {result!r:.80}; expected a list of {kind.__name__}")
        found += result
    for item in found:
        if not isinstance(item, kind):
            raise ContractError(f"the hook {hook} gave {item!r:.80} in its list; expected a {kind.__name__}")
    return tuple(found)


def check(contribution: Contribution) -> None:
    """Raise `ContractError` naming the first thing in a contribution that could not work once it is in force."""
    _check_manifest(contribution.manifest)
    for subscription in contribution.subscriptions:
        _check_subscription(subscription)
    _once("subscription", (f"{s.name} on {s.pattern}" for s in contribution.subscriptions))
    _once("durable subscription", (s.name for s in contribution.subscriptions if s.durable))
    for task in contribution.tasks:
        if not inspect.iscoroutinefunction(task.fn):
            raise ContractError(
                f"the task {task.name!r} is no coroutine function: declare it with async def",
                details={"place": place_of(task.fn)},
            )
        if task.restart not in ("on_error", "always", "never"):
            raise ContractError(f"the task {task.name!r}: restart is on_error, always or never, got {task.restart!r}")
        _check_arguments(f"the task {task.name!r}", task.fn, ("ctx",))
    _once("task", (task.name for task in contribution.tasks))
    for metric in contribution.metrics:
        _check_metric(metric)
    _once("metric", (metric.name for metric in contribution.metrics))
    for command in contribution.commands:
        if not _VERB.fullmatch(command.name):
            raise ContractError(
                f"the command {command.name!r:.80}: expected a word, or a group and a word, of a-z, 0-9, - and _",
                details={"place": place_of(command.fn)},
            )
    for what, arguments in ARGUMENTS.items():
        fn = getattr(contribution, what)
        if fn is not None:
            _check_arguments(what, fn, arguments)
    if contribution.health is not None:
        needed = _parameters("health", contribution.health)
        _check_arguments("health", contribution.health, ("ctx",) if needed else ())
    settings = contribution.settings
    if settings is not None and not (isinstance(settings, type) and issubclass(settings, msgspec.Struct)):
        name = getattr(settings, "__name__", f"{settings!r:.80}")
        raise ContractError(f"settings is {name}; expected a msgspec.Struct: class {name}(msgspec.Struct, frozen=True)")


def _check_manifest(manifest: Manifest) -> None:
    for capability in manifest.capabilities:
        if not isinstance(capability, str):
            raise ContractError(f"capabilities holds {capability!r:.80}; expected texts such as memory:write:own")
    for pattern in manifest.durable:
        _check_durable(manifest, pattern)
    if not isinstance(manifest.requires, Mapping):
        raise ContractError(
            f"requires is {manifest.requires!r:.80}; expected a map from service to version range, "
            'such as {"memory": ">=1.0"}'
        )
    for service, wanted in manifest.requires.items():
        if not isinstance(service, str) or not isinstance(wanted, str):
            raise ContractError(f"requires maps {service!r:.80} to {wanted!r:.80}; expected two texts")
        satisfies("1.0.0", wanted)  # raises for what is no range


def _check_durable(manifest: Manifest, pattern: str) -> None:
    try:
        check_pattern(pattern)
    except BadInput as error:
        raise ContractError(f"durable: {error.message}") from None
    own = (manifest.name, *manifest.topics)
    if pattern.partition(".")[0] not in own:
        raise ContractError(
            f"durable holds {pattern!r}, which is not under {' or '.join(own)}: a plugin decides about its own topics; "
            "about others the operator does ([events] durable)"
        )


def _check_subscription(subscription: Subscription) -> None:
    try:
        check_pattern(subscription.pattern)
    except BadInput as error:
        raise ContractError(f"{subscription.name}: {error.message}") from None
    if not isinstance(subscription.limit, int) or subscription.limit < 1:
        raise ContractError(f"{subscription.name}: limit is a number of events from 1, got {subscription.limit!r}")
    if not isinstance(subscription.durable, bool):
        raise ContractError(f"{subscription.name}: durable is true or false, got {subscription.durable!r:.80}")
    if subscription.when_full not in ("drop_oldest", "drop_new", "block"):
        raise ContractError(
            f"{subscription.name}: when_full is drop_oldest, drop_new or block, got {subscription.when_full!r}"
        )


def _check_metric(metric: Metric) -> None:
    if metric.read is None:
        return
    what = f"the metric {metric.name!r}: read"
    if metric.kind != "gauge":
        raise ContractError(f"the metric {metric.name!r} is a {metric.kind}; only a gauge can be read at a scrape")
    _check_arguments(what, metric.read, ())
    if inspect.iscoroutinefunction(metric.read):
        raise ContractError(f"{what} is called in the middle of a scrape; make it a plain function, not async")
    try:
        check_names(metric.name, metric.labels)
    except BadInput as error:
        raise ContractError(error.message) from None


def _once(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise ContractError(f"the {what} {name!r} is declared {count} times; give each a name of its own")


def _parameters(what: str, fn: Callable[..., Any]) -> list[inspect.Parameter]:
    if not callable(fn):
        raise ContractError(f"{what} is {fn!r:.80}; expected a function")
    return list(inspect.signature(fn).parameters.values())


def _check_arguments(what: str, fn: Callable[..., Any], arguments: tuple[str, ...]) -> None:
    _parameters(what, fn)
    try:
        inspect.signature(fn).bind(*arguments)
    except TypeError as error:
        name = getattr(fn, "__name__", repr(fn))
        raise ContractError(
            f"{what}: {name} is called with ({', '.join(arguments)}): {error}", details={"place": place_of(fn)}
        ) from None
