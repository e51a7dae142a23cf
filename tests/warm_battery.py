"""The contract battery as `kernel.testing.check_plugin` has it, with its two halves in processes that start at once.

What becomes of a half that hangs or dies is a matter of the real one; tests of that use it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from warm_process import run

from kernel.battery.child import Order, Told
from kernel.battery.report import Finding, complete
from kernel.testing import Report

ENDED_BY = ("source", "import", "declaration")
"""The checks whose failure ends the battery after its first half."""


def check_plugin(path: Path, *, beside: Iterable[Path] = (), reserved: Mapping[str, str] | None = None) -> Report:
    """Check the plugin at `path` and return what was found about it."""
    with tempfile.TemporaryDirectory(prefix="aetherra-check-") as home:
        others = tuple(str(one) for one in beside)
        order = Order(str(path), home, f"{home}/answer.json", beside=others, reserved=dict(reserved or {}))
        found = half("kernel.battery.importing", order)
        if not any(finding.verdict == "failed" and finding.check in ENDED_BY for finding in found):
            found += half("kernel.battery.living", order)
    return complete(path.stem if path.suffix == ".py" else path.name, str(path), found)


def half(module: str, order: Order) -> list[Finding]:
    """Run one half to its end and return what it found."""
    ended = run(module=module, said=msgspec.json.encode(order), cwd=order.home, env=os.environ)
    told = msgspec.json.decode(Path(order.answer).read_bytes(), type=Told)
    assert told.whole, ended.stderr
    return list(told.findings)
