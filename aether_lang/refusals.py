"""Why something cannot be remembered or looked for: said once, for the hub's memory and for a run's own changes."""

from __future__ import annotations

from typing import Any


class Refused(ValueError):
    """What was given cannot be right. `details` name the field, or the bytes and their limit."""

    def __init__(self, message: str, details: dict[str, Any] | None = None, *, too_large: bool = False) -> None:
        """`too_large` says that a bound was passed; else it is of the wrong kind."""
        super().__init__(message)
        self.message = message
        self.details = details or {}
        self.too_large = too_large


class Impossible(ValueError):
    """What was asked for does not go together with the state of things."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
