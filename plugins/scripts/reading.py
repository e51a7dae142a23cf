"""Texts that the verbs read from files: bounded, UTF-8, and told by name where that cannot be."""

from __future__ import annotations

from pathlib import Path

from kernel import BadInput

from .limits import SHIPPED


def text_of(path: Path, most_kb: float = SHIPPED["source_kb"]) -> str:
    """Return the text of a file; `BadInput` for one that is larger, that cannot be read, or that is not UTF-8.

    Without another bound it is that of a script.
    """
    most = int(most_kb * 1024)
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
        if len(data) > most:
            raise BadInput(f"{path} is larger than {most_kb:g} KiB, the most that is read")
        return data.decode("utf-8")
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: byte {error.start + 1} cannot be read") from None
