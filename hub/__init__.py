"""The web side of the house: `make_app(kernel)`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hub.app import make_app

__all__ = ["make_app"]


def __getattr__(name: str) -> Any:
    # The command begins in this package, too, and most of its verbs need no web server.
    if name == "make_app":
        from hub.app import make_app

        return make_app
    raise AttributeError(f"hub has no {name!r}")
