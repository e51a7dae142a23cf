"""The part of the compiler that makes intent blocks: require, parallel, transaction, on_error, contracts (12)."""

from .declarations import Declarations


class Blocks(Declarations):
    """Adds intent blocks to declarations."""
