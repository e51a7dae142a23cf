"""The hub's settings: the section `[hub]` of `aetherra.toml`, or `AETHERRA_HUB_*`, or the flags of `aether serve`."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Port = Annotated[int, Meta(ge=0, le=65_535)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


class HubSettings(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """Where the hub listens, whom it answers, and every bound of its edge. `_s` is seconds, `_kb` is 1024 bytes."""

    host: str = "127.0.0.1"
    """The address to listen on. Another one than loopback is refused while there is no administrator."""
    port: Port = 3001
    """The TCP port; 0 takes a free one."""
    compat_ports: tuple[Port, ...] = ()
    """More ports for the same routes, such as 8000 and 8001, which some of the API documents name."""
    allow_insecure_bind: bool = False
    """For labs: listen on another address all the same, and take whoever reaches it for a local user."""
    allowed_origins: tuple[str, ...] = ()
    """Origins of web pages besides the hub's own: `https://ui.example.org`, `http://localhost:*`, or `*` for any."""
    allowed_hosts: tuple[str, ...] = ()
    """Names in `Host` besides the hub's own: `hub.example.org` (on the listening port or without one), `name:8443`."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses or blocks of reverse proxies whose `X-Forwarded-For` counts, such as 127.0.0.1. What any proxy
    forwards is never taken for a local user."""

    connections: Count = 2_000
    """Open connections in all."""
    connections_per_address: Count = 256
    """Open connections of one peer address."""
    spare_connections: Count = 8
    """Connections beyond those bounds that are let in to ask for `/health` and its like; also the descriptors held back
    for when none is left."""
    spare_s: Seconds = 1.0
    """How long the head of a request may take on such a connection."""
    headers_s: Seconds = 10.0
    """How long the head of a request may take, from its first byte or, on a new connection, from the connection."""
    headers_kb: Count = 32
    """The head of a request, all lines together."""
    header_fields: Count = 100
    """Header fields of a request."""
    idle_s: Seconds = 75.0
    """How long a connection may wait between requests."""
    body_s: Seconds = 30.0
    """How long the body of a request may take."""
    body_kb: Count = 1_024
    """The body of a request."""
    upload_kb: Count = 10_240
    """The body of a request to a route that takes raw bytes."""
    json_depth: Count = 64
    """Objects and lists inside each other in a JSON body."""
    json_nodes: Count = 10_000
    """Values in a JSON body, objects and lists counted too."""

    request_s: Seconds = 60.0
    """How long a handler may take; streams of events may take for ever."""
    page_part_s: Seconds = 1.0
    """How long the page at `/` waits for each of its parts; one that takes longer says so, and the others are shown."""
    drain_s: Annotated[float, Meta(ge=0)] = 25.0
    """How long requests in flight may go on after the hub was told to stop."""

    streams: Count = 1_000
    """Open streams of events."""
    stream_messages: Count = 512
    """Events that wait for one slow client; beyond it the client is cut and told where to resume."""
    stream_kb: Count = 256
    """Bytes that wait for one slow client, with the same end; about as much again waits in the system's buffer."""
    stream_stall_s: Seconds = 60.0
    """How long a client may take nothing at all of a stream or of another answer; then its connection is cut."""
    stream_cut_s: Seconds = 5.0
    """How long a client that was cut for its slowness may take to read why; then its connection is cut, too."""
    ping_s: Seconds = 15.0
    """The interval of what keeps an idle stream open: comment lines, or pings that a socket's client has to answer."""

    sockets: Count = 1_000
    """Open WebSockets."""
    sockets_per_user: Count = 100
    """Open WebSockets of one caller."""
    socket_kb: Count = 64
    """A message of a client over a WebSocket."""
    socket_messages: Count = 32
    """Messages of a client that wait for their handler; beyond it the client has to wait."""
    socket_auth_s: Seconds = 5.0
    """How long a WebSocket may stay open without a token, where the hub wants one."""
    socket_close_s: Seconds = 5.0
    """How long a client may take to answer a close, and a handler to end by itself once its client is gone."""
