"""The folder of policy files: read whole, kept as the last good policy, looked at again whenever it changes."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal

from kernel import Caller, Chain, Clock, ConfigError

from .policy import REMEMBERED, Audited, NetworkSettings, Policy, fingerprint
from .rules import FILE_BYTES, MAIN, Mistake
from .words import Words

WORDS = "capabilities.toml"
LOOK_EVERY_MS = 1_000
"""How often the folder is looked at even when the system reports no change: network folders report none."""

Outcome = Literal["unchanged", "loaded", "failed"]


class Keeper:
    """The policy in force. A mistake in an edit leaves it as it is, and is kept in `mistake` until it is mended."""

    def __init__(self) -> None:
        self.policy = Policy.shut("no policy has been read yet", Words.none())
        self.mistake: Mistake | None = None
        self.loaded_at: float | None = None
        self.folder = Path()
        self._network = NetworkSettings()
        self._remembered = REMEMBERED
        self._audited = Audited()
        self._words = Words.none()
        self._busy = asyncio.Lock()
        self._seen: object = None

    async def open(
        self,
        folder: Path,
        bundled: Path,
        network: NetworkSettings,
        clock: Clock,
        remembered: int,
        audited: Audited | None = None,
    ) -> Outcome:
        """Read the words and the folder for the first time; a mistake there leaves rights to the console alone.

        Raises `ConfigError` when the table of words, which belongs to the hub, cannot be read.
        """
        self._audited = audited or self._audited
        self.folder, self._network, self._remembered = folder, network, remembered
        self._words = read_words(bundled)
        return await self.refresh(clock)

    async def refresh(self, clock: Clock, *, admin: Caller | None = None) -> Outcome:
        """Read the folder again and put it in force when all of it is right.

        With `admin`, a policy under which he could no longer change it is a mistake.
        """
        async with self._busy:
            self._seen = self._look()
            try:
                policy = await asyncio.to_thread(self._compile)
                _refuse_lock_out(policy, admin)
            except Mistake as mistake:
                return self._failed(mistake)
            if policy.hash == self.policy.hash and self.mistake is None:
                return "unchanged"
            self.policy, self.mistake, self.loaded_at = policy, None, clock.now()
            return "loaded"

    async def watch(self, clock: Clock, settle_ms: int, changed: Callable[[Outcome], Awaitable[None]]) -> None:
        """Refresh at every change of the folder, for ever, and tell `changed` what came of it."""
        from watchfiles import awatch  # costs 30 ms to import, and the hub listens first

        while True:
            if self.folder.is_dir():
                looks = awatch(
                    self.folder,
                    recursive=False,
                    debounce=settle_ms,
                    step=min(50, settle_ms),
                    rust_timeout=LOOK_EVERY_MS,
                    yield_on_timeout=True,
                )
                async for _ in looks:
                    await self._refresh_if_moved(clock, changed)
                    if not self.folder.is_dir():
                        break
            await self._refresh_if_moved(clock, changed)
            await clock.sleep(LOOK_EVERY_MS / 1000)

    async def _refresh_if_moved(self, clock: Clock, changed: Callable[[Outcome], Awaitable[None]]) -> None:
        if self._look() != self._seen:
            outcome = await self.refresh(clock)
            if outcome != "unchanged":
                await changed(outcome)

    def _compile(self) -> Policy:
        sources = read_folder(self.folder)
        if self.mistake is None and fingerprint(sources, self._network) == self.policy.hash:
            return self.policy
        return Policy.load(sources, self._words, self._network, remembered=self._remembered, audited=self._audited)

    def _failed(self, mistake: Mistake) -> Outcome:
        known = self.mistake is not None and str(self.mistake) == str(mistake)
        # Made anew: the one that was raised keeps the whole text alive through its traceback.
        self.mistake = Mistake(mistake.file, mistake.line, mistake.message)
        if self.policy.closed is not None:
            self.policy = Policy.shut(str(mistake), self._words)
        return "unchanged" if known else "failed"

    def _look(self) -> object:
        """Return what changes whenever the content, the mode or the number of the files does."""
        try:
            stats = [(path.name, path.stat()) for path in policy_files(self.folder)]
        except OSError as error:
            return str(error)
        return [(name, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for name, s in stats]


def read_words(bundled: Path) -> Words:
    """Return the table of words, which comes with the hub; raise `ConfigError` when it cannot be read."""
    try:
        return Words.read((bundled / WORDS).read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"{bundled / WORDS} cannot be used: {error}; it comes with the hub: install it anew"
        ) from None


def policy_files(folder: Path) -> list[Path]:
    """Return the files of a folder that count, by name: those named `*.toml`, but for hidden ones and the words."""
    found = sorted(folder.iterdir())
    return [path for path in found if path.suffix == ".toml" and path.name != WORDS and path.name[0] != "."]


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the content of the policy files of a folder by name; raise `Mistake` for one that cannot be taken."""
    try:
        return {path.name: _content(path) for path in policy_files(folder)}
    except OSError as error:
        name = Path(error.filename).name if error.filename else folder.name
        raise Mistake(name, None, f"cannot be read: {error.strerror or error}") from None


def _content(path: Path) -> bytes:
    with path.open("rb") as source:
        about = os.fstat(source.fileno())
        if not stat.S_ISREG(about.st_mode):
            raise Mistake(path.name, None, "is no regular file")
        if about.st_uid not in (os.geteuid(), 0):
            raise Mistake(path.name, None, f"belongs to another user (id {about.st_uid}); it must be the hub's own")
        # A group of one's own, as many systems give each user, is nobody else.
        foreign_group = about.st_mode & stat.S_IWGRP and about.st_gid != os.getegid()
        if foreign_group or about.st_mode & stat.S_IWOTH:
            raise Mistake(
                path.name, None, f"others may write it (mode {stat.S_IMODE(about.st_mode):o}); chmod 644 {path.name}"
            )
        return source.read(FILE_BYTES + 1)


def _refuse_lock_out(policy: Policy, admin: Caller | None) -> None:
    if admin is None:
        return
    decision = policy.decide(Chain(admin), "policy:write")
    if not decision.allowed:
        file, _, line = decision.source.partition(":")
        what = f"{admin.id} could not change the policy any more: {decision.reason}; force=true loads it all the same"
        raise Mistake(file or MAIN, int(line) if line else None, what)
