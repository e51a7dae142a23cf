"""What can be set in the kernel's own sections; the text below a field is its line in docs/configuration.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import msgspec

from kernel.errors import BadInput
from kernel.patterns import check_pattern

Count = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0)]


class StoreSettings(msgspec.Struct, frozen=True):
    """`[store]`: how the database is kept. How many writes wait and commit together is in `[limits]`."""

    busy_s: Seconds = 5.0
    """How long a statement waits for a lock that another process (a backup) holds."""
    retention_days: Annotated[float, msgspec.Meta(gt=0)] = 90.0
    """How long what is only a record is kept: durable events."""


class EventSettings(msgspec.Struct, frozen=True):
    """`[events]`: durable topics. How many events are kept in memory is `[limits] ring`."""

    durable: tuple[str, ...] = ("user.#",)
    """Topic patterns whose events are kept, beside those that plugins declare."""
    kept: Count = 1_000_000
    """Durable events that are kept; beyond it the oldest go."""
    event_kb: Count = 64
    """How large the data of one durable event, or of one that a client posts, may be."""
    attempts: Count = 5
    """How often a durable subscription calls its handler with one event, before it passes the event over."""
    page: Count = 128
    """Events of the past that are in memory at once for one reader: a stream that resumes, a durable subscription."""
    answers_h: Annotated[float, msgspec.Meta(gt=0)] = 24.0
    """How long the answer to a posted event with an Idempotency-Key is kept."""
    answers_per_owner: Count = 10_000
    """Such answers kept for one principal."""

    def __post_init__(self) -> None:
        for pattern in self.durable:
            try:
                check_pattern(pattern)
            except BadInput as error:
                raise ValueError(error.message) from None


class Limits(msgspec.Struct, frozen=True):
    """`[limits]`: the bounds of the hub itself. (Those of a script are in the policy.)"""

    ring: Count = 10_000
    """Events kept in memory, from which a stream resumes."""
    memo: Count = 4_096
    """Topics whose subscribers are remembered."""
    store_queue: Count = 10_000
    """Writes that may wait for the writer."""
    store_group: Count = 512
    """Writes that share one commit."""
    read_rows: Count = 10_000
    """Rows that one read may return."""
    call_items: Count = 10_000
    """Items that a call of a streaming function may collect."""
    lane_high_priority: Count = 32
    """Pieces of work that run at once in the lane `high_priority`."""
    lane_normal_priority: Count = 16
    """The same for `normal_priority`."""
    lane_background: Count = 4
    """The same for `background`."""
    lane_queue: Count = 10_000
    """Pieces of work that may wait in one lane."""
    drain_s: Seconds = 10.0
    """How long calls in flight may finish on a generation that was replaced."""
    open_s: Seconds = 5.0
    """How long a plugin may take to be imported, to open, and to say how it is."""
    pause_ms: Count = 1_000
    """How long calls into a plugin wait while its state is handed over."""
    generations_kept: Count = 10
    """Earlier versions of each plugin that a rollback can go back to."""
    denials_kept: Count = 1_000
    """Refusals of the gate kept in memory."""
    max_series: Count = 2_000
    """Label combinations of one metric."""
    requests_per_minute: Count = 60_000
    """Requests of one client, within any minute; beyond it the answer is 429. `/health*` and `/metrics` are exempt."""
    aimos_requests_per_minute: Count = 100
    """The same of one user, on the paths of the AIMOS API."""
    aimos_admin_requests_per_minute: Count = 200
    """The same of an administrator."""
    rate_clients: Count = 10_000
    """Clients whose requests are counted; of more, the one that asked longest ago begins anew."""
    task_deaths: Count = 3
    """Deaths of a background task within `task_window_s` that are forgiven; at the next one it stays down."""
    task_window_s: Seconds = 300.0
    """See `task_deaths`."""


class NetworkSettings(msgspec.Struct, frozen=True):
    """`[network]`: what the environment adds to the network part of the policy; it can only narrow or name hosts."""

    strict: bool = False
    """True: only hosts of the allowlist may be reached, whatever the policy's `strict_mode` says."""
    allowlist: tuple[str, ...] = ()
    """Hosts added to the policy's allowlist."""


KERNEL_SECTIONS: Mapping[str, type[msgspec.Struct]] = {
    "store": StoreSettings,
    "events": EventSettings,
    "limits": Limits,
    "network": NetworkSettings,
}
"""By the name of the section."""
