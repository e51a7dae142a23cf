"""The kernel as a provider: what it can tell about itself, and what an operator may ask of it, as two services.

They stand in the table like any plugin's, so a status page or a command reaches them in the same way, and through the
same gate.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from kernel.bus import Bus
from kernel.capabilities import Gate
from kernel.clock import Clock, iso
from kernel.config import Config
from kernel.contribution import Contribution, Manifest, Service, ServiceMethod
from kernel.event_log import EventLog
from kernel.generation import Generation
from kernel.history import describe
from kernel.loader import Source
from kernel.metrics import Metrics
from kernel.modules import Module, Modules
from kernel.plugin import needs
from kernel.scheduler import Scheduler
from kernel.services import plain
from kernel.signature import Signature
from kernel.store import Store
from kernel.supervisor import Supervisor
from kernel.workers import Workers

_FILE = Path(__file__)
REMOVED = "removed"
"""The folder in HOME that has the latest removed plugin of each name."""


class Measured(Protocol):
    """What the figures are read from."""

    bus: Bus
    clock: Clock
    config: Config
    event_log: EventLog
    gate: Gate
    metrics: Metrics
    modules: Modules
    scheduler: Scheduler
    store: Store
    supervisor: Supervisor
    workers: Workers
    started_at: float
    started_monotonic: float
    version: str
    reported: dict[str, Callable[[], Any]]

    @property
    def state(self) -> str: ...
    async def ready(self) -> dict[str, str | None]: ...


class KernelStatus:
    """The service `kernel`: figures, all measured, none made up."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    @needs("metrics:read")
    async def status(self, ctx: Any) -> dict[str, Any]:
        """Return state, seconds up, the scheduler's figures, and the reload counts."""
        m = self._measured
        lanes = m.scheduler.stats()
        counts = m.modules.counts()
        return {
            "running": m.state == "ready",
            "state": m.state,
            "version": m.version,
            "uptime": round(m.clock.monotonic() - m.started_monotonic, 3),
            "started_at": iso(m.started_at),
            "scheduler": plain(lanes),
            "hmr": {
                "enabled": True,
                "attempts": counts.attempts,
                "success": counts.success,
                "rollback": counts.rollback,
                "leaked": counts.leaked,
            },
            "supervisor": plain(m.supervisor.stats()),
            "workers": m.workers.stats(),
            "reported": {name: figure() for name, figure in m.reported.items()},
        }

    @needs("system:read")
    async def readiness(self, ctx: Any) -> dict[str, str | None]:
        """Return, by component, None where it works and otherwise the reason why it does not."""
        return await self._measured.ready()

    @needs("metrics:read")
    async def bus(self, ctx: Any) -> dict[str, Any]:
        """Return the event bus's figures; those of durable topics stand under `durable`."""
        bus = self._measured.bus
        durable = plain(self._measured.event_log.stats())
        return {**plain(bus.stats()), "position": bus.position, "durable": durable}

    @needs("metrics:read")
    async def store(self, ctx: Any) -> dict[str, Any]:
        """Return the store's figures."""
        return dict(plain(self._measured.store.stats()))

    @needs("metrics:read")
    async def metrics(self, ctx: Any, family: str = "") -> bytes:
        """Return the metrics whose names begin with `family`, in Prometheus' text format 0.0.4."""
        return self._measured.metrics.expose(family)

    @needs("audit:read")
    async def denials(self, ctx: Any, limit: int = 100) -> list[dict[str, Any]]:
        """Return the latest refusals, newest first."""
        kept = list(self._measured.gate.denials)[::-1][: max(0, limit)]
        return [dict(plain(denial)) for denial in kept]


class ModuleControl:
    """The service `modules`: what is loaded, and loading it anew, back, or not at all."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    @needs("plugin:read")
    async def list(self, ctx: Any) -> list[dict[str, Any]]:
        """Return every known plugin with its state."""
        return [self._shown(module) for module in self._measured.modules.known()]

    @needs("plugin:read")
    async def get(self, ctx: Any, name: str) -> dict[str, Any]:
        """Return one plugin, or raise `NotFound`."""
        return self._shown(self._measured.modules.get(name))

    @needs("plugin:read")
    async def history(self, ctx: Any, limit: int = 100) -> tuple[dict[str, Any], ...]:
        """Return the switches since the start, newest first, with their rollback tokens."""
        return tuple(describe(s) for s in self._measured.modules.history()[: max(0, limit)])

    @needs("plugin:manage")
    async def reload(self, ctx: Any, name: str) -> dict[str, Any]:
        """Load a plugin anew from its file."""
        return self._shown(await self._measured.modules.reload(name))

    @needs("plugin:manage")
    async def roll_back(self, ctx: Any, token: str) -> dict[str, Any]:
        """Take a plugin back to what served before the switch that yielded `token`."""
        return self._shown(await self._measured.modules.roll_back(token))

    @needs("plugin:manage")
    async def register(self, ctx: Any, name: str, version: str | None = None) -> dict[str, Any]:
        """Put what lies under `name` in the drop folder into service, if its code declares `version`."""
        return self._shown(await self._measured.modules.register(name, version))

    @needs("plugin:manage")
    async def remove(self, ctx: Any, name: str) -> dict[str, Any]:
        """Take a dropped plugin out of service and of the drop folder; return where under HOME it is kept."""
        kept = await self._measured.modules.remove(name, self._measured.config.paths.home / REMOVED)
        return {"name": name, "kept": str(kept)}

    @needs("plugin:manage")
    async def unload(self, ctx: Any, name: str) -> dict[str, Any]:
        """Take a plugin out of service."""
        return self._shown(await self._measured.modules.unload(name))

    def _shown(self, module: Module) -> dict[str, Any]:
        generation = module.generation
        shown: dict[str, Any] = {
            "name": module.name,
            "path": str(module.path),
            "bundled": module.folder.bundled,
            "status": module.status,
            "reason": module.reason,
            "loads": module.loads,
            "rollback_token": self._measured.modules.way_back(module.name),
        }
        if generation is None:
            return shown
        manifest, contribution, tally = generation.contribution.manifest, generation.contribution, generation.tally
        return shown | {
            "version": manifest.version,
            "description": manifest.description,
            "category": manifest.category,
            "generation": generation.number,
            "hash": generation.source.hash,
            "capabilities": list(manifest.capabilities),
            "routes": [f"{route.method} {route.path}" for route in contribution.routes],
            "functions": [function.name for function in contribution.functions],
            "services": [service.name for service in contribution.services],
            "tasks": [task.name for task in contribution.tasks],
            "subscriptions": [subscription.pattern for subscription in contribution.subscriptions],
            "durable": list(manifest.durable),
            "calls": tally.calls,
            "errors": tally.errors,
            "busy_s": round(tally.busy_s, 6),
            "in_flight": generation.in_flight,
        }


_SERVICES: Mapping[str, type[KernelStatus | ModuleControl]] = {"kernel": KernelStatus, "modules": ModuleControl}


def built_in(measured: Measured) -> Generation:
    """Return the generation, never reloaded, through which the kernel stands in its own table."""
    providers = {name: service(measured) for name, service in _SERVICES.items()}
    services = tuple(Service(name, service, _methods(name)) for name, service in _SERVICES.items())
    manifest = Manifest("kernel", measured.version, "the kernel itself", "kernel")
    module: ModuleType = sys.modules[__name__]
    source = Source("kernel", _FILE, {}, "")
    generation = Generation(1, source, module, Contribution(manifest, services=services), bundled=True)
    generation._providers.update(providers)
    generation.stage = "serving"
    return generation


@cache
def _methods(name: str) -> Mapping[str, ServiceMethod]:
    provider = _SERVICES[name]
    found = {}
    for method in dir(provider):
        fn = getattr(provider, method)
        right = getattr(fn, "__needs__", None)
        if right is not None:
            found[method] = ServiceMethod(method, right, Signature.of(fn, method=True))
    return found
