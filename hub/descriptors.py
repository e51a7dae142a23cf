"""File descriptors: how many clients their limit allows, and a few held back for when the table is full all the same.

The bound of connections keeps clients from taking the last descriptors, which the hub needs for files and workers. The
reserve is for what that bound cannot see: a limit lowered while the hub runs, a plugin that never closes what it opens.
"""

from __future__ import annotations

import logging
import os
import resource

from hub.settings import HubSettings
from kernel import Config

log = logging.getLogger("hub.descriptors")

OWN_DESCRIPTORS = 200
"""Files, sockets and pipes that a hub has open beside its clients: database, folders watched, workers."""

LIMIT = "RLIMIT_NOFILE"


def needed_descriptors(settings: HubSettings) -> int:
    """Return how many descriptors a hub wants that is to hold all the connections of its settings."""
    return settings.connections + 2 * settings.spare_connections + OWN_DESCRIPTORS


def connections_within(limit: int, settings: HubSettings) -> int:
    """Return how many connections a hub lets in that may have `limit` descriptors, at most those of its settings.

    Where the limit is small, the hub itself makes do with half of it.
    """
    if limit == resource.RLIM_INFINITY:
        return settings.connections
    own = min(OWN_DESCRIPTORS, limit // 2)
    return max(1, min(settings.connections, limit - own - 2 * settings.spare_connections))


def fit_connections(config: Config) -> None:
    """Raise the process's own limit as far as the system lets it, and lower `[hub] connections` to what it allows."""
    settings: HubSettings = config.hub
    limit = raised_limit(needed_descriptors(settings))
    bound = connections_within(limit, settings)
    if bound < settings.connections:
        log.warning(
            "%d files may be open (%s), so [hub] connections is %d instead of %d, which needs %d; "
            "raise the limit (ulimit -n, a service: LimitNOFILE) or lower connections",
            *(limit, LIMIT, bound, settings.connections, needed_descriptors(settings)),
        )
        config.lower("hub.connections", bound, f"{LIMIT} = {limit}")


def raised_limit(needed: int) -> int:
    """Raise the soft limit of this process to `needed`, or to its hard limit; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


class Reserve:
    """Descriptors that stand for nothing, each of which can be given up so that one client more gets a word."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held: list[int] = []

    @property
    def full(self) -> bool:
        """True when none is lent."""
        return len(self._held) == self._size

    def fill(self) -> None:
        """Take back as many as there are free ones."""
        try:
            while not self.full:
                self._held.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            # Others have them; it is tried again when a connection has ended.
            return

    def lend(self) -> bool:
        """Close one, so that a descriptor is free; False when all of them are lent."""
        if not self._held:
            return False
        os.close(self._held.pop())
        return True

    def close(self) -> None:
        """Close them all."""
        while self.lend():
            pass
