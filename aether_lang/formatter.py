"""One style for all scripts: `format_script`.

The formatter prints the script's own tokens again, so what they mean stays; it then reads its own output and gives it
out only if both trees mean the same."""

from __future__ import annotations

from .errors import AetherError
from .likeness import alike
from .parser import read
from .pieces import Piecemaker
from .printing import Printer
from .scanner import Limits
from .signatures import is_signed


class FormattingError(Exception):
    """The formatter is at fault: its output would not mean what the script means. Nothing was given out."""


def format_script(text: str, name: str = "<script>", limits: Limits | None = None) -> str:
    """The script in the one style, with every comment; formatting it again changes nothing. A signed script comes back
    as it is. Raises `AetherError` for a text that does not parse, `FormattingError` where the result would mean
    something else."""
    plain = text.removeprefix("\ufeff").replace("\r\n", "\n")
    reading = read(plain, name, limits)
    if is_signed(text):
        return text
    maker = Piecemaker(reading)
    maker.run()
    formatted = Printer(maker, reading.root).run()
    try:
        after = read(formatted, name, limits).module
    except AetherError as error:
        what = error.diagnostics[0].message
        raise FormattingError(f"{name} cannot be formatted: the result would not parse: {what}") from error
    if not alike(reading.module, after):
        raise FormattingError(f"{name} cannot be formatted: the result would mean something else")
    return formatted
