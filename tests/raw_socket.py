"""HTTP and WebSocket as they are on the wire: responses read, and frames written, also such as no library writes."""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass
from typing import Any


@dataclass
class Answered:
    """A response as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The decoded body."""
        return json.loads(self.body)


async def read_response(reader: asyncio.StreamReader, *, head_only: bool = False) -> Answered:
    """Read one response."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in lines[1:]:
        name, _, value = line.partition(": ")
        if name:
            headers[name.lower()] = value
    body = b""
    if not head_only and "content-length" in headers:
        body = await reader.readexactly(int(headers["content-length"]))
    return Answered(int(lines[0].split()[1]), headers, body)


HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


def client_frame(opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bool = True, rsv: int = 0) -> bytes:
    """Return a frame as a client writes it, or as none should."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    flag = 0x80 if mask else 0
    if size < 126:
        head += bytes([flag | size])
    elif size < 65_536:
        head += bytes([flag | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([flag | 127]) + size.to_bytes(8, "big")
    if not mask:
        return head + payload
    key = b"\x0a\x0b\x0c\x0d"
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


class RawSocket:
    """A WebSocket of a client that writes whatever bytes it likes."""

    def __init__(self, answered: Answered, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.answered = answered
        self.reader = reader
        self.writer = writer

    def write(self, opcode: int, payload: bytes = b"", **how: Any) -> None:
        """Write one frame."""
        self.writer.write(client_frame(opcode, payload, **how))

    def say(self, message: Any) -> None:
        """Write a message as JSON."""
        self.write(TEXT, json.dumps(message).encode())

    async def frame(self) -> tuple[int, bytes]:
        """Return opcode and payload of the next frame, which is one whole message; an error when there is none."""
        async with asyncio.timeout(5):
            first, size = await self.reader.readexactly(2)
            assert first & 0xF0 == 0x80, "the hub writes whole messages without reserved bits"
            assert size < 0x80, "a server masks nothing"
            if size >= 126:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first & 0xF, await self.reader.readexactly(size)

    async def message(self) -> Any:
        """Return the next message; pings are answered. A close is returned as (code, reason)."""
        while True:
            opcode, payload = await self.frame()
            if opcode == PING:
                self.write(PONG, payload)
            elif opcode == CLOSE:
                return int.from_bytes(payload[:2], "big"), payload[2:].decode()
            else:
                return json.loads(payload)

    async def ended(self) -> bool:
        """Return True once the hub has closed the connection."""
        async with asyncio.timeout(5):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


async def slow_connection(port: int, buffer: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection of which the system, and this side, take little ahead."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
    return await asyncio.open_connection(sock=sock, limit=buffer)
