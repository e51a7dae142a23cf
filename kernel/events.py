"""An event, and the topics the kernel itself publishes. A topic is `noun.verbed`: a fact, in the past tense."""

from __future__ import annotations

from typing import Any, Final

import msgspec


# Not tracked by the garbage collector: its data is plain and older than itself, so it is never part of a cycle, and
# thousands of them in the ring would only make the collector run.
class Event(msgspec.Struct, frozen=True, gc=False):
    """A fact: what happened (`topic`, `data`), when (`time`, wall seconds UTC), and in which order (`seq`).

    `source` is the plugin that published it, `trace` joins it to the request or run that caused it. `data` is plain.
    """

    seq: int
    topic: str
    time: float
    data: Any
    source: str = ""
    trace: str = ""


MODULE_LOADED: Final = "module.loaded"
"""A plugin's first generation is active."""

MODULE_RELOADED: Final = "module.reloaded"
"""A new generation replaced the one before it."""

MODULE_RELOAD_FAILED: Final = "module.reload_failed"
"""A new generation did not come up; the one before it keeps serving."""

MODULE_ROLLED_BACK: Final = "module.rolled_back"
"""An earlier generation is active again."""

MODULE_UNLOADED: Final = "module.unloaded"
"""A plugin left; nothing of it is active."""

MODULE_WAITING: Final = "module.waiting"
"""A plugin waits for something it requires."""

MODULE_REFUSED: Final = "module.refused"
"""A plugin was not loaded because the policy or the contract forbids it."""

MODULE_LEAKED: Final = "module.leaked"
"""A retired generation is still held by something."""

PLUGIN_ERROR: Final = "plugin.error"
"""A handler, task or door of a plugin raised."""

PLUGIN_TASK_FAILED: Final = "plugin.task_failed"
"""A background task died too often and stays down."""

CAPABILITY_DENIED: Final = "capability.denied"
"""The gate said no."""

POLICY_LOADED: Final = "policy.loaded"
"""A set of policy files took effect."""

POLICY_FAILED: Final = "policy.failed"
"""A set of policy files was refused; the one before it stays in effect."""

KERNEL_STARTED: Final = "kernel.started"
"""Every part of the kernel is up."""

KERNEL_STOPPING: Final = "kernel.stopping"
"""The kernel begins to stop; new work is refused."""

KERNEL_TOPICS: Final = frozenset(
    {
        MODULE_LOADED,
        MODULE_RELOADED,
        MODULE_RELOAD_FAILED,
        MODULE_ROLLED_BACK,
        MODULE_UNLOADED,
        MODULE_WAITING,
        MODULE_REFUSED,
        MODULE_LEAKED,
        PLUGIN_ERROR,
        PLUGIN_TASK_FAILED,
        CAPABILITY_DENIED,
        POLICY_LOADED,
        POLICY_FAILED,
        KERNEL_STARTED,
        KERNEL_STOPPING,
    }
)
"""All of the above."""

KERNEL_WORDS: Final = frozenset({"kernel", "module", "capability", "hub", "stream"})
"""First words under which nobody but the kernel and the hub publishes."""
