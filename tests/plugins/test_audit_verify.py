"""S12: whatever is changed in the table, the file or the heads, a verification finds it, and says from where on."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kernel import AuditRecord

ROOT = Path(__file__).parents[2]
ZERO = "0" * 64
HEADS_AT = (7, 15, 24)
RECORDS = 24

Draw = random.Random


class Ledger:
    """An audit in a folder as a hub leaves it at its stop: a table, a file, and heads signed on the way."""

    def __init__(self, audit: ModuleType, folder: Path) -> None:
        self.audit = audit
        self.folder = folder
        self.database = folder / "aetherra.db"
        self.heads = folder / "heads.jsonl"
        self.files = folder / "audit"
        self.key = folder / "audit.key"

    @contextmanager
    def table(self) -> Iterator[Any]:
        """The database as its owner may open it, past everything that the hub forbids itself."""
        with closing(sqlite3.connect(self.database, isolation_level=None)) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("PRAGMA synchronous=OFF")
            yield Tx(connection)

    def fill(self, records: int = RECORDS, heads: tuple[int, ...] = HEADS_AT, segment: int = 10) -> Ledger:
        audit, journal = self.audit, self.audit.journal.Journal(self.files, segment)
        signer = audit.heads.Signer(self.key)
        with self.table() as tx:
            tx.connection.executescript((ROOT / "plugins/audit/migrations/001_records.sql").read_text())
            tx.execute("BEGIN")
            journal.open()
            for number in range(1, records + 1):
                given = AuditRecord(
                    1_800_000_000.0 + number,
                    "capability.denied",
                    "denied",
                    f"user:u{number} → plugin:p",
                    f"memory:write:{number}",
                    "no rule",
                    details={"n": number, "text": "grüße 🍵\n"},
                )
                audit.records.append(audit.records.plain_record(given, 8_192), tx)
                row = tx.one("SELECT record, hash FROM audit__records WHERE seq = ?", (number,))
                journal.write([(number, audit.chain.line(row["record"], row["hash"]))])
                if number in heads:
                    signed = signer.sign("head", number, row["hash"], "2027-01-15T08:00:00.000Z")
                    audit.heads.add_to_file(self.heads, [signed])
                    tx.execute("INSERT INTO audit__heads VALUES (?, ?, ?, ?, ?)", signed.values())
            tx.execute("COMMIT")
        return self

    def verify(self, *more: Path) -> Any:
        keys = [self.audit.heads.public_key(self.key)]
        return self.audit.verification.Verification(self.database, self.files, [self.heads, *more], keys).run()

    def copy(self, to: Path) -> Ledger:
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to)
        return Ledger(self.audit, to)

    def unlock(self) -> None:
        """Take away every trigger, as whoever owns the file can."""
        with self.table() as tx:
            for row in tx.connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                tx.execute(f"DROP TRIGGER {row['name']}")


class Tx:
    """What a write is given, on a plain connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def execute(self, sql: str, params: Any = ()) -> Any:
        return self.connection.execute(sql, params)

    def one(self, sql: str, params: Any = ()) -> Any:
        return self.connection.execute(sql, params).fetchone()


@pytest.fixture(scope="module")
def sealed(audit: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return Ledger(audit, tmp_path_factory.mktemp("sealed")).fill()


# The format, as others may check it -----------------------------------------------------------------------------------


def test_the_chain_is_the_one_the_docs_tell_of(sealed: Ledger) -> None:
    """Written from docs/audit.md alone, without a line of the plugin's."""
    previous = ZERO
    lines = [line for path in sorted(sealed.files.glob("records-*.jsonl")) for line in path.read_text().splitlines()]
    assert len(lines) == RECORDS
    for number, line in enumerate(lines, 1):
        told = json.loads(line)
        text = json.dumps(told["record"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256(bytes.fromhex(previous) + text.encode()).hexdigest()
        assert told["hash"] == previous
        assert told["record"]["seq"] == number


def test_a_head_is_signed_as_the_docs_tell(sealed: Ledger) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    head = json.loads(sealed.heads.read_text().splitlines()[-1])
    said = {"at": head["at"], "hash": head["hash"], "kind": "aetherra-audit-head-v1", "seq": head["seq"]}
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(head["key"]))
    key.verify(base64.b64decode(head["signature"]), json.dumps(said, separators=(",", ":")).encode())


@pytest.mark.parametrize("value", [{"a": "\udc80"}, {"a": 1e300}, {"b": [{}, None, True], "a": "\u0000\u2028"}])
def test_a_canonical_text_reads_back_as_itself(audit: ModuleType, value: dict[str, Any]) -> None:
    text = audit.chain.canonical(value)
    assert audit.chain.canonical(json.loads(text)) == text
    text.encode()


def test_what_has_no_canonical_text_is_made_to_have_one(audit: ModuleType) -> None:
    deep: Any = {}
    for _ in range(50):
        deep = {"deeper": deep}
    tidied = audit.chain.tidy({"inf": float("inf"), "raw": b"12345", "deep": deep, 5: {"x"}})
    assert tidied["inf"] == "inf"
    assert tidied["raw"] == "5 bytes"
    assert audit.chain.canonical(tidied).count("deeper") == audit.chain.DEPTH - 1


# Untouched ------------------------------------------------------------------------------------------------------------


def test_what_nobody_touched_is_whole(sealed: Ledger) -> None:
    verdict = sealed.verify()
    assert (verdict.findings, verdict.notes) == ([], [])
    assert (verdict.first, verdict.last, verdict.heads) == (1, RECORDS, 6)


def test_an_empty_audit_is_whole(audit: ModuleType, tmp_path: Path) -> None:
    assert Ledger(audit, tmp_path).fill(0, ()).verify().ok


def test_records_after_the_last_head_that_the_file_lacks_are_only_told(audit: ModuleType, tmp_path: Path) -> None:
    ledger = Ledger(audit, tmp_path).fill(heads=(7,))
    newest = max(ledger.files.glob("*.jsonl"))
    newest.write_bytes(newest.read_bytes()[:-30])
    verdict = ledger.verify()
    assert verdict.ok
    assert verdict.notes == [
        "records-000000000021.jsonl:4 is torn; a hub mends it at its start",
        "the file does not have records 24 to 24 yet; a hub writes them",
    ]


# Tampered with --------------------------------------------------------------------------------------------------------


def edit_bytes(draw: Draw, content: bytes) -> bytes:
    at = draw.randrange(len(content))
    return content[:at] + bytes([(content[at] + draw.randrange(1, 256)) % 256]) + content[at + 1 :]


def delete_line(draw: Draw, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    del lines[draw.randrange(len(lines))]
    return b"".join(lines)


def swap_lines(draw: Draw, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    first, second = draw.sample(range(len(lines)), 2)
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def truncate(draw: Draw, content: bytes) -> bytes:
    return content[: draw.randrange(len(content))]


def double_line(draw: Draw, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    at = draw.randrange(len(lines))
    lines.insert(at, lines[draw.randrange(len(lines))])
    return b"".join(lines)


TEXT_TRICKS: list[Callable[[Draw, bytes], bytes]] = [edit_bytes, delete_line, swap_lines, truncate, double_line]


def tamper_with_file(draw: Draw, ledger: Ledger) -> str:
    path = draw.choice(sorted(ledger.files.glob("*.jsonl")))
    trick = draw.choice(TEXT_TRICKS)
    before = path.read_bytes()
    after = trick(draw, before)
    path.write_bytes(after)
    return f"{trick.__name__} in {path.name}" if after != before else ""


def tamper_with_heads(draw: Draw, ledger: Ledger) -> str:
    trick = draw.choice(TEXT_TRICKS)
    before = ledger.heads.read_bytes()
    after = trick(draw, before)
    ledger.heads.write_bytes(after)
    return f"{trick.__name__} in the heads" if after != before else ""


def edit_row(draw: Draw, tx: Tx, seq: int) -> None:
    column = draw.choice(["record", "hash", "action", "outcome", "principal", "capability"])
    text = str(tx.one(f"SELECT {column} AS it FROM audit__records WHERE seq = ?", (seq,))["it"])
    at = draw.randrange(len(text))
    letter = draw.choice([c for c in 'abcdef0123456789 "{}é' if c != text[at]])
    tx.execute(f"UPDATE audit__records SET {column} = ? WHERE seq = ?", (text[:at] + letter + text[at + 1 :], seq))


def delete_rows(draw: Draw, tx: Tx, seq: int) -> None:
    tx.execute("DELETE FROM audit__records WHERE seq BETWEEN ? AND ?", (seq, seq + draw.randrange(4)))


def swap_rows(draw: Draw, tx: Tx, seq: int) -> None:
    other = draw.choice([n for n in range(1, RECORDS + 1) if n != seq])
    for old, new in ((seq, -1), (other, seq), (-1, other)):
        tx.execute("UPDATE audit__records SET seq = ? WHERE seq = ?", (new, old))


def cut_rows_off(draw: Draw, tx: Tx, seq: int) -> None:
    tx.execute("DELETE FROM audit__records WHERE seq >= ?", (seq,))


def cut_rows_off_the_beginning(draw: Draw, tx: Tx, seq: int) -> None:
    tx.execute("DELETE FROM audit__records WHERE seq <= ?", (seq,))


ROW_TRICKS: list[Callable[[Draw, Tx, int], None]] = [
    edit_row,
    delete_rows,
    swap_rows,
    cut_rows_off,
    cut_rows_off_the_beginning,
]


def tamper_with_table(draw: Draw, ledger: Ledger) -> str:
    ledger.unlock()
    trick, seq = draw.choice(ROW_TRICKS), draw.randrange(1, RECORDS + 1)
    with ledger.table() as tx:
        trick(draw, tx, seq)
    return f"{trick.__name__} at {seq}"


def rewrite_from_a_record_on(draw: Draw, ledger: Ledger) -> str:
    """Change a record, make the chain whole again, and the file like it: only the signed heads can tell."""
    ledger.unlock()
    seq, chain = draw.randrange(1, RECORDS + 1), ledger.audit.chain
    with ledger.table() as tx:
        row = tx.one("SELECT record FROM audit__records WHERE seq = ?", (seq,))
        record = json.loads(row["record"]) | {"reason": "somebody else's"}
        rows = {r["seq"]: r["record"] for r in tx.connection.execute("SELECT seq, record FROM audit__records")}
        rows[seq] = chain.canonical(record)
        _make_whole(ledger, tx, rows)
    return f"rewritten from record {seq} on"


def _make_whole(ledger: Ledger, tx: Tx, rows: dict[int, str]) -> None:
    chain, previous = ledger.audit.chain, ZERO
    for path in ledger.files.glob("*.jsonl"):
        path.unlink()
    journal = ledger.audit.journal.Journal(ledger.files, 10)
    tx.execute("DELETE FROM audit__records WHERE seq > ?", (max(rows),))
    for seq in sorted(rows):
        previous = chain.linked(previous, rows[seq])
        tx.execute("UPDATE audit__records SET record = ?, hash = ? WHERE seq = ?", (rows[seq], previous, seq))
        journal.write([(seq, chain.line(rows[seq], previous))])


def shorten_everything(draw: Draw, ledger: Ledger) -> str:
    """Cut table, file and both lists of heads at one record: only heads that were kept elsewhere can tell."""
    ledger.unlock()
    last = draw.randrange(1, RECORDS)
    with ledger.table() as tx:
        rows = {r["seq"]: r["record"] for r in tx.connection.execute("SELECT seq, record FROM audit__records")}
        _make_whole(ledger, tx, {seq: text for seq, text in rows.items() if seq <= last})
        tx.execute("DELETE FROM audit__heads WHERE seq > ?", (last,))
    kept = [line for line in ledger.heads.read_text().splitlines(keepends=True) if json.loads(line)["seq"] <= last]
    ledger.heads.write_text("".join(kept))
    return f"everything ends at record {last}"


TAMPERING: list[Callable[[Draw, Ledger], str]] = [
    tamper_with_file,
    tamper_with_heads,
    tamper_with_table,
    rewrite_from_a_record_on,
    shorten_everything,
]


def undetected(sealed: Ledger, at: Path, cases: int, seed: int) -> tuple[int, list[str]]:
    """Return how many cases did change something, and what was done in those that a verification took for whole."""
    draw, missed, changed = random.Random(seed), [], 0
    elsewhere = at / "elsewhere.jsonl"
    shutil.copy(sealed.heads, elsewhere)
    while changed < cases:
        ledger = sealed.copy(at / "case")
        done = draw.choice(TAMPERING)(draw, ledger)
        if not done:
            continue
        changed += 1
        if ledger.verify(elsewhere).ok:
            missed.append(done)
    return changed, missed


def test_random_tampering_is_found(sealed: Ledger, tmp_path: Path) -> None:
    seed = int.from_bytes(os.urandom(4))
    _, missed = undetected(sealed, tmp_path, 50, seed)
    assert missed == [], f"seed {seed}"


@pytest.mark.soak
@pytest.mark.timeout(7_200)
def test_thousands_of_random_edits_are_found(sealed: Ledger, tmp_path: Path) -> None:
    size = os.environ.get("AETHERRA_SOAK", "C")
    seed = int.from_bytes(os.urandom(4))
    cases, missed = undetected(sealed, tmp_path, {"C": 500, "L": 10_000}[size], seed)
    print(f"\nS12 seed={seed} size={size} cases={cases} undetected={len(missed)}")
    assert missed == []


@pytest.mark.parametrize("trick", TAMPERING)
def test_each_way_of_tampering_is_found(sealed: Ledger, tmp_path: Path, trick: Callable[[Draw, Ledger], str]) -> None:
    elsewhere = tmp_path / "elsewhere.jsonl"
    shutil.copy(sealed.heads, elsewhere)
    ledger = sealed.copy(tmp_path / "case")
    assert trick(random.Random(1), ledger)
    assert not ledger.verify(elsewhere).ok


def test_a_consistent_truncation_is_found_by_the_heads_that_lie_elsewhere_and_only_by_them(
    sealed: Ledger, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere.jsonl"
    shutil.copy(sealed.heads, elsewhere)
    ledger = sealed.copy(tmp_path / "case")
    shorten_everything(random.Random(2), ledger)
    assert ledger.verify().ok
    findings = ledger.verify(elsewhere).findings
    assert findings
    assert findings[-1].text == f"a signed head names record 24, and the table ends at {ledger.verify().last}"


def test_what_is_broken_is_told_from_its_record_on(sealed: Ledger, tmp_path: Path) -> None:
    ledger = sealed.copy(tmp_path / "case")
    ledger.unlock()
    with ledger.table() as tx:
        tx.execute("UPDATE audit__records SET record = replace(record, 'no rule', 'a rule') WHERE seq = 5")
        tx.execute("DELETE FROM audit__records WHERE seq IN (11, 12)")
    found = [(finding.where, finding.seq, finding.text) for finding in ledger.verify().findings]
    assert found == [
        ("the table", 5, "its hash does not follow from the record and the hash before it"),
        ("records-000000000001.jsonl:5", 5, "the line is not record 5 of the table"),
        ("the table", 11, "after record 10 comes 13; those between are gone"),
        ("the table", 13, "its hash does not follow from the record and the hash before it"),
    ]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit__records SET hash = 'no hex' WHERE seq = 4",
        "UPDATE audit__records SET hash = x'00' WHERE seq = 4",
        "UPDATE audit__records SET record = x'00' WHERE seq = 4",
        "UPDATE audit__records SET record = '[]' WHERE seq = 4",
        "UPDATE audit__records SET record = '" + "[" * 50_000 + "' WHERE seq = 4",
        "UPDATE audit__heads SET hash = x'00'",
        "UPDATE audit__heads SET key = 'no key'",
        "UPDATE audit__heads SET signature = '!'",
        "INSERT INTO audit__cuts VALUES (3, x'00', 1, 2, 3)",
    ],
)
def test_what_cannot_even_be_read_is_told(sealed: Ledger, tmp_path: Path, change: str) -> None:
    ledger = sealed.copy(tmp_path / "case")
    ledger.unlock()
    with ledger.table() as tx:
        tx.execute(change)
    assert not ledger.verify().ok


def test_a_head_signed_by_another_key_proves_nothing(sealed: Ledger, tmp_path: Path) -> None:
    ledger = sealed.copy(tmp_path / "case")
    forger = ledger.audit.heads.Signer(tmp_path / "other.key")
    elsewhere = tmp_path / "elsewhere.jsonl"
    ledger.audit.heads.add_to_file(elsewhere, [forger.sign("head", 24, "ab" * 32, "2027-01-15T08:00:00.000Z")])
    findings = ledger.verify(elsewhere).findings
    assert [finding.text for finding in findings if finding.where == "elsewhere.jsonl:1"] == [
        "the head of record 24 is not signed by a key that is trusted"
    ]


def test_what_was_signed_as_a_head_is_no_cut(sealed: Ledger, tmp_path: Path) -> None:
    ledger = sealed.copy(tmp_path / "case")
    ledger.unlock()
    with ledger.table() as tx:
        tx.execute("INSERT INTO audit__cuts SELECT * FROM audit__heads WHERE seq = 7")
        tx.execute("DELETE FROM audit__records WHERE seq <= 7")
        tx.execute("DELETE FROM audit__heads WHERE seq <= 7")
    assert [finding.where for finding in ledger.verify().findings] == ["the table of cuts"]
