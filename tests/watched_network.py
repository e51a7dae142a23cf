"""A hub in a network of its own, from which every packet that would leave the machine is seen.

A program, run as root of a network and a mount namespace of its own: `python watched_network.py HOME`. All ways outward
lead into a cable whose other end is watched, and names are asked of a server behind it; only loopback answers.
It starts a hub, uses it, then drops a plugin into it that talks outward on purpose, and prints as JSON what was seen.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import aiohttp
from asking import PASSWORD
from hub_client import HubClient, hub_client
from warm_process import run

CABLE = """
link set lo up
link add inside type veth peer name outside
addr add 198.51.100.2/24 dev inside
-6 addr add 2001:db8::2/64 dev inside nodad
link set inside up
link set outside up
neigh add 198.51.100.1 lladdr 02:00:00:00:00:01 dev inside
neigh add 2001:db8::1 lladdr 02:00:00:00:00:01 dev inside
route add default via 198.51.100.1 dev inside
-6 route add default via 2001:db8::1 dev inside
"""
"""Commands of `ip`. The router's hardware address is known, so that a packet is sent without a question before it."""

NAME_SERVER = "nameserver 198.51.100.1\noptions timeout:1 attempts:1\n"

ALL_PROTOCOLS, IPV4, IPV6 = 0x0003, 0x0800, 0x86DD
PROTOCOLS = {6: "tcp", 17: "udp"}
OF_THE_SYSTEM = (0, 58)
"""Next headers of IPv6 with which the system itself looks for neighbours and groups."""

TALKATIVE = """
import asyncio, socket
from contextlib import suppress
from kernel import Plugin

talkative = Plugin("talkative", version="1.0.0")

def talk() -> None:
    for family, address in ((socket.AF_INET, "203.0.113.5"), (socket.AF_INET6, "2001:db8:1::5")):
        with socket.socket(family, socket.SOCK_DGRAM) as one:
            one.sendto(b"hello", (address, 9))
        with socket.socket(family) as one:
            one.setblocking(False)
            one.connect_ex((address, 443))
    with suppress(OSError):
        socket.getaddrinfo("outward.example", 443)

@talkative.post("/api/talkative")
async def call() -> str:
    await asyncio.to_thread(talk)
    return "called"
"""


class Watch:
    """The other end of the cable: what arrives there, each packet as `tcp 203.0.113.5:443`."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ALL_PROTOCOLS))
        self._socket.bind(("outside", ALL_PROTOCOLS))
        self._socket.setblocking(False)

    def seen(self) -> list[str]:
        """Return what has arrived since the last look."""
        found = []
        while True:
            try:
                packet, (_, protocol, kind, *_) = self._socket.recvfrom(65_536)
            except BlockingIOError:
                return found
            told = None if kind == socket.PACKET_OUTGOING else destination(protocol, packet)
            if told is not None:
                found.append(told)


def destination(protocol: int, packet: bytes) -> str | None:
    """Return where a packet goes; None for what the system itself says on a cable that speaks IPv6."""
    if protocol == IPV4:
        number, address, at = packet[9], str(IPv4Address(packet[16:20])), (packet[0] & 0xF) * 4
    elif protocol == IPV6:
        number, address, at = packet[6], f"[{IPv6Address(packet[24:40])}]", 40
        if number in OF_THE_SYSTEM:
            return None
    else:
        return f"protocol {protocol:#06x}"
    name = PROTOCOLS.get(number)
    if name is None:
        return f"ip {number} {address}"
    return f"{name} {address}:{int.from_bytes(packet[at + 2 : at + 4], 'big')}"


def lay_cable(names: Path) -> None:
    """Give this namespace its cable, and the name server that `names` is to tell of."""
    for line in CABLE.strip().splitlines():
        subprocess.run(["ip", *line.split()], check=True)
    names.write_text(NAME_SERVER)
    subprocess.run(["mount", "--bind", str(names), str(Path("/etc/resolv.conf").resolve())], check=True)


async def use(client: HubClient) -> int:
    """Use the hub as its people do; return how many things were done."""
    hub, done = client.hub, 0

    async def read(path: str, *, console: bool = True) -> str:
        nonlocal done
        session, base = (client.console, "http://localhost") if console else (client.local, hub.url)
        async with session.get(base + path) as response:
            assert response.status == 200, (path, await response.text())
            done += 1
            return await response.text()

    async def say(path: str, body: Any, status: int = 200) -> Any:
        nonlocal done
        done += 1
        return await client.ask("POST", path, body, status, console=True)

    for path in ("/", "/docs", "/redoc", "/openapi.json", "/metrics", "/health/ready"):
        await read(path, console=False)
    for path in ("/api/plugins", "/api/system/limits", "/api/policy/disclosure", "/api/security/policy"):
        await read(path)
    await say("/api/memory", {"content": "tea at five"}, 201)
    await say("/api/memory/recall", {"query": "tea"})
    await say("/api/events", {"topic": "user.note", "data": 1}, 201)
    await say("/api/users", {"name": "ada", "password": PASSWORD, "roles": ["user"]}, 201)
    login = aiohttp.FormData({"username": "ada", "password": PASSWORD})
    async with client.local.post(hub.url + "/api/auth/login", data=login) as response:
        assert response.status == 200, await response.text()
    for plugin in json.loads(await read("/api/plugins"))["plugins"]:
        if plugin["name"] in ("memory", "scripts", "hub_api", "hello"):
            await say(f"/api/klm/modules/{plugin['name']}/reload", None)
    await say("/api/security/reload", {})
    return done + 1 + await asyncio.to_thread(type_verbs, hub.home)


def type_verbs(home: Path) -> int:
    """Type verbs of `aether`; return how many."""
    examples = sorted(Path(__file__).parents[1].joinpath("examples").glob("*.aether"))
    verbs = [["run", str(examples[0])], ["run", "system/logger.aether"], ["check", *map(str, examples)]]
    verbs += [["plugins"], ["jobs"], ["reload", "memory"], ["users", "list"], ["events", "emit", "user.note", "1"]]
    verbs += [["doctor"], ["config"], ["version"]]
    for verb in verbs:
        ended = run("--home", str(home), *verb, env={"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"})
        assert ended.returncode == 0, (verb, ended.stdout, ended.stderr)
    return len(verbs)


async def watched(home: Path) -> dict[str, Any]:
    """Run a hub, use it, have a plugin talk, and return what was seen of each."""
    watch = Watch()
    async with hub_client(home, "--demo") as client:
        plugins = (await client.ask("GET", "/api/plugins", console=True))["plugins"]
        done = await use(client)
        quiet = watch.seen()
        (client.hub.plugins / "talkative.py").write_text(TALKATIVE)
        status = 0
        async with asyncio.timeout(20):
            while status != 200:
                async with client.console.post("http://localhost/api/talkative") as response:
                    status = response.status
        talked = watch.seen()
    stopping = watch.seen()
    names = {plugin["name"]: plugin["status"] for plugin in plugins}
    return {"plugins": names, "done": done, "quiet": quiet, "talked": talked, "stopping": stopping}


if __name__ == "__main__":
    home = Path(sys.argv[1])
    lay_cable(home.parent / "resolv.conf")
    print(json.dumps(asyncio.run(watched(home))))
