"""A host whose chance and time are fixed before the run begins (section 18.4)."""

import random
from typing import Any, Final

from .host import Host, Layer, drawing
from .values import Place, ScriptError

TICK_S: Final = 0.001
"""What each reading of the clock moves it by."""


class FixedHost(Layer):
    """Randomness and ids come from a seed; with a start, time is counted from it instead of measured."""

    overlaps: bool = False

    def __init__(self, host: Host, seed: str | int | float, start: float | None) -> None:
        """`start` is in seconds since 1970; None leaves the time to the host beneath. Equal seeds give equal numbers,
        in every process."""
        super().__init__(host)
        self.overlaps = host.overlaps and start is None
        # By the text: Python seeds with a text by its bytes, with anything else by its hash, which may differ.
        self._drawn = drawing(random.Random(f"{seed}"))  # noqa: S311  randomness of scripts, never a secret
        self._now = start

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        """Serves randomness and, with a start, the clock; the host beneath serves the rest."""
        drawn = self._drawn.get(operation)
        if drawn is not None:
            return drawn(args)
        if self._now is not None and operation == "time.now":
            reading, self._now = self._now, self._now + TICK_S
            return reading
        if self._now is not None and operation == "time.sleep":
            seconds = args.get("seconds")
            if type(seconds) is bool or not isinstance(seconds, int | float):
                raise ScriptError("TypeError", f"a wait is a number of seconds, got {seconds!r:.60}")
            self._now += max(float(seconds), 0.0)
            return None
        return self.base.call(capability, operation, args, position)
