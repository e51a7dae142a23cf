"""What the kernel and the policy tell about themselves, as this dialect shows it. Counts are since the start."""

from __future__ import annotations

from typing import Any

import msgspec


class Lane(msgspec.Struct):
    """A lane of the scheduler: what waits, what runs, and how many may."""

    queued: int
    running: int
    limit: int


class SchedulerFigures(msgspec.Struct):
    """`avg_task_latency_ms` is from submit to end: the wait and the work. `cycles` are looks for work to start."""

    lanes: dict[str, Lane]
    tasks_processed: int
    failed: int
    cancelled: int
    avg_task_latency_ms: float
    avg_wait_ms: float
    avg_run_ms: float
    cycles: int


class TaskFigures(msgspec.Struct):
    """A background task of a plugin; `last_error` and `last_death_at` are empty while it never died."""

    owner: str
    name: str
    state: str
    deaths: int
    last_error: str
    last_death_at: str


class SupervisorFigures(msgspec.Struct):
    """Background tasks: how many run, wait to be started again, and failed for good."""

    running: int
    waiting: int
    failed: int
    deaths: int
    restarts: int
    stuck: int
    tasks: list[TaskFigures]


class SubscriptionFigures(msgspec.Struct):
    """A durable subscription since its plugin was loaded: published = delivered + dropped + pending.

    `offset` is the number of the event after which it goes on when the hub dies now.
    """

    name: str
    pattern: str
    offset: int
    published: int
    delivered: int
    dropped: int
    pending: int
    retried: int


class DurableFigures(msgspec.Struct):
    """Durable topics: their patterns, the events that are kept with the oldest and the newest, and what was counted.

    `age` is that of the oldest, in seconds. Since the start: events `committed`, those `unkept` because the store could
    not take them, those of a former process published `again`, and those `pruned`. `waiting` are not committed yet.
    """

    topics: list[str]
    kept: int
    oldest: int | None
    oldest_at: str | None
    age: float
    newest: int
    committed: int
    waiting: int
    unkept: int
    again: int
    pruned: int
    subscriptions: list[SubscriptionFigures]


class BusFigures(msgspec.Struct):
    """The event bus: `topics` seen, events published and delivered, dropped and pending, and handlers that failed.

    `position` is the number of the newest event.
    """

    topics: int
    subscribers: int
    published: int
    delivered: int
    dropped: int
    pending: int
    errors: int
    position: int
    durable: DurableFigures


class StoreFigures(msgspec.Struct):
    """The store: writes, the groups they were committed in, and how long a commit takes."""

    writes: int
    failed: int
    groups: int
    group_mean: float
    queue: int
    wal_bytes: int
    commit_p50_ms: float
    commit_p95_ms: float


class ReloadFigures(msgspec.Struct):
    """Hot reloads; `leaked` counts versions that something still holds."""

    enabled: bool
    attempts: int
    success: int
    rollback: int
    leaked: int


class PartFigures(msgspec.Struct):
    """The figures of every part."""

    scheduler: SchedulerFigures
    supervisor: SupervisorFigures
    bus: BusFigures
    store: StoreFigures
    hmr: ReloadFigures


class Measured(msgspec.Struct):
    """The kernel and its parts; `uptime` in seconds."""

    running: bool
    uptime: float
    metrics: PartFigures


class KernelMetrics(msgspec.Struct):
    """The figures of the kernel at `hub_ts`."""

    hub_ts: str
    kernel: Measured


class Limits(msgspec.Struct):
    """Every bound in force, by the name of its setting."""

    limits: dict[str, float | int]
    count: int


class Capabilities(msgspec.Struct):
    """Who may, and who may never, do what: principals or roles, and their rights."""

    allow: dict[str, list[str]]
    deny: dict[str, list[str]]


class NetworkLists(msgspec.Struct):
    """Hosts that the hub may and may not reach."""

    allowlist: list[str]
    denylist: list[str]


class PolicySnapshot(msgspec.Struct):
    """The policy in force."""

    capabilities: Capabilities
    network: NetworkLists
    strict_mode: bool


class PolicyMistake(msgspec.Struct):
    """What is wrong with the latest edit of the policy files."""

    file: str
    line: int | None
    message: str


class PolicyMeta(msgspec.Struct):
    """Which policy is in force since when.

    `stale`: the latest edit is wrong, and the policy before it is in force; `closed`: nothing but the console works.
    `trust` is the section `[trust]` of the files.
    """

    version: int
    hash: str
    folder: str
    files: list[str]
    rules: int
    loaded_at: str | None
    stale: bool
    closed: bool
    error: PolicyMistake | None
    strict_mode: bool
    network_strict: bool
    trust: dict[str, Any]
