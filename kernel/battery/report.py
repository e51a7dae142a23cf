"""What the battery found: a verdict for each check, with words that say what was expected, what came, and where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

Verdict = Literal["passed", "warned", "failed", "skipped"]
"""`warned` is told and does not fail a plugin; `skipped` says what had to hold first."""

CHECKS: Mapping[str, str] = {
    "source": "its files can be read as one plugin",
    "imports": "it imports the kernel's public names, libraries and itself, and nothing else of the house",
    "logger": "it logs through ctx.log, whose name stays the same at every reload",
    "awaits": "what it asks of the hub is awaited",
    "import": "importing it does nothing: no file, socket, thread, task, process, output or setting of the process",
    "declaration": "it can be imported, and what it declares can hold",
    "descriptions": "every door says in a docstring what its caller gets",
    "effects": "every function says what it does to the world",
    "claims": "it claims nothing that belongs to another",
    "rights": "the rights it uses and demands exist, and what it uses it may",
    "migrations": "its tables are its own, and its migrations change nothing when they are applied again",
    "load": "it loads in a hub of its own, under the policy that ships and the rights it declares",
    "health": "its health answers in time",
    "background": "its tasks keep running, and its handlers take the events that come",
    "arguments": "bad arguments are refused with a code and never break a handler",
    "reads": "what declares itself free or read changes nothing",
    "state": "what it exports at a reload is plain data that the next version, and an older one's, goes on with",
    "reload": "it reloads twice, and nothing of the old version stays",
    "unload": "it unloads, leaving no task, subscription, module or thread",
}
"""Every check by name, in the order in which they are made, with what holds where it passes."""


class Finding(msgspec.Struct, frozen=True):
    """One thing to mend, or to know: what was expected and what was found, in `where` (a file and line, or a door)."""

    check: str
    verdict: Verdict
    message: str
    where: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.message}" if self.where else self.message


class Report(msgspec.Struct, frozen=True):
    """The findings about one plugin, each check among them at least once."""

    plugin: str
    path: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """True when no check failed; warnings are allowed."""
        return not self.failures

    @property
    def failures(self) -> Sequence[Finding]:
        """What has to be mended."""
        return [finding for finding in self.findings if finding.verdict == "failed"]

    @property
    def warnings(self) -> Sequence[Finding]:
        """What should be known."""
        return [finding for finding in self.findings if finding.verdict == "warned"]

    def verdict(self, check: str) -> Verdict:
        """Return how one check ended: the worst of what it found."""
        verdicts = {finding.verdict for finding in self.findings if finding.check == check}
        return next(v for v in ("failed", "skipped", "warned", "passed") if v in verdicts)

    def __str__(self) -> str:
        told = [f"{f.check} {f.verdict}: {f}" for f in self.findings if f.verdict in ("failed", "warned")]
        return "\n".join([f"{self.plugin} ({self.path}): {'passed' if self.passed else 'failed'}", *told])


class Findings:
    """Collects what checks find, until they are told to the process that asked."""

    def __init__(self) -> None:
        self.found: list[Finding] = []

    def fail(self, check: str, message: str, where: str = "") -> None:
        """Note something that must be mended."""
        self._add(Finding(check, "failed", message, where))

    def warn(self, check: str, message: str, where: str = "") -> None:
        """Note something that should be known."""
        self._add(Finding(check, "warned", message, where))

    def skip(self, check: str, why: str) -> None:
        """Note that a check could not be made."""
        self._add(Finding(check, "skipped", why))

    def done(self, *checks: str) -> None:
        """Note that these checks were made to their end; one without a finding has passed."""
        told = {finding.check for finding in self.found}
        self.found += [Finding(check, "passed", CHECKS[check]) for check in checks if check not in told]

    def failed(self, *checks: str) -> bool:
        """Tell whether one of these checks failed."""
        return any(f.check in checks and f.verdict == "failed" for f in self.found)

    def _add(self, finding: Finding) -> None:
        if finding not in self.found:
            self.found.append(finding)


def complete(plugin: str, path: str, found: Sequence[Finding]) -> Report:
    """Return the report, in the order of the checks; what was not reached is skipped, after the first that failed."""
    told = {finding.check for finding in found}
    first = next((check for check in CHECKS if any(f.check == check and f.verdict == "failed" for f in found)), None)
    missing = [Finding(c, "skipped", f"not reached: first mend `{first}`") for c in CHECKS if c not in told]
    order = list(CHECKS)
    return Report(plugin, path, tuple(sorted([*found, *missing], key=lambda f: order.index(f.check))))
