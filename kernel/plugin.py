"""`Plugin`: what an author writes. Its decorators only collect, and return the function as it was, so they stack.

A `Plugin` is itself the pluggy plugin: private methods hand over what was collected when the hooks are asked at load.
Importing a plugin therefore does nothing.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from kernel.contribution import (
    EFFECTS,
    SAFE_METHODS,
    SOCKET_METHOD,
    Command,
    Effect,
    Function,
    Manifest,
    Metric,
    Route,
    Service,
    ServiceMethod,
    Subscription,
    Task,
    above,
)
from kernel.errors import AetherraError, ContractError
from kernel.hookspecs import hookimpl
from kernel.metrics import Values
from kernel.signature import Signature, place_of
from kernel.suggest import nearest

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=type[Any])

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")
VERSION = re.compile(r"\d+\.\d+\.\d+([-+][0-9A-Za-z.-]+)?\Z")
PATH = re.compile(r"/([A-Za-z0-9_.~-]+|\{[a-z_][a-z0-9_]*\})?(/([A-Za-z0-9_.~-]+|\{[a-z_][a-z0-9_]*\}))*/?\Z")
ROUTE_DEADLINE_S = 600.0
"""The longest that a route may ask for: who waits in a request holds a connection."""
URL_CREDENTIALS = frozenset({"ticket", "token", "access_token"})
"""Names in the query of a socket that the hub itself reads, or refuses."""
RESERVED = frozenset(
    {"core", "admin", "system", "kernel", "hub", "module", "plugin", "console", "capability", "policy"}
)


def needs(right: str) -> Callable[[F], F]:
    """Mark a service method with the right its callers need, such as `@needs("memory:write")`.

    A method without the mark cannot be called across a plugin's border.
    """

    def mark(fn: F) -> F:
        fn.__needs__ = right  # type: ignore[attr-defined]
        return fn

    return mark


class Plugin:
    """A plugin's declaration in code: its name, version and rights, and what its decorators collected.

    `capabilities` are the rights it uses of others (`"memory:write:own"`); `requires` maps a service it cannot do
    without to a version range (`{"memory": ">=1.0"}`, `""` for any); `topics` are first words of topics that it
    publishes under besides its own name, and `durable` patterns of its topics whose events are kept in the store
    (`["note.*"]`); `migrations` are the statements that make its tables, in the order
    in which they came to be, or the name of a folder of `NNN_name.sql` files beside it.
    """

    def __init__(
        self,
        name: str,
        *,
        version: str,
        description: str = "",
        category: str = "plugin",
        capabilities: Sequence[str] = (),
        requires: Mapping[str, str] | None = None,
        topics: Sequence[str] = (),
        durable: Sequence[str] = (),
        migrations: str | Sequence[str] = (),
    ) -> None:
        if not NAME.match(name) or "__" in name:
            raise ContractError(
                f"plugin name {name!r}: expected a-z, 0-9 and single _, starting with a letter, at most 64"
            )
        if name in RESERVED:
            raise ContractError(f"plugin name {name!r} is reserved; choose another")
        if name.startswith("test_") or name == "conftest":
            raise ContractError(
                f"plugin name {name!r}: a file of this name is taken for a plugin's test; choose another"
            )
        if not VERSION.match(version):
            raise ContractError(f"plugin {name}: version {version!r} is not of the form 1.2.3")
        self.name = name
        self.version = version
        self.description = description
        self.category = category
        self.capabilities = tuple(capabilities)
        self.requires = dict(requires or {})
        self.topics = tuple(topics)
        self.durable = tuple(durable)
        self.migrations = migrations
        self._functions: list[Function] = []
        self._doors: list[tuple[str, str, Callable[..., Any], dict[str, Any]]] = []
        self._subscriptions: list[Subscription] = []
        self._services: list[Service] = []
        self._tasks: list[Task] = []
        self._metrics: list[Metric] = []
        self._commands: list[Command] = []
        self._uses: list[tuple[str, type[Any]]] = []
        self._single: dict[str, Any] = {}

    def __getattr__(self, missing: str) -> Any:
        close = nearest(missing, [word for word in dir(type(self)) if not word.startswith("_")])
        hint = f"; did you mean `{close}`?" if close and not missing.startswith("_") else ""
        raise AttributeError(f"Plugin has no `{missing}`{hint}")

    # Doors over HTTP ---------------------------------------------------------------------------------------------

    def route(
        self,
        method: str,
        path: str,
        *,
        needs: str | None = None,
        effect: Effect | None = None,
        status: int = 200,
        dialect: str = "hub",
        documented: bool = False,
        deadline_s: float | None = None,
        raises: Sequence[type[AetherraError] | str] | None = None,
        keyed: bool = False,
        produces: str = "",
        public: bool = False,
        anonymous: bool = False,
        form: bool = False,
    ) -> Callable[[F], F]:
        """Serve the function at `method path`; names in braces are parameters of the function.

        What stands neither in the path nor, for GET, HEAD and DELETE, in the query, is read from the JSON body.
        `needs` is the right the caller must have; without it `plugin:call` on the function's name. `deadline_s` is how
        long the function may take where it waits by design; without it the hub's own bound ([hub] request_s) holds.
        For the documentation: `raises` are the errors that the function ends with besides those of the hub, as classes
        or codes (without it, any may come), and `keyed` says that it honours an `Idempotency-Key`. `produces` is the
        content type of what it returns as `str` or `bytes`, such as `"text/csv"`; without it everything is JSON.

        `public` is for what anybody may know: pages of any origin may read it, no credential is looked at, and the
        caller is `anonymous`, who needs the right as everybody does. `anonymous` is the same for the pages that the hub
        trusts, of any method: for what is asked before one has a credential. `form` says that the body is a form
        (`application/x-www-form-urlencoded`) instead of JSON.
        """
        self._named(method.lower() if isinstance(method, str) else "route", path, '"/api/..."')
        if public and method not in SAFE_METHODS:
            raise ContractError(f"plugin {self.name}: {method} {path}: only a GET can be public")
        if method not in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"}:
            raise ContractError(f"plugin {self.name}: {method!r} is no HTTP method that a route can have")
        self._check_path(path)
        if deadline_s is not None and not 0 < deadline_s <= ROUTE_DEADLINE_S:
            raise ContractError(
                f"plugin {self.name}: {method} {path}: deadline_s is above 0 and at most {ROUTE_DEADLINE_S:g}, "
                f"got {deadline_s}; work that takes longer is an execution, or a stream"
            )

        errors = self._errors(path, raises)

        def collect(fn: F) -> F:
            options = {
                "needs": needs,
                "effect": effect,
                "status": status,
                "dialect": dialect,
                "documented": documented,
                "deadline_s": deadline_s,
                "raises": errors,
                "keyed": keyed,
                "produces": produces,
                "public": public,
                "anonymous": anonymous,
                "form": form,
            }
            self._doors.append((method, path, fn, options))
            return fn

        return collect

    def _errors(
        self, path: str, raises: Sequence[type[AetherraError] | str] | None
    ) -> tuple[type[AetherraError] | str, ...] | None:
        for error in raises or ():
            if not isinstance(error, str) and not (isinstance(error, type) and issubclass(error, AetherraError)):
                raise ContractError(
                    f"plugin {self.name}: {path}: raises={error!r} is no error of the house; expected classes such as "
                    "NotFound, or codes such as 'RATE_LIMITED'"
                )
        return None if raises is None else tuple(raises)

    def get(self, path: str, **options: Any) -> Callable[[F], F]:
        """Serve the function at GET `path`; only functions of class free or read may stand there."""
        return self.route("GET", path, **options)

    def post(self, path: str, **options: Any) -> Callable[[F], F]:
        """Serve the function at POST `path`."""
        return self.route("POST", path, **options)

    def put(self, path: str, **options: Any) -> Callable[[F], F]:
        """Serve the function at PUT `path`."""
        return self.route("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Callable[[F], F]:
        """Serve the function at PATCH `path`."""
        return self.route("PATCH", path, **options)

    def delete(self, path: str, **options: Any) -> Callable[[F], F]:
        """Serve the function at DELETE `path`."""
        return self.route("DELETE", path, **options)

    def socket(
        self,
        path: str,
        *,
        needs: str | None = None,
        effect: Effect | None = None,
        dialect: str = "hub",
        documented: bool = False,
        stateless: bool = False,
        raises: Sequence[type[AetherraError] | str] | None = None,
    ) -> Callable[[F], F]:
        """Serve the function as a WebSocket at `path`: it takes a `Socket[Incoming, Outgoing]` and ends the socket.

        What does not stand in the path is read from the query, as for GET. One socket is one call: a reload lets it
        finish for a while and then closes it with 1012. `stateless` promises that the function keeps nothing between
        two messages; then a reload hands the open socket over to the new generation, and the client notices nothing.
        `raises` are the errors that the function ends with, as for a route.
        """
        self._named("socket", path, '"/api/..."')
        self._check_path(path)

        errors = self._errors(path, raises)

        def collect(fn: F) -> F:
            options = {
                "needs": needs,
                "effect": effect,
                "status": 101,
                "dialect": dialect,
                "documented": documented,
                "deadline_s": None,
                "stateless": stateless,
                "raises": errors,
            }
            self._doors.append((SOCKET_METHOD, path, fn, options))
            return fn

        return collect

    # Other doors -------------------------------------------------------------------------------------------------

    def function(
        self,
        name: str,
        *,
        effect: Effect | None = None,
        needs: str | None = None,
        pure: bool = False,
        undo: str | None = None,
    ) -> Callable[[F], F]:
        """Offer the function to scripts and agents as `plugin.name`; `pure=True` promises no effect at all.

        A function that does not say its class of effect counts as irreversible. A compensable one names in `undo` the
        function of this plugin that takes its effect back: it is called with the result of what it takes back.
        """
        self._named("function", name, f'"name", effect="{EFFECTS[0]}"')
        if undo is not None and effect != "compensable":
            raise ContractError(f"plugin {self.name}: {name} names `undo`, so its effect is 'compensable'")
        declared, effect = effect is not None, effect or "irreversible"
        if effect not in EFFECTS:
            raise ContractError(f"plugin {self.name}: effect {effect!r} is none of {', '.join(EFFECTS)}")
        if not NAME.match(name):
            raise ContractError(f"plugin {self.name}: function name {name!r} is not of the form lower_case")

        def collect(fn: F) -> F:
            full = f"{self.name}.{name}"
            right = needs or f"plugin:call:{full}"
            back = None if undo is None else f"{self.name}.{undo}"
            self._functions.append(
                Function(full, fn, Signature.of(fn), right, effect, pure, _sentence(fn), declared, back)
            )
            return fn

        return collect

    def on(
        self,
        pattern: str,
        *,
        limit: int = 512,
        when_full: Literal["drop_oldest", "drop_new", "block"] = "drop_oldest",
        durable: bool = False,
    ) -> Callable[[F], F]:
        """Call the function (ctx, ...) for every event whose topic fits the pattern.

        Its parameters say what is read: one of type `Event` gets the whole, one of a Struct or map type the event's
        data, any others the fields of that data which have their names.

        With `durable=True`, on durable topics only, each event reaches the function at least once and in order, also
        after a crash or a while without the plugin; where the function raises, it is called again.
        """

        self._named("on", pattern, '"noun.verbed"')

        def collect(fn: F) -> F:
            name = f"{self.name}.{fn.__name__}"
            declared = Subscription(pattern, fn, Signature.of(fn), name, limit, when_full, durable)
            self._subscriptions.append(declared)
            return fn

        return collect

    def service(self, name: str) -> Callable[[C], C]:
        """Provide the class as the service `name`, one object per generation.

        A method that others may call is marked with the right they need: `@needs("memory:write")`.
        """

        self._named("service", name, '"name"')

        def collect(provider: C) -> C:
            methods = {}
            for attribute, fn in inspect.getmembers(provider, inspect.isfunction):
                right = getattr(fn, "__needs__", None)
                if right is not None:
                    methods[attribute] = ServiceMethod(attribute, right, Signature.of(fn, method=True))
            if not methods:
                raise ContractError(
                    f"service {name} of plugin {self.name}: no method is marked with @needs, so none can be called"
                )
            self._services.append(Service(name, provider, methods))
            return provider

        return collect

    def uses(self, service: str) -> Callable[[C], C]:
        """Declare the Protocol by which this plugin calls `service`; it is compared with the provider at every load."""

        self._named("uses", service, '"service"')

        def collect(protocol: C) -> C:
            self._uses.append((service, protocol))
            return protocol

        return collect

    def task(self, name: str, *, restart: Literal["on_error", "always", "never"] = "on_error") -> Callable[[F], F]:
        """Keep the coroutine function running in the background; one that fails is started again, ever later.

        Past `[limits] task_deaths` within `task_window_s` it stays down, and `plugin.task_failed` says so.
        """

        self._named("task", name, '"name"')

        def collect(fn: F) -> F:
            self._tasks.append(Task(name, fn, restart))
            return fn

        return collect

    def command(self, name: str, *, offline: bool = False) -> Callable[[F], F]:
        """Add the verb `aether name`: called with (terminal, options), it returns an exit status or None for 0.

        A name of two words, such as `policy explain`, makes it a verb of the group `aether policy`, to which other
        plugins may add theirs.
        """

        self._named("command", name, '"name"')

        def collect(fn: F) -> F:
            self._commands.append(Command(name, fn, _command_signature(fn), _sentence(fn), offline))
            return fn

        return collect

    # Metrics -----------------------------------------------------------------------------------------------------

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> str:
        """Declare a counter; returns its name, to be used with `ctx.metric(name)`."""
        return self._metric(Metric("counter", name, help, tuple(labels)))

    def gauge(
        self, name: str, help: str, labels: Sequence[str] = (), *, read: Callable[[], Values] | None = None
    ) -> str:
        """Declare a gauge; returns its name, to be used with `ctx.metric(name)`.

        With `read` nothing sets it: the plain function is called at each scrape, on the loop's thread, and returns the
        value, or values by label.
        """
        return self._metric(Metric("gauge", name, help, tuple(labels), read=read))

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), buckets: Sequence[float] = (0.005, 0.05, 0.5, 5.0)
    ) -> str:
        """Declare a histogram; returns its name, to be used with `ctx.metric(name)`."""
        return self._metric(Metric("histogram", name, help, tuple(labels), tuple(buckets)))

    def _metric(self, metric: Metric) -> str:
        self._metrics.append(metric)
        return metric.name

    # One of each -------------------------------------------------------------------------------------------------

    def health(self, fn: F) -> F:
        """Ask the function, with a deadline, whether the plugin works: None means yes, a text is the reason why not."""
        self._only("health", fn)
        return fn

    def lifespan(self, fn: F) -> F:
        """Open before the plugin serves and close after: an async generator (ctx) that yields once."""
        if not inspect.isasyncgenfunction(fn):
            raise ContractError(f"plugin {self.name}: lifespan must be an async generator that yields once")
        self._only("lifespan", fn)
        return fn

    def settings(self, struct: C) -> C:
        """Read `[plugins.NAME]` into the Struct, checked before the plugin starts; found again as `ctx.settings`."""
        self._only("settings", struct)
        return struct

    def export_state(self, fn: F) -> F:
        """At a reload, ask the function for plain data that the next generation goes on with."""
        self._only("export_state", _not_async(self.name, fn))
        return fn

    def import_state(self, fn: F) -> F:
        """At a reload, give the function (old version, exported data) before this generation serves."""
        self._only("import_state", _not_async(self.name, fn))
        return fn

    def decider(self, fn: F) -> F:
        """Ask the function (chain, capability) for every decision about a right."""
        self._only("decider", _not_async(self.name, fn))
        return fn

    def auditor(self, fn: F) -> F:
        """Give the function every `AuditRecord`; it takes it in at once, and returns what is done once it is kept.

        What it returns is an awaitable that raises `StorageError` or `StorageFull` where the record was not committed.
        """
        self._only("auditor", _not_async(self.name, fn))
        return fn

    def trusts(self, fn: F) -> F:
        """Ask the function (folder) whether dropped plugins lying there may run in the hub's own process."""
        self._only("trusts", _not_async(self.name, fn))
        return fn

    def authenticator(self, fn: F) -> F:
        """Ask the async function (credential) whom a `Credential` proves: it returns an `Identity`, or raises
        `Unauthenticated`."""
        if not inspect.iscoroutinefunction(fn):
            raise ContractError(f"plugin {self.name}: {fn.__name__} must be async: proofs may have to be looked up")
        self._only("authenticator", fn)
        return fn

    def renewer(self, fn: F) -> F:
        """Ask the function (caller), at every decision, who a `Caller` is by now: one with fewer rights, perhaps."""
        self._only("renewer", _not_async(self.name, fn))
        return fn

    def examination(self, fn: F) -> F:
        """Ask the function (config), in `aether doctor` and without a hub, for `Finding`s about what the plugin needs.

        It opens nothing, changes nothing, and takes well under a second.
        """
        self._only("examination", _not_async(self.name, fn))
        return fn

    def _named(self, door: str, given: Any, example: str) -> None:
        """Raise for a decorator that stands without its parentheses: it would be given the function as its name."""
        if not isinstance(given, str):
            raise ContractError(
                f"plugin {self.name}: {door} has no name: it is written @p.{door}({example}) before the function"
            )

    def _check_path(self, path: str) -> None:
        if not PATH.match(path):
            hint = f"; did you mean {'/' + path!r}?" if PATH.match("/" + path) else ""
            raise ContractError(f"plugin {self.name}: the path {path!r} is not of the form /a/{{b}}/c{hint}")

    def _only(self, what: str, value: Any) -> None:
        if what in self._single:
            raise ContractError(f"plugin {self.name}: {what} is declared twice")
        self._single[what] = value

    def manifest(self, folder: Path | None, read: Callable[[Path], Sequence[tuple[str, str]]]) -> Manifest:
        """Return the manifest, the migrations read with `read` from the folder the plugin lies in."""
        if isinstance(self.migrations, str):
            migrations = list(self._numbered(folder, read))
        else:
            texts = [text.rstrip().rstrip(";") + ";" for text in self.migrations]
            migrations = [(number, f"step {number}", text) for number, text in enumerate(texts, 1)]
        return Manifest(
            self.name,
            self.version,
            self.description,
            self.category,
            self.capabilities,
            self.requires,
            self.topics,
            tuple(sorted(migrations)),
            self.durable,
        )

    def _numbered(
        self, folder: Path | None, read: Callable[[Path], Sequence[tuple[str, str]]]
    ) -> Iterator[tuple[int, str, str]]:
        if folder is None:
            raise ContractError(
                f"plugin {self.name}: migrations is a text, which names a folder of a package; a plugin that is one "
                'file lists its statements: migrations=["CREATE TABLE ..."]'
            )
        for file_name, text in read(folder / str(self.migrations)):
            number, _, rest = file_name.removesuffix(".sql").partition("_")
            if not number.isdigit() or not rest:
                raise ContractError(f"plugin {self.name}: migration {file_name!r} is not named like 001_records.sql")
            yield int(number), rest, text

    # What the hooks are answered with ----------------------------------------------------------------------------

    @hookimpl(specname="routes")
    def _routes(self) -> list[Route]:
        classes = {function.fn: function for function in self._functions}
        found = []
        for method, path, fn, options in self._doors:
            function = classes.get(fn)
            full = function.name if function else f"{self.name}.{fn.__name__}"
            safe_only = all(m in SAFE_METHODS for m, _, other, _ in self._doors if other is fn)
            declared = options["effect"] or (function.effect if function else None)
            effect: Effect = declared or ("read" if safe_only else "irreversible")
            if method in SAFE_METHODS and above(effect, "read"):
                raise ContractError(
                    f"plugin {self.name}: {method} {path} serves {full}, which is {effect}; "
                    "a GET changes nothing, so use POST or declare the function free or read",
                    details={"place": place_of(fn)},
                )
            signature = function.signature if function else Signature.of(fn, socket=method == SOCKET_METHOD)
            if method == SOCKET_METHOD:
                self._check_socket(path, signature)
            route = Route(
                method,
                path,
                fn,
                signature,
                full,
                options["needs"] or (function.needs if function else f"plugin:call:{full}"),
                effect,
                options["status"],
                options["dialect"],
                options["documented"],
                _sentence(fn),
                options["deadline_s"],
                options.get("stateless", False),
                options.get("raises"),
                options.get("keyed", False),
                options.get("produces", ""),
                options.get("public", False),
                options.get("anonymous", False),
                options.get("form", False),
            )
            unknown = route.path_names - {p.field for p in signature.parameters}
            if unknown:
                takes = ", ".join(sorted(p.field for p in signature.parameters)) or "nothing"
                raise ContractError(
                    f"plugin {self.name}: {path} names {min(unknown)!r}, which {full} does not take; it takes {takes}",
                    details={"place": place_of(fn)},
                )
            found.append(route)
        return found

    def _check_socket(self, path: str, signature: Signature) -> None:
        taken = URL_CREDENTIALS & {p.field for p in signature.parameters}
        if taken:
            raise ContractError(f"plugin {self.name}: {path}: the parameter `{min(taken)}` of a socket is the hub's")

    @hookimpl(specname="functions")
    def _hook_functions(self) -> list[Function]:
        offered = {function.name for function in self._functions}
        for function in self._functions:
            if function.undo is not None and function.undo not in offered:
                raise ContractError(
                    f"plugin {self.name}: {function.name} is undone by {function.undo}, which it does not offer"
                )
        return self._functions

    @hookimpl(specname="subscriptions")
    def _hook_subscriptions(self) -> list[Subscription]:
        return self._subscriptions

    @hookimpl(specname="services")
    def _hook_services(self) -> list[Service]:
        return self._services

    @hookimpl(specname="tasks")
    def _hook_tasks(self) -> list[Task]:
        return self._tasks

    @hookimpl(specname="metrics")
    def _hook_metrics(self) -> list[Metric]:
        return self._metrics

    @hookimpl(specname="commands")
    def _hook_commands(self) -> list[Command]:
        return self._commands

    @hookimpl(specname="uses")
    def _hook_uses(self) -> list[tuple[str, type[Any]]]:
        return self._uses

    @hookimpl(specname="health")
    def _hook_health(self) -> Callable[..., Any] | None:
        return self._single.get("health")

    @hookimpl(specname="lifespan")
    def _hook_lifespan(self) -> Callable[..., Any] | None:
        return self._single.get("lifespan")

    @hookimpl(specname="settings")
    def _hook_settings(self) -> type[Any] | None:
        return self._single.get("settings")

    @hookimpl(specname="export_state")
    def _hook_export_state(self) -> Callable[[], Any] | None:
        return self._single.get("export_state")

    @hookimpl(specname="import_state")
    def _hook_import_state(self) -> Callable[[str, Any], None] | None:
        return self._single.get("import_state")

    @hookimpl(specname="decider")
    def _hook_decider(self) -> Callable[..., Any] | None:
        return self._single.get("decider")

    @hookimpl(specname="auditor")
    def _hook_auditor(self) -> Callable[..., Any] | None:
        return self._single.get("auditor")

    @hookimpl(specname="trusts")
    def _hook_trusts(self) -> Callable[[str], bool] | None:
        return self._single.get("trusts")

    @hookimpl(specname="authenticator")
    def _hook_authenticator(self) -> Callable[..., Any] | None:
        return self._single.get("authenticator")

    @hookimpl(specname="renewer")
    def _hook_renewer(self) -> Callable[..., Any] | None:
        return self._single.get("renewer")

    @hookimpl(specname="examination")
    def _hook_examination(self) -> Callable[[Any], Iterable[Any]] | None:
        return self._single.get("examination")


def _sentence(fn: Callable[..., Any]) -> str:
    return inspect.getdoc(fn) or ""


def _command_signature(fn: Callable[..., Any]) -> Signature:
    # A command's first parameter is the terminal it runs in, not an option.
    return Signature.of(fn, method=True)


def _not_async(plugin: str, fn: F) -> F:
    # Export, import and switch happen without an await between them; a coroutine would tear the state.
    if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):
        raise ContractError(f"plugin {plugin}: {fn.__name__} must be a plain function, not async")
    return fn
