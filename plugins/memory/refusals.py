"""What the rules of memory refuse, as errors of the kernel."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from aether_lang.refusals import Impossible, Refused
from kernel import BadInput, Conflict, TooLarge


@contextmanager
def in_kernel_words() -> Iterator[None]:
    """Turn a refusal by the rules into `BadInput`, `TooLarge` or `Conflict`."""
    try:
        yield
    except Refused as refused:
        kind = TooLarge if refused.too_large else BadInput
        raise kind(refused.message, details=refused.details) from None
    except Impossible as impossible:
        raise Conflict(impossible.message) from None
