"""The part of the compiler that makes steps: workflows, manifests and templates."""

from .blocks import Blocks


class Flows(Blocks):
    """Adds steps to intent blocks and declarations."""
