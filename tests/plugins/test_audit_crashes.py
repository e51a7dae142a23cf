"""The audit after `kill -9`: every grant that was given is on record, and the chain goes on whole."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

from kernel.testing import running_kernel

PROGRAM = Path(__file__).parent / "programs" / "granted.py"
ROOT = Path(__file__).parents[2]


async def killed_after(home: Path, grants: int) -> set[str]:
    """Let the program run until so many grants were told, kill it, and return all that it told."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAM), str(home), stdout=asyncio.subprocess.PIPE, cwd=ROOT
    )
    assert process.stdout is not None
    told: set[str] = set()
    async with asyncio.timeout(60):
        while len(told) < grants:
            line = await process.stdout.readline()
            assert line, f"it ended with {await process.wait()}"
            told.add(line.decode().split()[1])
        process.kill()
        told |= {line.split()[1] for line in (await process.stdout.read()).decode().splitlines()}
        assert await process.wait() == -9
    return told


def verified(audit: ModuleType, home: Path) -> Any:
    keys = [audit.heads.public_key(home / "keys" / "audit.key")]
    folder = home / "audit"
    return audit.verification.Verification(home / "aetherra.db", folder, [folder / "heads.jsonl"], keys).run()


async def test_what_was_granted_is_on_record_after_a_kill_and_the_chain_is_whole(
    audit: ModuleType, tmp_path: Path
) -> None:
    for grants in (30, 300):
        before = grants_on_record(tmp_path)
        told = await killed_after(tmp_path, grants)
        on_record = grants_on_record(tmp_path)
        assert [number for number in told if on_record[number] != before[number] + 1] == []
        assert verified(audit, tmp_path).findings == []
    async with running_kernel(tmp_path, bundled=("security", "audit")):
        pass
    verdict = verified(audit, tmp_path)
    assert (verdict.findings, verdict.notes) == ([], [])


def grants_on_record(home: Path) -> Counter[str]:
    """How often the record has the grant of each number."""
    if not (home / "aetherra.db").exists():
        return Counter()
    with closing(sqlite3.connect(home / "aetherra.db")) as connection:
        rows = connection.execute("SELECT record FROM audit__records WHERE action = 'capability.granted'").fetchall()
    return Counter(json.loads(text)["capability"].removeprefix("plugin:manage:p") for (text,) in rows)
