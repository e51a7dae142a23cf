"""The Hub's own API dialect (`docs/http.md`): routes and field names, and nothing held.

Every figure here comes from a service that measured it.
"""

from kernel import Plugin

from . import (
    accounts,
    disclosure,
    events,
    jobs,
    kernel,
    memory,
    modules,
    peers,
    plugins,
    posting,
    quantum,
    schedules,
    scripts,
    site,
    trainer,
)

hub_api = Plugin(
    "hub_api",
    version="0.1.0",
    description="The Hub dialect: /api/...",
    category="api",
    topics=["telemetry"],
    durable=["telemetry.#"],
)

parts = (
    kernel,
    modules,
    plugins,
    events,
    posting,
    site,
    memory,
    jobs,
    scripts,
    schedules,
    peers,
    quantum,
    trainer,
    disclosure,
    accounts,
)
for part in parts:
    part.add(hub_api)
