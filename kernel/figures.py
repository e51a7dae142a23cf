"""What the kernel's parts count for themselves, as metrics that are read at each scrape."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Protocol

from kernel.bus import Bus, BusStats
from kernel.capabilities import Caller, Chain, Gate
from kernel.clock import Clock
from kernel.config import Config
from kernel.contribution import Table
from kernel.event_log import EventLog, EventLogStats
from kernel.metrics import Metrics, Reading, Values, counted, gauged
from kernel.modules import Counts, Module, Modules, Status
from kernel.scheduler import Scheduler, SchedulerStats
from kernel.store import Store, StoreStats
from kernel.supervisor import Supervisor, SupervisorStats
from kernel.workers import Workers

STATUSES: tuple[Status, ...] = ("loading", "active", "failed", "waiting", "refused", "disabled", "unloaded")


class House(Protocol):
    """What the figures are read from."""

    bus: Bus
    clock: Clock
    config: Config
    event_log: EventLog
    gate: Gate
    metrics: Metrics
    modules: Modules
    scheduler: Scheduler
    started_monotonic: float
    store: Store
    supervisor: Supervisor
    table: Table
    version: str
    workers: Workers

    @property
    def state(self) -> str: ...


def declare(house: House) -> None:
    """Declare every metric that is read from a part of the kernel, and let plugins' gauges be read."""
    metrics = house.metrics
    metrics.read(lambda: house, KERNEL)
    metrics.read(house.scheduler.stats, SCHEDULER)
    metrics.read(house.bus.stats, BUS)
    metrics.read(house.event_log.stats, EVENTS)
    metrics.read(house.store.stats, STORE)
    metrics.read(lambda: house.store.path, DATABASE)
    metrics.read(house.supervisor.stats, SUPERVISOR)
    metrics.read(house.workers.stats, WORKERS)
    metrics.read(house.modules.counts, MODULES)
    metrics.read(lambda: {module.name: module for module in house.modules.known()}, PLUGINS)
    metrics.read_from(lambda: house.table.gauges)
    metrics.standard()


def ready(house: House) -> Values:
    """Return, by component that all others need, whether it works."""
    policy = house.gate.decide(Chain(Caller("core:kernel")), "system:read").allowed
    return {"kernel": house.state == "ready", "database": house.store.problem() is None, "policy": policy}


KERNEL: tuple[Reading[House], ...] = (
    gauged("aetherra_info", "1, with the version of this hub", lambda house: {house.version: 1}, ("version",)),
    gauged(
        "aetherra_kernel_uptime_seconds",
        "Seconds since the start",
        lambda house: house.clock.monotonic() - house.started_monotonic,
    ),
    gauged(
        "aetherra_ready", "1 when this part, which all others need, works, as in /health/ready", ready, ("component",)
    ),
)

SCHEDULER: tuple[Reading[SchedulerStats], ...] = (
    counted("aetherra_kernel_cycle_count", "Dispatch cycles of the kernel's scheduler", lambda s: s.cycles),
    gauged(
        "aetherra_scheduler_queued",
        "Pieces of work that wait",
        lambda s: {name: lane.queued for name, lane in s.lanes.items()},
        ("lane",),
    ),
    gauged(
        "aetherra_scheduler_running",
        "Pieces of work under way",
        lambda s: {name: lane.running for name, lane in s.lanes.items()},
        ("lane",),
    ),
    gauged(
        "aetherra_scheduler_limit",
        "Pieces of work that may be under way at once",
        lambda s: {name: lane.limit for name, lane in s.lanes.items()},
        ("lane",),
    ),
    counted(
        "aetherra_scheduler_tasks_total",
        "Pieces of work that ended",
        lambda s: {"done": s.tasks_processed - s.failed - s.cancelled, "failed": s.failed, "cancelled": s.cancelled},
        ("outcome",),
    ),
    counted("aetherra_scheduler_wait_seconds_total", "Time that work waited for its lane", lambda s: s.wait_s),
    counted("aetherra_scheduler_run_seconds_total", "Time that work was under way", lambda s: s.run_s),
)

BUS: tuple[Reading[BusStats], ...] = (
    counted("aetherra_bus_events_published_total", "Events published", lambda s: s.published),
    counted("aetherra_bus_events_delivered_total", "Events taken by a receiver", lambda s: s.delivered),
    counted("aetherra_bus_events_dropped_total", "Events lost to a receiver that was behind", lambda s: s.dropped),
    counted("aetherra_bus_handler_errors_total", "Errors of those who received an event", lambda s: s.errors),
    gauged("aetherra_bus_events_pending", "Events that wait for their receiver", lambda s: s.pending),
    gauged("aetherra_bus_subscribers", "Who receives events", lambda s: s.subscribers),
    gauged("aetherra_bus_topics", "Different topics seen, up to [limits] memo", lambda s: s.topics),
)

EVENTS: tuple[Reading[EventLogStats], ...] = (
    counted("aetherra_events_durable_total", "Durable events committed", lambda s: s.committed),
    counted("aetherra_events_unkept_total", "Events of durable topics published although not kept", lambda s: s.unkept),
    counted("aetherra_events_again_total", "Events of a former process published again", lambda s: s.again),
    counted("aetherra_events_pruned_total", "Durable events deleted for their age or number", lambda s: s.pruned),
    gauged("aetherra_events_kept", "Durable events in the store", lambda s: s.kept),
    gauged("aetherra_events_waiting", "Durable events whose commit is under way", lambda s: s.waiting),
    gauged(
        "aetherra_events_oldest_seconds", "Age of the oldest durable event in the store, 0 without one", lambda s: s.age
    ),
    counted(
        "aetherra_events_subscription_delivered_total",
        "Events that a durable subscription was done with, since its plugin was loaded",
        lambda s: {one.name: one.delivered for one in s.subscriptions},
        ("subscription",),
    ),
    counted(
        "aetherra_events_subscription_dropped_total",
        "Events that a durable subscription passed over, or that were no longer kept when their turn came",
        lambda s: {one.name: one.dropped for one in s.subscriptions},
        ("subscription",),
    ),
    gauged(
        "aetherra_events_subscription_pending",
        "Events that wait for a durable subscription",
        lambda s: {one.name: one.pending for one in s.subscriptions},
        ("subscription",),
    ),
)

STORE: tuple[Reading[StoreStats], ...] = (
    counted(
        "aetherra_store_writes_total",
        "Writes that ended",
        lambda s: {"committed": s.writes, "failed": s.failed},
        ("outcome",),
    ),
    counted("aetherra_store_commits_total", "Commits, each of a group of writes", lambda s: s.groups),
    gauged("aetherra_store_writes_waiting", "Writes that wait for the writer", lambda s: s.queue),
    gauged("aetherra_store_wal_bytes", "Size of the write-ahead log", lambda s: s.wal_bytes),
    gauged(
        "aetherra_store_commit_p50_seconds", "Median time of the last 1024 commits", lambda s: s.commit_p50_ms / 1000
    ),
    gauged(
        "aetherra_store_commit_p95_seconds",
        "95th percentile of the last 1024 commits",
        lambda s: s.commit_p95_ms / 1000,
    ),
)

DATABASE: tuple[Reading[Path], ...] = (
    gauged("aetherra_store_database_bytes", "Size of the database file", lambda path: path.stat().st_size),
    gauged(
        "aetherra_store_disk_free_bytes",
        "Room on the disk of the database",
        lambda path: shutil.disk_usage(path.parent).free,
    ),
)

SUPERVISOR: tuple[Reading[SupervisorStats], ...] = (
    gauged(
        "aetherra_supervisor_tasks",
        "Background tasks of plugins",
        lambda s: {"running": s.running, "waiting": s.waiting, "failed": s.failed},
        ("state",),
    ),
    counted("aetherra_supervisor_deaths_total", "Deaths of background tasks", lambda s: s.deaths),
    counted("aetherra_supervisor_restarts_total", "Restarts of background tasks", lambda s: s.restarts),
    counted("aetherra_supervisor_stuck_total", "Background tasks that would not leave", lambda s: s.stuck),
)


def _by_program(name: str, help: str, field: str) -> Reading[dict[str, dict[str, int]]]:
    make = counted if name.endswith("_total") else gauged
    return make(name, help, lambda pools: {program: pool[field] for program, pool in pools.items()}, ("program",))


WORKERS = (
    _by_program("aetherra_workers_alive", "Worker processes", "alive"),
    _by_program("aetherra_workers_idle", "Worker processes with nothing to do", "idle"),
    _by_program("aetherra_workers_jobs_waiting", "Jobs that wait for a worker process", "waiting"),
    _by_program("aetherra_workers_jobs_total", "Jobs handed to worker processes", "jobs_total"),
    _by_program("aetherra_workers_started_total", "Worker processes started", "started_total"),
    _by_program("aetherra_workers_ended_total", "Worker processes gone: worn out, killed or dead", "ended_total"),
)

MODULES: tuple[Reading[Counts], ...] = (
    counted("aetherra_module_hot_reloads_total", "Hot reloads that were tried", lambda c: c.attempts),
    counted("aetherra_module_hot_reloads_done_total", "Hot reloads that were switched to", lambda c: c.success),
    counted("aetherra_module_rollbacks_total", "Plugins taken back to an earlier version", lambda c: c.rollback),
    gauged("aetherra_module_generations_draining", "Replaced versions not yet proved gone", lambda c: c.draining),
)


def _by_status(known: dict[str, Module]) -> Values:
    found: dict[str, float] = dict.fromkeys(STATUSES, 0)
    for module in known.values():
        found[module.status] += 1
    return found


PLUGINS: tuple[Reading[dict[str, Module]], ...] = (
    gauged(
        "aetherra_plugins_loaded",
        "Plugins that were loaded, as modules_loaded of /api/klm/status",
        lambda known: sum(module.loads > 0 for module in known.values()),
    ),
    gauged(
        "aetherra_plugins_by_status",
        "Plugins known",
        _by_status,
        ("status",),
    ),
    gauged(
        "aetherra_plugins_up",
        "1 while the plugin serves",
        lambda known: {name: module.generation is not None for name, module in known.items()},
        ("plugin",),
    ),
    gauged(
        "aetherra_plugins_edit_refused",
        "1 while the newest edit is not what serves; the reason is in /api/plugins",
        lambda known: {name: bool(module.generation and module.reason) for name, module in known.items()},
        ("plugin",),
    ),
    gauged(
        "aetherra_plugins_calls_in_flight",
        "Calls inside the plugin",
        lambda known: {name: m.generation.in_flight for name, m in known.items() if m.generation is not None},
        ("plugin",),
    ),
    counted(
        "aetherra_plugins_calls_total",
        "Calls into the plugin, over all its versions",
        lambda known: {name: module.tally().calls for name, module in known.items()},
        ("plugin",),
    ),
    counted(
        "aetherra_plugins_errors_total",
        "Calls that failed with what is no expected error",
        lambda known: {name: module.tally().errors for name, module in known.items()},
        ("plugin",),
    ),
    counted(
        "aetherra_plugins_busy_seconds_total",
        "Time that calls took, over all its versions",
        lambda known: {name: module.tally().busy_s for name, module in known.items()},
        ("plugin",),
    ),
)
