"""Scripts drawn at random from the grammar of the language reference, each with the tree it must have."""

from .damage import Broken, breakages, damaged, noise
from .scripts import Generated, generated, smallest

__all__ = ["Broken", "Generated", "breakages", "damaged", "generated", "noise", "smallest"]
