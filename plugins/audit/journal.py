"""The file beside the table: the same records, one a line, in segments. It follows the table, which is the truth."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

PREFIX = "records-"
TAIL = 1024 * 1024
"""Bytes at the end of a file in which its last line begins."""


def segments(folder: Path) -> list[tuple[int, Path]]:
    """Return the files with the number of the first record of each, in order."""
    found = []
    for path in folder.glob(f"{PREFIX}*.jsonl"):
        number = path.stem.removeprefix(PREFIX)
        if number.isdigit():
            found.append((int(number), path))
    return sorted(found)


def segment_file(folder: Path, first: int) -> Path:
    """Return the file whose first record has this number."""
    return folder / f"{PREFIX}{first:012}.jsonl"


class Journal:
    """Appends to the newest segment; every method blocks and is called in a thread, one at a time."""

    def __init__(self, folder: Path, segment: int) -> None:
        self._folder = folder
        self._segment = segment
        self.last = 0
        """The number of the last record in the files."""
        self.mended = ""
        """What was mended at the end of the files, until somebody tells of it."""
        self._first = 0
        self._dirty: set[Path] = set()

    def open(self) -> None:
        """Find the end of the files, and take away a line there that a crash had torn.

        Raises `OSError`, also where the last line is whole and no record: then somebody else wrote it.
        """
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for first, path in reversed(segments(self._folder)):
            self.mended = _mend(path) or self.mended
            if path.stat().st_size:
                self._first, self.last = first, _last_number(path)
                return
            path.unlink()  # there was nothing but a torn line

    def write(self, rows: Sequence[tuple[int, str]]) -> None:
        """Append lines by their numbers, which go on from `last`; raise `OSError`."""
        at = 0
        while at < len(rows):
            if not self._first or rows[at][0] - self._first >= self._segment:
                self._first = rows[at][0]
            room = self._first + self._segment - rows[at][0]
            part = rows[at : at + room]
            path = segment_file(self._folder, self._first)
            _append(path, (line for _, line in part))
            self._dirty.add(path)
            self.last = part[-1][0]
            at += len(part)

    def sync(self) -> None:
        """Let the disk have what was written."""
        for path in list(self._dirty):
            if path.exists():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
            self._dirty.discard(path)

    def drop_through(self, seq: int) -> None:
        """Remove the files of which every record is at most `seq`."""
        found = segments(self._folder)
        for (_, path), (following, _) in itertools.pairwise(found):
            if following <= seq + 1:
                path.unlink(missing_ok=True)


def _append(path: Path, lines: Iterable[str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        out.write("".join(f"{line}\n" for line in lines).encode())


def _mend(path: Path) -> str:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        start = max(0, size - TAIL)
        file.seek(start)
        tail = file.read()
        whole = tail.rfind(b"\n") + 1
        if whole == len(tail):
            return ""
        file.truncate(start + whole)
    return f"{path.name}: {len(tail) - whole} bytes of a torn line were taken away; it is written again"


def _last_number(path: Path) -> int:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL))
        lines = file.read().splitlines()
    try:
        return int(json.loads(lines[-1])["record"]["seq"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise OSError(0, f"{path} ends in a line that is no record; see `aether audit verify`") from None


def lines_of(folder: Path) -> Iterator[tuple[Path, int, bytes]]:
    """Yield every line of every segment, with its file and its number in it; the last may lack its end."""
    for _, path in segments(folder):
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield path, number, line
