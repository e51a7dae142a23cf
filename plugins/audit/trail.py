"""The trail: takes records in, in order, and says when each is committed; its tasks write the file and sign heads.

The store's writer is the one writer: what waits for it together is committed together. The table is the truth; the file
follows it, and goes on where it ended after a crash or a reload.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from kernel import AetherraError, AuditRecord, Context, Overloaded, iso

from .chain import line
from .heads import Signed, Signer, add_to_file
from .journal import Journal
from .records import appending, head, plain_record
from .repeats import Repeats
from .settings import Settings

T = TypeVar("T")

RECORDS = "aetherra_audit_records_total"
FOLDED = "aetherra_audit_folded_total"
BATCH = 500
"""Lines that are written to the file at once."""
PRUNE_ROWS = 1_000
"""Rows that one transaction deletes at most."""
RETRY_S = 5.0
"""When a file of records that could not be written is tried again."""
HEADS_RETRY_S = 60.0
"""The same for the file of heads."""
HEADS_BROUGHT = 10_000
"""Heads that a new file of heads gets of those signed before."""


class Trail:
    """The audit of one hub, in the plugin's own tables and in HOME/audit."""

    def __init__(self) -> None:
        self.waiting = 0
        self.next_head_at: float | None = None
        """When the next head is due, in monotonic seconds; None while one is signed or old records leave."""
        self.in_threads = 0
        """Pieces of work with files that are under way."""
        self.repeats = Repeats(1, 1)
        self._problems: dict[str, str] = {}
        """What does not work, by what: the table, the file, the heads."""
        self._ctx: Context | None = None
        self._settings = Settings()
        self._wake = asyncio.Event()
        self._signer: Signer | None = None
        self._journal = Journal(Path(), 1)
        self._file_busy = asyncio.Lock()

    def open(self, ctx: Context) -> None:
        """Take records from here on."""
        self._ctx, self._settings = ctx, ctx.settings
        self.repeats = Repeats(self._settings.repeats_kept, self._settings.repeats_each)
        self._journal = Journal(self.folder, self._settings.segment)

    @property
    def ctx(self) -> Context:
        """The context in which the plugin acts for itself."""
        assert self._ctx is not None
        return self._ctx

    @property
    def folder(self) -> Path:
        """HOME/audit."""
        return folder_of(self.ctx.config.paths.home)

    @property
    def heads_file(self) -> Path:
        """Where signed heads are written to."""
        return heads_file(self.ctx.config.paths.home, self._settings)

    def problem(self) -> str | None:
        """Return what does not work at the moment, or None."""
        return "; ".join(self._problems.values()) or None

    @property
    def blocked(self) -> bool:
        """True while the last record could not be committed."""
        return "table" in self._problems

    # Taking in ---------------------------------------------------------------------------------------------------

    def keep(self, record: AuditRecord) -> asyncio.Future[Any]:
        """Take the record in; what is returned is done once it is committed, or only counted for a repeated refusal.

        Raises `Overloaded` where too many wait, and what the store raises.
        """
        refusal = record.outcome == "denied"
        if refusal and self.repeats.seen(record):
            self.ctx.metric(FOLDED).inc()
            return _done()
        if self.waiting >= self._settings.queue:
            if refusal:
                self.repeats.fold(record)
                self.ctx.metric(FOLDED).inc()
                return _done()
            raise Overloaded(
                f"{self.waiting} records wait for the audit, which is [plugins.audit] queue; try again in a second"
            )
        return self.add(record)

    def add(self, record: AuditRecord) -> asyncio.Future[Any]:
        """Queue the record for its commit, whatever came before."""
        kept = plain_record(record, self._settings.record_kb * 1024)
        done = self.ctx.store.submit(appending(kept))
        self.waiting += 1
        done.add_done_callback(partial(self._written, record))
        return done

    def tell(self, action: str, **details: Any) -> asyncio.Future[Any]:
        """Put on record what the hub itself did."""
        ctx = self.ctx
        return self.add(AuditRecord(ctx.clock.now(), action, "ok", str(ctx.chain), details=details, plugin=ctx.plugin))

    def _written(self, record: AuditRecord, done: asyncio.Future[Any]) -> None:
        self.waiting -= 1
        error = None if done.cancelled() else done.exception()
        if error is None:
            self._problems.pop("table", None)
            self.ctx.metric(RECORDS).labels(record.outcome).inc()
            self._wake.set()
        else:
            self._problems["table"] = f"the audit cannot be written: {error}"

    def head(self) -> tuple[int, str]:
        """Return number and hash of the last record that is committed."""
        return head(self.ctx.store)

    # The tasks ---------------------------------------------------------------------------------------------------

    async def follow(self) -> None:
        """Write to the file what was committed, for ever."""
        while True:
            self._wake.clear()
            if await self._tried("file", self.catch_up):
                await self._wake.wait()
            else:
                await self.ctx.clock.sleep(RETRY_S)

    async def catch_up(self) -> None:
        """Write to the file what the table has beyond it."""
        async with self._file_busy:
            if not self._journal.last:
                await self._in_thread(self._journal.open)
            if self._journal.mended:
                self.ctx.log.warning("audit: %s", self._journal.mended)
                self._journal.mended = ""
            last, _ = self.head()
            if last < self._journal.last:
                raise OSError(
                    0,
                    f"{self.folder} has record {self._journal.last} and the table ends at {last}; "
                    "see `aether audit verify`",
                )
            while rows := await self.ctx.store.query(
                "SELECT seq, record, hash FROM audit__records WHERE seq > ? ORDER BY seq LIMIT ?",
                (self._journal.last, BATCH),
                limit=BATCH,
            ):
                lines = [(row["seq"], line(row["record"], row["hash"])) for row in rows]
                await self._in_thread(partial(self._journal.write, lines))

    async def sign_heads(self) -> None:
        """Sign the head every now and then, and let whole segments of old records go, for ever."""
        await self._tried("chain", self._compare_head)
        signed = await self._tried("heads", self._write_heads)
        while True:
            every_s, clock = self._settings.head_every_s, self.ctx.clock
            wait_s = every_s if signed else min(every_s, HEADS_RETRY_S)
            self.next_head_at = clock.monotonic() + wait_s
            await clock.sleep(wait_s)
            self.next_head_at = None
            signed = await self._tried("heads", self.sign_head)
            await self._tried("pruning", self.prune)

    async def end_windows(self) -> None:
        """Tell at the end of each window which refusals came again, for ever."""
        while True:
            await self.ctx.clock.sleep(self._settings.repeats_s)
            self.end_window()

    def end_window(self) -> None:
        """Put on record which refusals came again since the last time."""
        for record in self.repeats.end(self.ctx.clock.now()):
            with contextlib.suppress(AetherraError):  # told by `problem`
                self.add(record)

    async def _tried(self, what: str, work: Callable[[], Any]) -> bool:
        try:
            await work()
        except (OSError, ValueError, AetherraError) as error:
            problem = f"the {what} of the audit: {_told(error)}"
            if self._problems.get(what) != problem:
                self.ctx.log.error("%s", problem)
            self._problems[what] = problem
            return False
        self._problems.pop(what, None)
        return True

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Run it to its end even when we are cancelled: two writers at once would tear the file."""
        running = asyncio.ensure_future(asyncio.to_thread(work))
        self.in_threads += 1
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            raise
        finally:
            self.in_threads -= 1

    # Heads and cuts ----------------------------------------------------------------------------------------------

    async def signer(self) -> Signer:
        """Return what signs, its key made at the first use and told on record."""
        if self._signer is None:
            self._signer = await self._in_thread(partial(Signer, key_file(self.ctx.config.paths.home)))
            if self._signer.made:
                await self.tell("audit.key_made", key=self._signer.public)
        return self._signer

    async def sign_head(self) -> None:
        """Sign the last record, once the file has it: in the file of heads first, then in the table."""
        signer = await self.signer()
        seq, digest = self.head()
        newest = self.ctx.store.one("SELECT max(seq) AS seq FROM audit__heads")
        if newest is not None and newest["seq"] is not None and newest["seq"] >= seq:
            await self._write_heads()
            return
        await self.catch_up()
        async with self._file_busy:
            await self._in_thread(self._journal.sync)
        signed = signer.sign("head", seq, digest, iso(self.ctx.clock.now()))
        await self._write_heads(signed)
        await self.ctx.store.write(partial(_insert, "INSERT INTO audit__heads VALUES (?, ?, ?, ?, ?)", signed))

    async def _compare_head(self) -> None:
        """Raise where the newest signed head is not what the table has; `aether audit verify` proves the whole."""
        signed = self.ctx.store.one("SELECT seq, hash FROM audit__heads ORDER BY seq DESC LIMIT 1")
        if signed is not None:
            row = self.ctx.store.one("SELECT hash FROM audit__records WHERE seq = ?", (signed["seq"],))
            if row is None or row["hash"] != signed["hash"]:
                raise ValueError(f"record {signed['seq']} is not the one that was signed; see `aether audit verify`")

    async def _write_heads(self, *new: Signed) -> None:
        """Write to the file of heads the new one, after those it lacks: it may be another file than before."""
        statement = "SELECT * FROM audit__heads ORDER BY seq DESC LIMIT ?"
        rows = await self.ctx.store.query(statement, (HEADS_BROUGHT,), limit=HEADS_BROUGHT)
        heads = [*(Signed(**dict(row)) for row in reversed(rows)), *new]
        if heads:
            await self._in_thread(partial(add_to_file, self.heads_file, heads))

    async def prune(self) -> int:
        """Let whole segments go that are older than `records_kept`, below a signed cut; return how many records."""
        segment, gone = self._settings.segment, 0
        while True:
            last, _ = self.head()
            row = self.ctx.store.one("SELECT max(seq) AS seq FROM audit__cuts")
            cut = row["seq"] if row is not None and row["seq"] is not None else 0
            if last - cut < self._settings.records_kept + segment:
                return gone + await self._delete_below(cut)
            await self._cut(cut + segment)

    async def _cut(self, seq: int) -> None:
        signer = await self.signer()
        row = self.ctx.store.one("SELECT hash FROM audit__records WHERE seq = ?", (seq,))
        assert row is not None
        signed = signer.sign("cut", seq, row["hash"], iso(self.ctx.clock.now()))
        await self.ctx.store.write(partial(_insert, "INSERT INTO audit__cuts VALUES (?, ?, ?, ?, ?)", signed))
        await self.tell("audit.cut", through=seq, hash=signed.hash)

    async def _delete_below(self, cut: int) -> int:
        gone = 0
        if cut:
            while count := await self.ctx.store.write(partial(_delete, cut)):
                gone += count
            await self._in_thread(partial(self._journal.drop_through, cut))
        return gone

    # The end -----------------------------------------------------------------------------------------------------

    async def close(self, last_words: str | None) -> None:
        """Tell what was only counted; where nobody goes on, end with `last_words`, the whole file and a signed head."""
        self.end_window()
        if last_words is None:
            return
        await self.tell(last_words, previous=await self.ctx.store.write(_hash))
        if await self._tried("file", self.catch_up):
            await self._tried("heads", self.sign_head)


def folder_of(home: Path) -> Path:
    """Return the folder of the audit's files."""
    return home / "audit"


def key_file(home: Path) -> Path:
    """Return the file of the private key that signs heads."""
    return home / "keys" / "audit.key"


def heads_file(home: Path, settings: Settings) -> Path:
    """Return the file of signed heads."""
    return Path(settings.heads).expanduser().absolute() if settings.heads else folder_of(home) / "heads.jsonl"


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _done() -> asyncio.Future[Any]:
    done = asyncio.get_running_loop().create_future()
    done.set_result(None)
    return done


def _hash(tx: Any) -> str:
    return head(tx)[1]


def _insert(statement: str, signed: Signed, tx: Any) -> None:
    tx.execute(statement, signed.values())


def _delete(cut: int, tx: Any) -> int:
    tx.execute("DELETE FROM audit__heads WHERE seq <= ?", (cut,))
    tx.execute("DELETE FROM audit__cuts WHERE seq < ?", (cut,))
    first = tx.one("SELECT seq FROM audit__records ORDER BY seq LIMIT 1")
    through = min(cut, first["seq"] + PRUNE_ROWS - 1)
    return int(tx.execute("DELETE FROM audit__records WHERE seq <= ?", (through,)).rowcount)
