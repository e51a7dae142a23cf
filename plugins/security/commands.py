"""The verbs `aether policy explain`, `check`, `diff` and `test`: with the hub's policy in force, or without any hub."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

import msgspec

from kernel import BadInput, Plugin, ServiceUnavailable, Terminal

from . import expectations, rendering
from .comparison import compare
from .explanation import KNOWN_ROLES, Explanation, Question
from .explanation import explain as explained
from .policy import Policy
from .rules import Mistake
from .sources import InForceFiles, folder_of, mistakes_at, network_of, policy_at, sources_of, words_of

NOT_RUNNING = "HUB_NOT_RUNNING"
Path_ = Annotated[str | None, msgspec.Meta(extra={"argument": True})]
"""A path that may be left out."""
FOR_NOBODY = "without a hub the roles of an account are not known; --with role=.. supposes some"


def add(p: Plugin) -> None:
    """Collect the verbs on `p`."""
    p.command("policy explain")(explain)
    p.command("policy check")(check)
    p.command("policy diff")(diff)
    p.command("policy test")(test)


async def explain(
    terminal: Terminal,
    principal: str,
    capability: str,
    through: list[str] = [],  # noqa: B006 - a default that is copied for each call
    with_: list[str] = [],  # noqa: B006
    offline: bool = False,
) -> int | None:
    """Say why PRINCIPAL may or may not do CAPABILITY, and the smallest change that would turn a no into a yes.

    --through names the scripts, agents and plugins between, in order. --with supposes: grant=PRINCIPAL=RIGHT,
    grant=RIGHT for PRINCIPAL itself, deny=.., override=.., role=ROLE, scope=RIGHT. The hub is asked; without one, or
    with --offline, the policy folder is read here. The exit status is 0 for yes, 1 for no.
    """
    judged_by = "the hub that runs"
    found = None if offline else await _asked(terminal, principal, capability, through, with_)
    if found is None:
        folder = folder_of(terminal.config)
        judged_by = f"the files in {folder}; {'no hub was asked' if offline else 'no hub runs'}"
        question = Question.of(principal, capability, through, with_, KNOWN_ROLES.get(principal, ()))
        unknown = principal.startswith("user:") and principal not in KNOWN_ROLES
        policy = await asyncio.to_thread(_policy, folder, terminal)
        found = explained(policy, question, [FOR_NOBODY] if unknown else [])
    if terminal.json:
        terminal.print({**msgspec.to_builtins(found), "judged_by": judged_by})
    else:
        for line in (*rendering.explanation(found), f"judged by {judged_by}"):
            terminal.print(line)
    return 0 if found.allowed else 1


async def _asked(
    terminal: Terminal, principal: str, capability: str, through: list[str], supposed: list[str]
) -> Explanation | None:
    """Return the answer of the hub, None when none runs."""
    query = [("principal", principal), ("capability", capability)]
    query += [("through", name) for name in through] + [("with", entry) for entry in supposed]
    try:
        answer = await terminal.request("GET", f"/api/security/explain?{urlencode(query)}")
    except ServiceUnavailable as error:
        if error.code != NOT_RUNNING:
            raise
        return None
    return msgspec.convert(answer, Explanation)


async def check(terminal: Terminal, path: Path_ = None) -> int | None:
    """Compile the policy files in PATH as the hub would; the exit status is 1 when it would not take them.

    PATH is a folder, or a file that is taken as the main one; without it, it is the folder that the hub reads.
    """
    at = Path(path) if path else folder_of(terminal.config)
    found = await asyncio.to_thread(mistakes_at, at, terminal.config)
    if terminal.json:
        mistakes = [{"file": m.file, "line": m.line, "message": m.message} for m in found]
        terminal.print({"path": str(at), "ok": not found, "mistakes": mistakes})
    elif found:
        for mistake in found:
            terminal.print(str(mistake))
    else:
        policy = await asyncio.to_thread(policy_at, at, terminal.config)
        terminal.print(f"{at}: ok, {len(policy.rules)} rules from {', '.join(policy.files)}")
    return 1 if found else None


async def diff(terminal: Terminal, a: Path_ = None, b: Path_ = None) -> int | None:
    """Show what changes from policy A to policy B: rules, lists, limits, trust, and which decisions turn.

    Both are folders or files. With A alone, what is in force is compared with it; without both, with the folder that
    the hub reads. Without a hub, that folder is taken as in force, or what ships in its place. The exit status is 1
    when something differs.
    """
    config = terminal.config
    ours = folder_of(config)
    after_at = Path(b or a or ours)
    if a and b:
        before, called = await asyncio.to_thread(_policy, Path(a), terminal), a
    else:
        before, called = await _in_force(terminal, ours if a else config.paths.bundled_policies)
    after = await asyncio.to_thread(_policy, after_at, terminal)
    found = await asyncio.to_thread(compare, before, after)
    if terminal.json:
        terminal.print({"from": called, "to": str(after_at), "same": found.same, **msgspec.to_builtins(found)})
    else:
        terminal.print(f"from {called} to {after_at}:")
        for line in rendering.comparison(found):
            terminal.print(line)
        if found.same:
            terminal.print("  nothing differs")
    return None if found.same else 1


async def _in_force(terminal: Terminal, instead: Path) -> tuple[Policy, str]:
    """Return the policy in force and what to call it; without a hub that of the folder `instead`."""
    try:
        answer = await terminal.request("GET", "/api/security/files")
    except ServiceUnavailable as error:
        if error.code != NOT_RUNNING:
            raise
        return await asyncio.to_thread(_policy, instead, terminal), f"{instead} (no hub runs)"
    in_force = msgspec.convert(answer, InForceFiles)
    return in_force.policy(words_of(terminal.config)), "the policy in force"


async def test(terminal: Terminal, file: str) -> int | None:
    """Ask the policy what the expectations in FILE ask, and print each answer that is another; then the status is 1.

    FILE has tables [[expect]] with principal, capability, allowed, and as needed through, roles, scopes, reason,
    source. It may name the files of the policy itself (policy = [..]); otherwise it is the folder that the hub reads.
    """
    path = Path(file)
    try:
        expected, lines = await asyncio.to_thread(expectations.read, path)
        about = ", ".join(expected.policy) or str(folder_of(terminal.config))
        policy = await asyncio.to_thread(_policy_under_test, path, expected, terminal)
        outcome = await asyncio.to_thread(expectations.outcome_of, policy, expected, lines)
    except Mistake as mistake:
        raise BadInput(str(mistake), code="POLICY_REFUSED") from None
    if terminal.json:
        terminal.print({"file": file, "policy": about, **msgspec.to_builtins(outcome)})
    else:
        for failure in outcome.failures:
            terminal.print(f"{file}{f':{failure.line}' if failure.line else ''}: {failure.expected}")
            for line in rendering.explanation(failure.explanation):
                terminal.print(f"  {line}")
        terminal.print(f"{outcome.asked - len(outcome.failures)} of {outcome.asked} as expected, by {about}")
    return 1 if outcome.failures else None


def _policy_under_test(file: Path, expected: expectations.Expectations, terminal: Terminal) -> Policy:
    if not expected.policy:
        return policy_at(folder_of(terminal.config), terminal.config)
    sources = sources_of([file.parent / name for name in expected.policy])
    return Policy.load(sources, words_of(terminal.config), network_of(terminal.config))


def _policy(path: Path, terminal: Terminal) -> Policy:
    try:
        return policy_at(path, terminal.config)
    except Mistake as mistake:
        raise BadInput(f"{path}: {mistake}; aether policy check tells more", code="POLICY_REFUSED") from None
