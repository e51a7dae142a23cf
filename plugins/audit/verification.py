"""Whether the audit is as it was written: the table, the file beside it, and the signed heads; without a hub.

Everything is read, nothing is changed, and memory does not grow with the records.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from .chain import ZERO, canonical, line, linked
from .heads import Signed, holds, read
from .journal import lines_of
from .records import columns

MOST = 100
"""Findings after which one reads no further."""
HEADS_BYTES = 64 * 1024 * 1024


class Finding(msgspec.Struct, frozen=True):
    """What is wrong, where, and from which record on (None where it concerns no one record)."""

    where: str
    seq: int | None
    text: str


class Verdict(msgspec.Struct):
    """What came of a verification: the records that were looked at, what is wrong, and what is only worth knowing."""

    first: int = 0
    last: int = 0
    hash: str = ZERO
    heads: int = 0
    """Signed heads that were compared."""
    findings: list[Finding] = []
    notes: list[str] = []

    @property
    def ok(self) -> bool:
        """True when nothing is wrong."""
        return not self.findings

    def wrong(self, where: str, seq: int | None, text: str) -> None:
        """Add a finding."""
        if len(self.findings) < MOST:
            self.findings.append(Finding(where, seq, text))


class Verification:
    """Verifies the table in `database`, the segments in `folder`, and the heads in `heads` against the keys."""

    def __init__(self, database: Path, folder: Path, heads: Sequence[Path], keys: Collection[str]) -> None:
        self._database = database
        self._folder = folder
        self._heads = heads
        self._keys = keys
        self.verdict = Verdict()
        self._wanted: dict[int, list[tuple[str, str]]] = {}
        """By record: the hashes that heads say it has, with where each says so."""
        self._signed_last = 0
        self._cut = 0

    def run(self) -> Verdict:
        """Look at everything; raise `sqlite3.Error` or `OSError` for what cannot be read."""
        with closing(sqlite3.connect(f"{self._database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")  # one state of it all, while a hub goes on writing
            self._read_heads(connection)
            cut = self._start(connection)
            self._follow(connection, cut)
        for seq, wanted in sorted(self._wanted.items()):
            for where, _ in wanted:
                what = f"a signed head names record {seq}, and the table ends at {self.verdict.last}"
                self.verdict.wrong(where, min(seq, self.verdict.last + 1), what)
        return self.verdict

    # Heads -------------------------------------------------------------------------------------------------------

    def _read_heads(self, connection: sqlite3.Connection) -> None:
        kept = []
        for row in connection.execute("SELECT * FROM audit__heads ORDER BY seq"):
            head = self._signed(row, "the table of heads")
            if head is not None:
                kept.append(head)
                self._take_head(head, "the table of heads")
        for file in self._heads:
            self._read_heads_file(file, kept)

    def _signed(self, row: sqlite3.Row, where: str) -> Signed | None:
        try:
            return msgspec.convert(dict(row), Signed)
        except msgspec.ValidationError as error:
            self.verdict.wrong(where, row["seq"], f"what stands for record {row['seq']} cannot be read: {error}")
            return None

    def _read_heads_file(self, file: Path, kept: Sequence[Signed]) -> None:
        if not file.exists():
            if kept:
                self.verdict.wrong(str(file), kept[0].seq, f"the file is not there, and {len(kept)} heads were signed")
            return
        content = file.read_bytes()[:HEADS_BYTES]
        there: set[Signed] = set()
        kept_ones = set(kept)
        before = 0
        for number, head in read(content):
            where = f"{file.name}:{number}"
            if head is None:
                self.verdict.wrong(where, None, "the line is no signed head")
                continue
            if head.seq <= before:
                self.verdict.wrong(where, head.seq, f"the head of record {head.seq} comes after that of {before}")
            before = head.seq
            there.add(head)
            self._take_head(head, where)
            if kept and kept[0].seq < head.seq < kept[-1].seq and head not in kept_ones:
                self.verdict.wrong("the table of heads", head.seq, f"the head of record {head.seq} is not in the table")
        if content and not content.endswith(b"\n"):
            self.verdict.wrong(file.name, None, "the last line has no end")
        for head in kept:
            if head not in there:
                self.verdict.wrong(
                    file.name, head.seq, f"the head of record {head.seq}, which the table has, is missing"
                )

    def _take_head(self, head: Signed, where: str) -> None:
        self.verdict.heads += 1
        if not holds(head, "head", self._keys):
            self.verdict.wrong(where, head.seq, f"the head of record {head.seq} is not signed by a key that is trusted")
            return
        self._signed_last = max(self._signed_last, head.seq)
        self._wanted.setdefault(head.seq, []).append((where, head.hash))

    # The chain ---------------------------------------------------------------------------------------------------

    def _start(self, connection: sqlite3.Connection) -> Signed | None:
        """Return the newest cut that holds: where the chain that is kept goes on from."""
        row = connection.execute("SELECT * FROM audit__cuts ORDER BY seq DESC LIMIT 1").fetchone()
        if row is None:
            return None
        cut = self._signed(row, "the table of cuts")
        if cut is None:
            return None
        if not holds(cut, "cut", self._keys):
            self.verdict.wrong("the table of cuts", cut.seq, "the cut is not signed by a key that is trusted")
        self._cut = cut.seq
        for seq in [seq for seq in self._wanted if seq <= cut.seq]:
            for where, digest in self._wanted.pop(seq):
                if seq == cut.seq and digest != cut.hash:
                    self.verdict.wrong(where, seq, "the signed head and the cut of the same record differ")
        return cut

    def _follow(self, connection: sqlite3.Connection, cut: Signed | None) -> None:
        verdict = self.verdict
        verdict.first, verdict.last, verdict.hash = self._cut + 1, self._cut, cut.hash if cut else ZERO
        file = _File(self._folder, self._cut, verdict)
        while True:
            before = verdict.last
            for row in connection.execute("SELECT * FROM audit__records WHERE seq > ? ORDER BY seq", (before,)):
                self._record(row, file)
                if len(verdict.findings) >= MOST:
                    verdict.notes.append(f"there is more; reading ended at record {verdict.last}")
                    self._wanted.clear()
                    return
            if not file.goes_on():
                break
            # A hub may have written meanwhile, first the table and then the file: look at the table as it is now.
            connection.execute("COMMIT")
            connection.execute("BEGIN")
            if connection.execute("SELECT max(seq) FROM audit__records").fetchone()[0] in (None, verdict.last):
                break
        file.end(verdict.last, self._signed_last)

    def _record(self, row: sqlite3.Row, file: _File) -> None:
        verdict, seq = self.verdict, row["seq"]
        if seq != verdict.last + 1:
            gap = f"after record {verdict.last} comes {seq}; those between are gone"
            verdict.wrong("the table", verdict.last + 1, gap)
        told = _wrong_row(row, verdict.hash)
        if told is not None:
            verdict.wrong("the table", seq, told)
        for where, digest in self._wanted.pop(seq, ()):
            if digest != row["hash"]:
                verdict.wrong(where, seq, f"record {seq} is not the one whose hash was signed")
        file.compare(seq, line(row["record"], row["hash"]))
        verdict.last, verdict.hash = seq, str(row["hash"])


def _wrong_row(row: sqlite3.Row, previous: str) -> str | None:
    text = row["record"]
    if not isinstance(text, str) or not isinstance(row["hash"], str):
        return "the record is no text"
    try:
        if linked(previous, text) != row["hash"]:
            return "its hash does not follow from the record and the hash before it"
    except ValueError:
        return "the hash before it is none"
    try:
        record: Any = json.loads(text)
        if canonical(record) != text or record["seq"] != row["seq"]:
            return "its text is not the canonical one of this number"
        if columns(record) != (row["action"], row["outcome"], row["principal"], row["capability"]):
            return "the columns beside the record do not say what it says"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "the record cannot be read"
    return None


class _File:
    """Goes through the segments beside the table."""

    def __init__(self, folder: Path, cut: int, verdict: Verdict) -> None:
        self._verdict = verdict
        self._lines = _after(folder, cut)
        self._next: tuple[str, str, bool] | None = None
        self._differs = False
        self._missing_from: int | None = None

    def compare(self, seq: int, wanted: str) -> None:
        """Compare the next line with what the table has; after the first difference nothing more is told."""
        if self._differs or self._missing_from is not None:
            return
        if not self.goes_on():
            self._missing_from = seq
            return
        assert self._next is not None
        (place, text, whole), self._next = self._next, None
        if not whole and wanted.startswith(text):
            self._missing_from = seq
            self._verdict.notes.append(f"{place} is torn; a hub mends it at its start")
        elif text != wanted or not whole:
            self._differs = True
            self._verdict.wrong(place, seq, f"the line is not record {seq} of the table")

    def goes_on(self) -> bool:
        """Tell whether there is a line after those that were compared."""
        if self._next is None and not self._differs and self._missing_from is None:
            self._next = next(self._lines, None)
        return self._next is not None

    def end(self, last: int, signed: int) -> None:
        """Tell where the file ends before the table, or goes on after it."""
        missing = self._missing_from
        if missing is not None and missing <= signed:
            what = f"the file ends before record {missing}, and had record {signed} when a head was signed"
            self._verdict.wrong("the file", missing, what)
        elif missing is not None:
            self._verdict.notes.append(f"the file does not have records {missing} to {last} yet; a hub writes them")
        elif self._next is not None:
            self._verdict.wrong(self._next[0], last + 1, f"the file goes on after record {last}, where the table ends")


def _after(folder: Path, cut: int) -> Iterator[tuple[str, str, bool]]:
    """Yield what stands for the records after the cut: place, line, and whether the line has its end."""
    skipping = True
    for path, number, raw in lines_of(folder):
        text = raw.decode("utf-8", "replace")
        if skipping and 0 < _number(text) <= cut:
            continue
        skipping = False
        yield f"{path.name}:{number}", text.removesuffix("\n"), raw.endswith(b"\n")


def _number(text: str) -> int:
    try:
        record: Mapping[str, Any] = json.loads(text)["record"]
        return int(record["seq"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return 0
