"""Not one byte leaves the machine: a hub with all that ships is used in a network whose only way out is watched.

That the watch sees what leaves is proved by a plugin that talks outward on purpose.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
PLUGINS = HERE.parent / "plugins"


@pytest.fixture(scope="module")
def namespace(need: Callable[[str], str]) -> list[str]:
    """What a command is put behind to have a network of its own; the test is skipped, by name, where there is none."""
    own = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = [need("unshare"), *own, "--net", "--mount"]
    cable = [need("ip"), "link", "add", "inside", "type", "veth", "peer", "name", "outside"]
    tried = subprocess.run([*command, *cable], capture_output=True, text=True, check=False)
    if tried.returncode:
        if os.environ.get("AETHERRA_TEST_REQUIRE") == "all":
            pytest.fail(f"a network of its own is missing, and here nothing may be: {tried.stderr}")
        pytest.skip(f"needs network namespaces: {tried.stderr.strip()}")
    return command


@pytest.fixture(scope="module")
def seen(namespace: list[str], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What `watched_network.py` tells."""
    home = tmp_path_factory.mktemp("watched") / "home"
    command = [*namespace, sys.executable, str(HERE / "watched_network.py"), str(home)]
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(HERE.parent)}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_hub_that_is_used_sends_nothing_outward(seen: Any) -> None:
    bundled = {path.name for path in PLUGINS.iterdir() if (path / "__init__.py").exists()}
    assert bundled | {"hello", "clock"} <= set(seen["plugins"])
    assert set(seen["plugins"].values()) == {"active"}
    assert seen["done"] > 25
    assert seen["quiet"] == []
    assert seen["stopping"] == []


def test_the_watch_sees_a_plugin_that_talks_outward(seen: Any) -> None:
    talked = set(seen["talked"])
    assert talked >= {"udp 203.0.113.5:9", "tcp 203.0.113.5:443", "udp [2001:db8:1::5]:9", "tcp [2001:db8:1::5]:443"}
    # To look a name up is to talk outward as well.
    assert "udp 198.51.100.1:53" in talked
