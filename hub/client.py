"""Where a request came from: the address of its client, and whether that is this machine.

A reverse proxy speaks for its clients. What it says of their addresses counts where the operator has named it; and what
was forwarded, by whichever proxy, is never taken for this machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web
from multidict import istr

from hub.limits import Connection
from hub.settings import HubSettings
from kernel import ConfigError

FORWARDED_FOR = istr("X-Forwarded-For")
FORWARDED = istr("Forwarded")
REAL_IP = istr("X-Real-IP")
VIA = istr("Via")
"""Headers that only a proxy sends, with those above."""

HOPS = 16
"""Proxies in a row that are looked at."""


class Clients:
    """Tells the client of a request, by the proxies that the settings name."""

    def __init__(self, settings: HubSettings) -> None:
        self._proxies = [_network(entry) for entry in settings.trusted_proxies]

    def address(self, request: web.Request) -> tuple[str, bool]:
        """Return the client's address, empty for the console, and whether the client is on this machine."""
        connection = request.protocol
        assert isinstance(connection, Connection)
        peer = connection.address
        headers = request.headers
        # Written out, since every request comes by here.
        if not (FORWARDED_FOR in headers or FORWARDED in headers or REAL_IP in headers or VIA in headers):
            return peer, connection.loopback
        return self._forwarded(peer, request.headers.getall(FORWARDED_FOR, ())), False

    def _forwarded(self, peer: str, lines: Sequence[str]) -> str:
        """Return the last address that no named proxy has: what stands before it, its client may have made up."""
        told = [part.strip() for line in lines for part in line.split(",")][-HOPS:]
        address = peer
        while told and self._is_proxy(address):
            parsed = _address(told.pop())
            if parsed is None:
                return address
            address = str(parsed)
        return address

    def _is_proxy(self, address: str) -> bool:
        parsed = _address(address)
        return parsed is not None and any(parsed in network for network in self._proxies)


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(entry)
    except ValueError as error:
        raise ConfigError(
            f"hub.trusted_proxies: {entry!r} is no address or block such as 127.0.0.1 or 10.0.0.0/8: {error}"
        ) from None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text.removeprefix("[").partition("]")[0])
    except ValueError:
        return None
    mapped = getattr(parsed, "ipv4_mapped", None)
    return mapped if isinstance(mapped, IPv4Address) else parsed
