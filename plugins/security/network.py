"""Lists of hosts as the policy writes them: "host", "host:port", "*.example.org", an address or a CIDR block."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

import msgspec

_LABELS = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*\Z")


class Host(msgspec.Struct, frozen=True):
    """One parsed entry."""

    text: str
    name: str = ""
    port: int | None = None
    block: IPv4Network | IPv6Network | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the entry; raise `ValueError` saying what is wrong with the text."""
        wanted = text.strip().lower()
        if "/" in wanted:
            try:
                return cls(text, block=ip_network(wanted))
            except ValueError as error:
                raise ValueError(f"{text!r} is no CIDR block: {error}") from None
        name, port = split_port(wanted)
        if _address(name) is None and not _LABELS.match(name):
            raise ValueError(f'{text!r} is no host: expected "host", "host:port", "*.example.org" or a CIDR block')
        return cls(text, name, port)

    def fits(self, host: str) -> bool:
        """Tell whether `host`, a name or an address with or without a port, is meant; `ValueError` for a wrong port."""
        name, port = split_port(host.lower())
        name = name.rstrip(".")
        address = _address(name)
        if self.block is not None:
            return address is not None and address in self.block
        if self.port is not None and self.port != port:
            return False
        if self.name.startswith("*."):
            return name.endswith(self.name[1:]) and len(name) >= len(self.name)
        return name == self.name or (address is not None and address == _address(self.name))


def split_port(host: str) -> tuple[str, int | None]:
    """Return name and port of `host:port`, `[::1]:port`, or of a name or address alone."""
    if host.startswith("["):
        name, _, port = host[1:].partition("]")
        port = port.removeprefix(":")
    elif host.count(":") == 1:
        name, _, port = host.partition(":")
    else:
        return host, None
    if not port:
        return name, None
    if not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65536:
        raise ValueError(f"{host!r}: {port!r} is no port")
    return name, int(port)


def _address(name: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(name)
    except ValueError:
        return None
