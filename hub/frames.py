"""WebSocket frames (RFC 6455): those we write, as bytes that many clients can share, and a look at those that come.

aiohttp's parser reads a client's frames. It lets pass what the standard forbids (frames without a mask), and says
little of why it fails; so a guard looks at each head first, and holds our bounds before anything is kept.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9
FIN = 0x80
CONTROL = 0x8
MASKED = 0x80
MASK_BYTES = 4
REASON_BYTES = 123
"""How long the reason of a close may be, by the standard."""

NORMAL, GOING_AWAY, PROTOCOL, UNSUPPORTED, NO_TEXT, TOO_BIG = 1000, 1001, 1002, 1003, 1007, 1009
FAILED, RESTART, TRY_AGAIN = 1011, 1012, 1013
REFUSED = 4000
"""A refusal closes with 4000 and the HTTP status it would have had."""

PING_FRAME = bytes([FIN | PING, 0])


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole message as the one frame that a server writes."""
    size = len(payload)
    if size < 126:
        return bytes([FIN | opcode, size]) + payload
    if size < 65_536:
        return struct.pack("!BBH", FIN | opcode, 126, size) + payload
    return struct.pack("!BBQ", FIN | opcode, 127, size) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return the frame that closes; the reason is cut to what fits."""
    text = reason.encode()[:REASON_BYTES].decode(errors="ignore").encode()
    return frame(CLOSE, code.to_bytes(2, "big") + text)


class FrameGuard:
    """Sits before the parser of a socket: refuses unmasked frames, binary messages, and messages above `most` bytes.

    `heard` becomes true with whatever comes. The first fault is kept, told to `on_fault`, and nothing goes on after it.
    """

    def __init__(self, most: int, setting: str) -> None:
        self.parser: Any = None
        self.heard = True
        self.fault: tuple[int, str] | None = None
        self.on_fault: Callable[[int, str], None] | None = None
        self._most = most
        self._setting = setting
        self._head = bytearray()
        self._body = 0
        self._message = 0

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Take what the client sent."""
        self.heard = True
        if self.fault is not None:
            return False, b""
        self.fault = self._look(data)
        if self.fault is None:
            result: tuple[bool, bytes] = self.parser.feed_data(data)
            return result
        if self.on_fault is not None:
            self.on_fault(*self.fault)
        return False, b""

    def feed_eof(self) -> None:
        """The client ended its side."""
        self.parser.feed_eof()

    def _look(self, data: bytes) -> tuple[int, str] | None:
        """Walk over the heads of the frames; return the code and the words for what is wrong with one."""
        at = 0
        while at < len(data):
            if self._body:
                step = min(self._body, len(data) - at)
                self._body -= step
                at += step
                continue
            self._head.append(data[at])
            at += 1
            if len(self._head) < 2:
                continue
            fault = self._fault_of_start() if len(self._head) == 2 else None
            if fault is None and len(self._head) == self._head_bytes():
                fault = self._begin()
            if fault is not None:
                return fault
        return None

    def _head_bytes(self) -> int:
        size = self._head[1] & 0x7F
        return 2 + (8 if size == 127 else 2 if size == 126 else 0)

    def _fault_of_start(self) -> tuple[int, str] | None:
        if not self._head[1] & MASKED:
            return PROTOCOL, "a client masks its frames (RFC 6455, 5.1)"
        if self._head[0] & 0xF == BINARY:
            return UNSUPPORTED, "messages are JSON in text frames; this one is binary"
        return None

    def _begin(self) -> tuple[int, str] | None:
        """The head is whole: count the message, and step over mask and payload."""
        first, second = self._head[0], self._head[1] & 0x7F
        size = second if second < 126 else int.from_bytes(self._head[2:], "big")
        self._head.clear()
        self._body = MASK_BYTES + size
        if first & CONTROL:
            return None
        self._message += size
        if self._message > self._most:
            return TOO_BIG, f"a message is at most {self._most // 1024} KiB ({self._setting})"
        if first & FIN:
            self._message = 0
        return None
