"""What one generation of a plugin adds to the house, as one immutable value, and how those values are merged.

A plugin's decorators only collect; at load everything it declares becomes a `Contribution`. The contributions of all
running generations are merged into one `Table`. Switching a plugin is the assignment of a new table, so no request ever
sees half of one generation and half of another.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

import msgspec

from kernel.errors import AetherraError, ContractError
from kernel.metrics import Reading, Values, gauged
from kernel.signature import Signature

Effect = Literal["free", "read", "staged", "deferred", "compensable", "irreversible"]
"""The class of what a function does to the world, weakest first (threat model, section 2; language reference, 18.3)."""

EFFECTS: tuple[Effect, ...] = ("free", "read", "staged", "deferred", "compensable", "irreversible")

SAFE_METHODS = frozenset({"GET", "HEAD"})

SOCKET_METHOD = "WS"
"""Stands for the method of a route that is a WebSocket: the upgrade of a GET finds it, no other request does."""

_PARAMETER = re.compile(r"\{([a-z_][a-z0-9_]*)\}")


def above(effect: Effect, ceiling: Effect) -> bool:
    """Tell whether `effect` reaches further into the world than `ceiling` allows."""
    return EFFECTS.index(effect) > EFFECTS.index(ceiling)


def path_key(path: str) -> str:
    """Return a path with the names of its parameters taken out and without a slash at its end: what is one path."""
    return _PARAMETER.sub("{}", path.rstrip("/") or "/")


class Route(msgspec.Struct, frozen=True):
    """A path served over HTTP: the typed function behind it and how its dialect speaks.

    Of a WebSocket the method is `WS`, and `signature.receives` and `signature.sends` are the types of its messages.
    """

    method: str
    path: str
    fn: Callable[..., Any]
    signature: Signature
    name: str
    """`plugin.function`, for attribution and as the object of the default right."""
    needs: str
    effect: Effect
    status: int = 200
    dialect: str = "hub"
    documented: bool = False
    """True for an operation of one of the five API documents: unknown body fields are ignored and, on loopback, it may
    be called without a token. False for our own operations: unknown fields are refused."""
    description: str = ""
    deadline_s: float | None = None
    """How long its handler may take, where that is not what the hub allows to any."""
    stateless: bool = False
    """Of a socket: its handler keeps nothing between two messages, so the next generation can go on with it."""
    raises: tuple[type[AetherraError] | str, ...] | None = None
    """The errors that its handler ends with, as classes or, where a status of its own hangs on it, as codes; None where
    nobody said, so any may come."""
    keyed: bool = False
    """It takes an `Idempotency-Key`: the same request under the same key is answered with the first answer."""
    produces: str = ""
    """The content type of its answer where that is text or bytes; empty for JSON."""

    public: bool = False
    """Pages of any origin may read it, and its caller is `anonymous`."""
    anonymous: bool = False
    """No credential is looked at, and its caller is `anonymous`: it is where one is got."""
    form: bool = False
    """Its body is a form (`application/x-www-form-urlencoded`) instead of JSON."""

    @property
    def key(self) -> tuple[str, str]:
        """What two routes must not share: the method, and the path with the names of its parameters taken out."""
        return self.method, path_key(self.path)

    @property
    def path_names(self) -> frozenset[str]:
        """The names between braces in the path."""
        return frozenset(_PARAMETER.findall(self.path))


class Function(msgspec.Struct, frozen=True):
    """What a plugin offers to scripts and agents under `plugin.name`."""

    name: str
    fn: Callable[..., Any]
    signature: Signature
    needs: str
    effect: Effect
    pure: bool = False
    description: str = ""
    declared: bool = True
    """False where its author named no class of effect, and the furthest was taken."""
    undo: str | None = None
    """The function that takes its effect back, by its full name; only compensable functions have one."""


class Subscription(msgspec.Struct, frozen=True):
    """A handler for every event whose topic fits `pattern`, fed from a bounded queue that outlives a reload."""

    pattern: str
    fn: Callable[..., Awaitable[None]]
    signature: Signature
    name: str
    limit: int = 512
    when_full: Literal["drop_oldest", "drop_new", "block"] = "drop_oldest"
    durable: bool = False
    """At least once, from an offset of its own on, instead of the queue: `limit` and `when_full` do not count then."""


class ServiceMethod(msgspec.Struct, frozen=True):
    """One method of a service that others may call across a plugin's border, and the right it asks for."""

    name: str
    needs: str
    signature: Signature


class Service(msgspec.Struct, frozen=True):
    """A named provider: a class of which each generation makes one object."""

    name: str
    provider: type[Any]
    methods: Mapping[str, ServiceMethod]


class Task(msgspec.Struct, frozen=True):
    """A background coroutine that the supervisor keeps running."""

    name: str
    fn: Callable[..., Awaitable[None]]
    restart: Literal["on_error", "always", "never"] = "on_error"


class Metric(msgspec.Struct, frozen=True):
    """A declared Prometheus metric; the collector belongs to the kernel and outlives a reload."""

    kind: Literal["counter", "gauge", "histogram"]
    name: str
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    read: Callable[[], Values] | None = None
    """For a gauge: called at each scrape for its value, or its values by label; then nothing sets it."""


class Command(msgspec.Struct, frozen=True):
    """A verb of the `aether` command: run in the terminal's process, it speaks to the hub through a `Terminal`."""

    name: str
    """A word, or a group and a word: `policy explain`."""
    fn: Callable[..., Awaitable[int | None]]
    signature: Signature
    description: str = ""
    offline: bool = False

    @property
    def group(self) -> str | None:
        """The first word of a name of two: the group that the verb stands in."""
        first, space, _ = self.name.partition(" ")
        return first if space else None


class Manifest(msgspec.Struct, frozen=True):
    """What a plugin says about itself in code."""

    name: str
    version: str
    description: str = ""
    category: str = "plugin"
    capabilities: tuple[str, ...] = ()
    requires: Mapping[str, str] = msgspec.field(default_factory=dict)
    topics: tuple[str, ...] = ()
    migrations: tuple[tuple[int, str, str], ...] = ()
    durable: tuple[str, ...] = ()
    """Patterns of those topics whose events are kept."""


class Contribution(msgspec.Struct, frozen=True):
    """Everything one generation of a plugin adds; replaced as a whole, never edited."""

    manifest: Manifest
    routes: tuple[Route, ...] = ()
    functions: tuple[Function, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    services: tuple[Service, ...] = ()
    tasks: tuple[Task, ...] = ()
    metrics: tuple[Metric, ...] = ()
    commands: tuple[Command, ...] = ()
    uses: tuple[tuple[str, type[Any]], ...] = ()
    """(service, the consumer's own Protocol of it), compared with the provider's methods before either is switched."""
    health: Callable[..., Any] | None = None
    lifespan: Callable[..., Any] | None = None
    settings: type[Any] | None = None
    export_state: Callable[[], Any] | None = None
    import_state: Callable[[str, Any], None] | None = None
    decider: Callable[..., Any] | None = None
    auditor: Callable[..., Any] | None = None
    trusts: Callable[[str], bool] | None = None
    authenticator: Callable[..., Awaitable[Any]] | None = None
    renewer: Callable[..., Any] | None = None
    examination: Callable[[Any], Iterable[Any]] | None = None

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.manifest.name


ONE_OF_A_HOUSE: Mapping[str, str] = {
    "decider": "the decision about capabilities",
    "auditor": "the keeping of the audit",
    "trusts": "the decision about trusted folders",
    "authenticator": "the proof of who is asking",
    "renewer": "the word on who a caller is by now",
}
"""The doors that at most one plugin has, and what two of them would fight over."""

T = TypeVar("T")


class Owned(msgspec.Struct, Generic[T], frozen=True):
    """A contributed thing together with the generation that serves it."""

    item: T
    owner: Any


class Table(msgspec.Struct, frozen=True):
    """All contributions of the running generations, merged. Immutable: a change is a new table, assigned at once."""

    version: int = 0
    owners: tuple[Any, ...] = ()
    routes: tuple[Owned[Route], ...] = ()
    functions: Mapping[str, Owned[Function]] = msgspec.field(default_factory=dict)
    bare_functions: Mapping[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """A bare function name to the full names that end in it; it serves as a name while there is exactly one."""
    services: Mapping[str, Owned[Service]] = msgspec.field(default_factory=dict)
    commands: Mapping[str, Owned[Command]] = msgspec.field(default_factory=dict)
    topics: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The first word of a topic to the plugin that publishes under it."""
    gauges: tuple[Reading[None], ...] = ()
    """The gauges that are read at each scrape."""
    decider: Owned[Callable[..., Any]] | None = None
    auditor: Owned[Callable[..., Any]] | None = None
    trusts: Owned[Callable[[str], bool]] | None = None
    authenticator: Owned[Callable[..., Awaitable[Any]]] | None = None
    renewer: Owned[Callable[..., Any]] | None = None

    @classmethod
    def merge(cls, owners: Iterable[Any], *, version: int) -> Table:
        """Merge the contributions of `owners`; raise `ContractError` naming both plugins where two claim one thing."""
        members = tuple(owners)
        routes: dict[tuple[str, str], Owned[Route]] = {}
        functions: dict[str, Owned[Function]] = {}
        bare: dict[str, tuple[str, ...]] = {}
        services: dict[str, Owned[Service]] = {}
        commands: dict[str, Owned[Command]] = {}
        topics: dict[str, str] = {}
        groups: dict[str, Owned[Command]] = {}
        gauges: dict[str, Owned[Metric]] = {}
        single: dict[str, Owned[Any]] = {}
        for owner in members:
            contribution: Contribution = owner.contribution
            for route in contribution.routes:
                _claim(routes, route.key, Owned(route, owner), f"the route {route.method} {route.path}")
            for function in contribution.functions:
                _claim(functions, function.name, Owned(function, owner), f"the function {function.name}")
                short = function.name.rpartition(".")[2]
                bare[short] = (*bare.get(short, ()), function.name)
            for service in contribution.services:
                _claim(services, service.name, Owned(service, owner), f"the service {service.name}")
            for command in contribution.commands:
                _claim(commands, command.name, Owned(command, owner), f"the command `aether {command.name}`")
                if command.group is not None:
                    groups.setdefault(command.group, Owned(command, owner))
            for metric in contribution.metrics:
                if metric.read is not None:
                    _claim(gauges, metric.name, Owned(metric, owner), f"the metric {metric.name}")
            for topic in (contribution.name, *contribution.manifest.topics):
                if topics.setdefault(topic, owner.plugin) != owner.plugin:
                    raise _clash(f"the topic {topic}.*", topics[topic], owner.plugin)
            for door, what in ONE_OF_A_HOUSE.items():
                if getattr(contribution, door) is not None:
                    _claim(single, door, Owned(getattr(contribution, door), owner), what)
        for word in groups.keys() & commands.keys():
            raise _verb_and_group(commands[word], groups[word])
        return cls(
            version=version,
            owners=members,
            routes=tuple(routes.values()),
            functions=MappingProxyType(functions),
            bare_functions=MappingProxyType(bare),
            services=MappingProxyType(services),
            commands=MappingProxyType(commands),
            topics=MappingProxyType(topics),
            gauges=tuple(_reading(owned.item) for owned in gauges.values()),
            **single,
        )


K = TypeVar("K")


def _reading(metric: Metric) -> Reading[None]:
    read = metric.read
    assert read is not None
    return gauged(metric.name, metric.help, lambda _: read(), metric.labels)


def _claim(taken: dict[K, Owned[Any]], key: K, owned: Owned[Any], what: str) -> None:
    held = taken.setdefault(key, owned)
    if held is not owned:
        raise _clash(what, held.owner.plugin, owned.owner.plugin)


def _verb_and_group(verb: Owned[Command], group: Owned[Command]) -> ContractError:
    owners = [verb.owner.plugin, group.owner.plugin]
    return ContractError(
        f"`aether {verb.item.name}` of {owners[0]} is a verb, and `aether {group.item.name}` of {owners[1]} makes it a "
        "group; rename one of them",
        details={"claim": f"the command `aether {verb.item.name}`", "plugins": owners},
    )


def _clash(what: str, first: str, second: str) -> ContractError:
    if first == second:
        return ContractError(f"{first} declares {what} twice; once is enough", details={"plugins": [first]})
    return ContractError(
        f"two plugins claim {what}: {first} and {second}; rename it in one of them",
        details={"claim": what, "plugins": [first, second]},
    )
