"""What the outside answered a run, kept in a file, and given again to a run without its hosts (section 18.4).

A file of JSON lines: the first says what it is, each further one is a call: its operation, a hash of its arguments, and
its result or the error it raised. Modules are named with the hash of their text.
"""

import hashlib
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from .host import Host, Layer, LoadedModule
from .values import Nondeterministic, Place, ScriptError, limit_error

VERSION: Final = 1
MOST_MB: Final = 64
"""Bound of a recording."""


class Head(msgspec.Struct, frozen=True):
    """The first line."""

    recording: int
    script: str
    """The hash of the script's text."""


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One call. `error` has `type`, `message`, `data`, `retryable`."""

    operation: str
    args: str
    result: Any = None
    error: dict[str, Any] | None = None


class RecordingError(ValueError):
    """A file that is no recording, or one of another script; the message says which."""


def fingerprint(data: Any) -> str:
    """The hash of plain data, or of a text."""
    encoded = (
        data.encode("utf-8", "surrogatepass") if isinstance(data, str) else msgspec.json.encode(data, order="sorted")
    )
    return hashlib.sha256(encoded).hexdigest()[:32]


class Recorder(Layer):
    """Writes down what the host beneath answers."""

    overlaps: bool = False

    def __init__(self, base: Host, file: BinaryIO, script: str) -> None:
        """`file` is open for writing; `script` is the script's text."""
        super().__init__(base)
        self.overlaps = False
        self._file = file
        self._bytes = 0
        self._write(Head(VERSION, fingerprint(script)))

    def _write(self, line: Head | Line) -> None:
        data = msgspec.json.encode(line) + b"\n"
        self._bytes += len(data)
        if self._bytes > MOST_MB << 20:
            raise limit_error("recording_mb", MOST_MB, "the recording is too large")
        self._file.write(data)

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """One operation of the host beneath, written down with its answer."""
        hashed = fingerprint(args)
        try:
            result = self.base.call(capability, operation, args, position)
        except ScriptError as error:
            told = {"type": error.type, "message": error.message, "data": error.data, "retryable": error.retryable}
            self._write(Line(operation, hashed, error=told))
            raise
        self._write(Line(operation, hashed, result))
        return result

    def load_module(self, path: str, position: Place) -> LoadedModule:
        """The module beneath, written down with its hash."""
        found = self.base.load_module(path, position)
        self._write(Line("module.load", fingerprint(path), found.hash))
        return found


class Replayer(Layer):
    """Answers from a recording, in its order. A run that asks anything else ends with `Nondeterministic`."""

    overlaps: bool = False

    def __init__(self, base: Host, path: Path, script: str) -> None:
        """`base` takes log and output, and has the modules. RecordingError for a file that is not this script's."""
        super().__init__(base)
        self.overlaps = False
        self._lines = _read(path, script)
        self._at = 0

    @property
    def left(self) -> int:
        """How many recorded calls the run has not made."""
        return len(self._lines) - self._at

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """The recorded answer of the call."""
        line = self._next(operation, fingerprint(args), position)
        if line.error is not None:
            error = line.error
            raise ScriptError(
                str(error.get("type")),
                str(error.get("message")),
                error.get("data"),
                retryable=error.get("retryable") is True,
            )
        return line.result

    def load_module(self, path: str, position: Place) -> LoadedModule:
        """The module beneath, once it is the recorded one."""
        line, found = self._next("module.load", fingerprint(path), position), self.base.load_module(path, position)
        if found.hash != line.result:
            raise Nondeterministic(f"the module '{path}' has another text than when this was recorded")
        return found

    def _next(self, operation: str, args: str, position: Place) -> Line:
        number = self._at + 1
        if self._at == len(self._lines):
            raise Nondeterministic(f"the run asks for {operation} (line {position[1]}); its recording ends before it")
        line = self._lines[self._at]
        if (line.operation, line.args) != (operation, args):
            other = (
                "with other arguments" if line.operation == operation else f"where call {number} was {line.operation}"
            )
            raise Nondeterministic(f"the run asks for {operation} (line {position[1]}) {other} when it was recorded")
        self._at = number
        return line


def _read(path: Path, script: str) -> list[Line]:
    with path.open("rb") as file:
        data = file.read((MOST_MB << 20) + 1)
    if len(data) > MOST_MB << 20:
        raise RecordingError(f"{path} is larger than {MOST_MB} MiB")
    first, *rest = data.splitlines() or [b""]
    try:
        head = msgspec.json.decode(first, type=Head)
        lines = [msgspec.json.decode(line, type=Line) for line in rest]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RecordingError(f"{path} is no recording: {error}") from None
    if head.recording != VERSION:
        raise RecordingError(f"{path} is a recording of version {head.recording}; this is version {VERSION}")
    if head.script != fingerprint(script):
        raise RecordingError(f"{path} was recorded of another text; record it anew with --record")
    return lines
