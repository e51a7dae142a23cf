"""Length-prefixed msgpack frames over a stream socket: the only way in and out of a worker.

A frame is four bytes, the big-endian length, then one msgpack map with `t`, the type, as text. No extension types,
strict UTF-8, nesting of at most `MAX_DEPTH`. Whoever meets anything else stops talking: `ProtocolError` ends a worker.
"""

import socket
import struct
import threading
from typing import Any, Final

import msgspec

MAX_FRAME: Final = 1 << 20
"""Bytes of one frame that a run worker sends."""
MAX_JOB_FRAME: Final = 8 << 20
"""Bytes of one frame that a worker accepts, and that a compile worker sends: sources and compiled modules."""
MAX_DEPTH: Final = 32
_LENGTH: Final = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent what no correct peer sends."""


class FrameTooLargeError(ValueError):
    """What was to be sent is larger than a frame may be; nothing was sent. `size` and `limit` are bytes."""

    def __init__(self, size: int, limit: int) -> None:
        """The frame's size and what is allowed."""
        super().__init__(f"a frame of {size} bytes, at most {limit} are allowed")
        self.size = size
        self.limit = limit


def _no_extension(code: int, _data: memoryview) -> Any:
    raise ProtocolError(f"extension type {code}")


_DECODER: Final = msgspec.msgpack.Decoder(ext_hook=_no_extension)
_ENCODER: Final = msgspec.msgpack.Encoder()


def decoded(data: bytes) -> dict[str, Any]:
    """The map of a frame's body; ProtocolError when it is none or breaks a rule."""
    try:
        frame = _DECODER.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise ProtocolError(f"not msgpack: {error}") from None
    if type(frame) is not dict or type(frame.get("t")) is not str:
        raise ProtocolError("a frame must be a map with a text under 't'")
    if _deeper(frame, MAX_DEPTH):
        raise ProtocolError(f"a frame nests deeper than {MAX_DEPTH}")
    return frame


def _deeper(value: Any, levels: int) -> bool:
    """Whether the value nests more than that many levels; ProtocolError for a key that is no text."""
    if type(value) is dict:
        if not all(type(key) is str for key in value):
            raise ProtocolError("a key that is no text")
        return levels == 0 or any(_deeper(part, levels - 1) for part in value.values())
    if type(value) is list:
        return levels == 0 or any(_deeper(part, levels - 1) for part in value)
    return False


class Channel:
    """Frames over one connected socket. Sending is safe from any thread, receiving is for one thread."""

    def __init__(self, sock: socket.socket, send_limit: int = MAX_FRAME, receive_limit: int = MAX_JOB_FRAME) -> None:
        """The limits are bytes of one frame, without its length prefix."""
        self._socket = sock
        self._send_limit = send_limit
        self._receive_limit = receive_limit
        self._sending = threading.Lock()

    def send(self, frame: dict[str, Any]) -> int:
        """Sends one frame and gives its size; FrameTooLargeError before a byte has left."""
        data = _ENCODER.encode(frame)
        if len(data) > self._send_limit:
            raise FrameTooLargeError(len(data), self._send_limit)
        with self._sending:
            self._socket.sendall(_LENGTH.pack(len(data)) + data)
        return len(data)

    def receive(self) -> tuple[dict[str, Any], int] | None:
        """The next frame and its size, None at the end; ProtocolError for a bad one."""
        head = self._exactly(_LENGTH.size)
        if head is None:
            return None
        (size,) = _LENGTH.unpack(head)
        if size > self._receive_limit:
            raise ProtocolError(f"a frame of {size} bytes, at most {self._receive_limit} are allowed")
        data = self._exactly(size)
        if data is None:
            raise ProtocolError("the connection ended inside a frame")
        return decoded(data), size

    def close(self) -> None:
        """Ends the connection in both directions."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # the other side was faster
        self._socket.close()

    def _exactly(self, count: int) -> bytes | None:
        parts: list[bytes] = []
        missing = count
        while missing:
            part = self._socket.recv(min(missing, 1 << 16))
            if not part:
                if missing == count:
                    return None
                raise ProtocolError("the connection ended inside a frame")
            parts.append(part)
            missing -= len(part)
        return b"".join(parts)
