"""The compiled form of a module: bytes that name the versions they are for (language reference, section 22)."""

import marshal
import sys
from types import CodeType
from typing import Any, Final

FORMAT: Final = 4
"""The version of the compiled form; other versions compile anew."""
PYTHON_TAG: Final = sys.implementation.cache_tag or ""


class Compiled:
    """A module in its compiled form, read from the bytes that `compile` gave."""

    __slots__ = ("code", "meta", "name")

    def __init__(self, data: bytes) -> None:
        """ValueError when the bytes come from another version of the compiler or of Python."""
        version, tag, self.name, self.meta, self.code = marshal.loads(data)  # noqa: S302  our own bytes, by hash
        if version != FORMAT or tag != PYTHON_TAG:
            raise ValueError(f"compiled for version {version} on {tag}, this is version {FORMAT} on {PYTHON_TAG}")

    @staticmethod
    def dump(name: str, meta: dict[str, Any], code: CodeType) -> bytes:
        """The bytes of a compiled module."""
        return marshal.dumps((FORMAT, PYTHON_TAG, name, meta, code))
