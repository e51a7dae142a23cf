"""Scripts drawn at random from the grammar of the language reference, each with the tree it must have."""

from .scripts import Generated, generated

__all__ = ["Generated", "generated"]
