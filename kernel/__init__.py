"""The public names of the kernel: all that plugins and the hub may import."""

from kernel.audit import AuditRecord
from kernel.bus import Bus, Subscription
from kernel.capabilities import Caller, Chain, Decision, Denial
from kernel.clock import Clock, SystemClock, iso
from kernel.command import Terminal, load_commands, load_settings
from kernel.config import Config, Paths, Setting
from kernel.context import Context, EventStream, Reply, new_trace
from kernel.contribution import EFFECTS, SOCKET_METHOD, Command, Effect, Function, Owned, Route, Table, path_key
from kernel.errors import (
    AetherraError,
    BadInput,
    ConfigError,
    Conflict,
    ContractError,
    DeadlineExceeded,
    Denied,
    Gone,
    LoadError,
    NotAvailable,
    NotFound,
    Overloaded,
    PluginError,
    ServiceUnavailable,
    StorageError,
    StorageFull,
    TooLarge,
    Unauthenticated,
)
from kernel.event_log import Published
from kernel.events import KERNEL_TOPICS, Event
from kernel.examination import Finding, examine_plugins
from kernel.grounds import Grounds
from kernel.hookspecs import hookimpl
from kernel.identity import Credential, Identity
from kernel.kernel import Kernel
from kernel.metrics import Reading, counted, gauged
from kernel.patterns import matcher
from kernel.plugin import Plugin, needs
from kernel.redaction import redactions
from kernel.replay import Replay
from kernel.scheduler import Ticket
from kernel.setting_docs import SettingDoc, SettingTable, describe_settings
from kernel.signature import Binder, MessageDecoder, Parameter, Signature
from kernel.socket import Socket, SocketError, SocketEvent, SocketGap
from kernel.suggest import nearest
from kernel.version import VERSION
from kernel.workers import Job, Pool, Program, WorkerLost, interpreter

__all__ = [
    "EFFECTS",
    "KERNEL_TOPICS",
    "SOCKET_METHOD",
    "VERSION",
    "AetherraError",
    "AuditRecord",
    "BadInput",
    "Binder",
    "Bus",
    "Caller",
    "Chain",
    "Clock",
    "Command",
    "Config",
    "ConfigError",
    "Conflict",
    "Context",
    "ContractError",
    "Credential",
    "DeadlineExceeded",
    "Decision",
    "Denial",
    "Denied",
    "Effect",
    "Event",
    "EventStream",
    "Finding",
    "Function",
    "Gone",
    "Grounds",
    "Identity",
    "Job",
    "Kernel",
    "LoadError",
    "MessageDecoder",
    "NotAvailable",
    "NotFound",
    "Overloaded",
    "Owned",
    "Parameter",
    "Paths",
    "Plugin",
    "PluginError",
    "Pool",
    "Program",
    "Published",
    "Reading",
    "Replay",
    "Reply",
    "Route",
    "ServiceUnavailable",
    "Setting",
    "SettingDoc",
    "SettingTable",
    "Signature",
    "Socket",
    "SocketError",
    "SocketEvent",
    "SocketGap",
    "StorageError",
    "StorageFull",
    "Subscription",
    "SystemClock",
    "Table",
    "Terminal",
    "Ticket",
    "TooLarge",
    "Unauthenticated",
    "WorkerLost",
    "counted",
    "describe_settings",
    "examine_plugins",
    "gauged",
    "hookimpl",
    "interpreter",
    "iso",
    "load_commands",
    "load_settings",
    "matcher",
    "nearest",
    "needs",
    "new_trace",
    "path_key",
    "redactions",
]
