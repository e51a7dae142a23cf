"""The hub's log: one JSON object a line on standard error, bounded, without secrets; no message forges a line."""

from __future__ import annotations

import logging
import os
import sys

import msgspec

from kernel import iso, redactions

RECORD_BYTES = 8 * 1024
LOOKED_AT = 64 * 1024
"""Characters of a message, or of a traceback, that are looked at for secrets; only of these something is kept."""


# JSON lets these stand as they are; a terminal that shows the log obeys some, and turns text around at others.
_UNSEEN = (*range(0x7F, 0xA0), 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
_ESCAPES = {letter: f"\\u{letter:04x}" for letter in _UNSEEN}


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON of at most 8 KiB; what is cut first is the traceback's beginning."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line = {
            "time": iso(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redactions.text(record.getMessage()[:LOOKED_AT])[: RECORD_BYTES // 4],
        }
        if record.exc_info:
            traceback = self.formatException(record.exc_info)[-LOOKED_AT:]
            line["exception"] = redactions.text(traceback)[-RECORD_BYTES // 2 :]
        text = _encoded(line)
        if len(text.encode()) > RECORD_BYTES:
            line.pop("exception", None)
            line["message"] = line["message"][:500]
            text = _encoded(line)
        return text


def _encoded(line: dict[str, str]) -> str:
    return msgspec.json.encode(line).decode().translate(_ESCAPES)


def log_to_stderr(level: int = logging.INFO) -> None:
    """Send every log record of the process to standard error; what our own variables hold of secrets is in none."""
    redactions.register_environment(os.environ)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Python's own warnings tell of a coroutine that was never awaited: an event of a plugin, say, that never happened.
    logging.captureWarnings(True)
    # It tells of every change it sees; what became of one is told by the kernel.
    logging.getLogger("watchfiles").setLevel(logging.WARNING)
