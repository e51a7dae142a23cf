"""The contract battery: what good means for a plugin, checked over any of them from outside.

It runs in processes of its own, so whatever a plugin does happens there and ends there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from kernel.battery.child import Order, ask
from kernel.battery.report import CHECKS, Finding, Report, Verdict, complete

__all__ = ["CHECKS", "Finding", "Report", "Verdict", "check_plugin"]

IMPORT_S = 20.0
LIFE_S = 60.0
"""How long the two halves may take, before they are ended and the check that they were at has failed."""


def check_plugin(
    path: Path | str, *, beside: Iterable[Path | str] = (), reserved: Mapping[str, str] | None = None
) -> Report:
    """Check the plugin at `path`, a file or a package, and return what was found about it.

    `beside` are other plugins that it needs, besides those that come with the hub. `reserved` are paths that no plugin
    may serve, with the words for who owns them: a hub's own, which `aether plugin check` knows.
    """
    path = Path(path).absolute()
    name = path.stem if path.suffix == ".py" else path.name
    with tempfile.TemporaryDirectory(prefix="aetherra-check-") as home:
        order = Order(
            path=str(path),
            home=home,
            answer=f"{home}/answer.json",
            beside=tuple(str(Path(one).absolute()) for one in beside),
            reserved=dict(reserved or {}),
        )
        found, whole = ask("kernel.battery.importing", order, timeout_s=IMPORT_S)
        if whole and not any(f.verdict == "failed" and f.check in ("source", "import", "declaration") for f in found):
            found += ask("kernel.battery.living", order, timeout_s=LIFE_S)[0]
    return complete(name, str(path), found)
