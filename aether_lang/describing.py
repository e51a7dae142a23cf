"""What a call of the host would do, in a few words for people. Pure."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

SHOWN: Final = 60
"""Characters of an argument that are shown."""

_WORDS: Final[dict[str, str]] = {
    "memory.remember": "remember {content}",
    "memory.store": "store the entry {entry}",
    "memory.put": "remember {value}",
    "memory.update": "change the entry {id}: {patch}",
    "memory.delete": "delete the entry {id}",
    "memory.archive": "archive the entry {entry}",
    "memory.tag": "tag the entry {value} with {tag}",
    "memory.learn": "keep a learning note: {text}",
    "memory.forget": "delete the entries with {query} {tag}",
    "memory.search": "search memory {criteria}",
    "memory.search_one": "search memory {criteria}",
    "memory.recall": "recall {query} {tag}",
    "memory.get": "read the entry {id}",
    "collection.store": "store {value} in {collection}",
    "collection.append": "store {value} in {collection}",
    "collection.remove": "take {value} out of {collection}",
    "collection.clear": "empty {collection}",
    "collection.update": "change an entry of {collection}: {value}",
    "goal.set": "set the goal {goal}",
    "goal.update": "change the goal {goal}",
    "goal.declare": "set the goal {title}",
    "goal.finish": "mark the goal {id} as {state}",
    "plugin.call": "call {name} {args} {kwargs}",
    "plugin.try": "call {name} {args} {kwargs}",
    "function.call": "call {name} {args} {kwargs}",
    "receiver.call": "call {receiver}.{function} {args} {kwargs}",
    "plugin.load": "load the plugin {name}",
    "agent.run": "run the agent {agent} with {input}",
    "agent.message": "tell {to}: {text}",
    "agent.send": "tell {agent}: {message}",
    "agent.escalate": "tell {who}: {message}",
    "ai.ask": "ask a model: {prompt}",
    "ai.verb": "ask a model: {text}",
    "ai.function": "ask a model for {name} {args}",
    "ui.notify": "tell {user} {team}: {content}",
    "ui.alert": "tell everybody: {text}",
    "ui.speak": "say {text}",
    "event.emit": "publish {event}: {data}",
    "intent.record": "record the intent: {text}",
    "http.get": "ask {url}",
    "http.post": "send to {url}",
    "file.read": "read the file {path}",
    "file.read_json": "read the file {path}",
    "file.write": "write the file {path}",
    "file.write_json": "write the file {path}",
    "secret.config": "read the secret {name}",
    "schedule.recurring": "run {name} every {n} {unit}",
    "schedule.daily": "run {name} daily at {at}",
}


class _Arguments(dict[str, str]):
    def __missing__(self, name: str) -> str:
        return ""


def described(operation: str, args: Mapping[str, Any]) -> str:
    """Return what the call would do; for an operation without words of its own, its name and arguments."""
    words = _WORDS.get(operation)
    if words is None:
        given = ", ".join(f"{name}={shown(value)}" for name, value in args.items())
        return f"{operation}({given})"
    filled = words.format_map(
        _Arguments({name: shown(value) for name, value in args.items() if value not in (None, [], {})})
    )
    return " ".join(filled.split()).replace(" :", ":").rstrip(":")


def shown(value: Any) -> str:
    """Return a value as a line shows it: text as it is, else JSON; cut where it is long."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"
