"""What a plugin's declaration must hold beyond what the loader insists on: words for people, and for the gate."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from kernel.battery.report import Findings
from kernel.contribution import EFFECTS, Contribution
from kernel.signature import place_of


def _doors(contribution: Contribution) -> Iterator[tuple[str, str, str]]:
    """Yield (what it is, its description, where) of every door."""
    for route in contribution.routes:
        yield f"{route.method} {route.path}", route.description, place_of(route.fn)
    for function in contribution.functions:
        yield f"the function {function.name}", function.description, place_of(function.fn)
    for service in contribution.services:
        for method in service.methods:
            fn = getattr(service.provider, method)
            yield f"{service.name}.{method} (service)", inspect.getdoc(fn) or "", place_of(fn)
    for command in contribution.commands:
        yield f"the verb `aether {command.name}`", command.description, place_of(command.fn)
    for subscription in contribution.subscriptions:
        yield f"the handler of {subscription.pattern}", inspect.getdoc(subscription.fn) or "", place_of(subscription.fn)
    for task in contribution.tasks:
        yield f"the task {task.name}", inspect.getdoc(task.fn) or "", place_of(task.fn)


def check_descriptions(contribution: Contribution, findings: Findings) -> None:
    """Note every door without a docstring."""
    told: set[str] = set()
    for what, description, where in _doors(contribution):
        if not description.strip() and where not in told:
            told.add(where)
            findings.fail(
                "descriptions",
                f"{what} has no docstring; its first line is what users, agents and OpenAPI are told of it",
                where,
            )


def check_effects(contribution: Contribution, findings: Findings) -> None:
    """Note every function that leaves its class of effect open."""
    for function in contribution.functions:
        if not function.declared:
            findings.fail(
                "effects",
                f"{function.name} does not say what it does to the world, so it counts as irreversible; declare it "
                f'with effect="...", one of {", ".join(EFFECTS)}',
                place_of(function.fn),
            )
