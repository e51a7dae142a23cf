"""What all parts of the generator share: chance, the size of what is drawn, layout, and the count of productions.

A piece is text with the node it must become; all nodes stand at one made-up place, since `alike` looks at none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple, TypeVar

from aether_lang.nodes import Node, Span

T = TypeVar("T")
AT = Span(1, 1, 1, 1, 0, 0)
BARE_END = "\x00"  # ends a text behind which nothing but a line end may stand; it is taken out at last

PLAIN_NAMES = (
    "a",
    "b",
    "n",
    "x",
    "y",
    "row",
    "total",
    "item_2",
    "_tmp",
    "Crew",
    "left_over",
    "e",
    "f1",
    "r",
    "exists_too",
)
# Words that act as keywords in some places and are names everywhere else.
TRICKY_NAMES = (
    "goal", "plugin", "log", "type", "status", "on", "default", "agent", "memory", "steps", "then", "fn", "meta",
    "policy", "workflow", "end", "each", "function", "define", "export", "use", "recall", "remember", "list", "config",
    "state", "self", "error", "check", "event", "import", "any", "set", "tag", "run", "priority", "const", "var", "def",
)  # fmt: skip
PREPOSITION_NAMES = ("to", "with", "as", "at", "of", "by", "from", "into", "since", "before", "under")
SOFT_NAMES = ("when", "every", "match", "case", "where", "unless", "raise", "throw", "call", "new", "await", "lambda")
RESERVED = (
    "if", "elif", "else", "for", "while", "try", "catch", "except", "finally", "return", "break", "continue", "and",
    "or", "not", "in", "is", "true", "false", "null", "let",
)  # fmt: skip


class Piece(NamedTuple):
    """Text, the node it must become, and how tightly it binds (section 5.1: -1 for a lambda to 15 for an atom)."""

    text: str
    node: Any
    level: int = 15


class Place(NamedTuple):
    """Where statements stand: in `code` or in a `declaration`; at `top` of the script; in a `loop`; `flat` where all
    must stay on one line."""

    kind: str = "code"
    top: bool = False
    loop: bool = False
    flat: bool = False
    column: int = 0

    def inner(self, **changes: Any) -> Place:
        """The place inside a block of a statement that stands here."""
        return self._replace(**{"top": False, "kind": "code", **changes})


class Draw:
    """Chance and layout. `fuel` is how much may still be drawn: when it is used up, only what is small is."""

    def __init__(self, random: Random, fuel: int) -> None:
        self.random = random
        self.fuel = fuel
        self.counts: Counter[str] = Counter()
        self.role: Any = "value"
        self.column = 0  # where the statement that is being drawn stands
        self.flat = 0  # above 0 where no line may end
        self.bare = 0  # above 0 where no block may stand
        self.slot = 0  # above 0 directly in a phrase
        self.quotes = ""  # quotes that may not be used

    def chance(self, part: float) -> bool:
        """True in that part of all cases."""
        return self.random.random() < part

    def one(self, choices: Sequence[T]) -> T:
        """One of them."""
        return self.random.choice(choices)

    def some(self, least: int, most: int) -> int:
        """A number between the two, few where the fuel is low."""
        return least if self.fuel <= 0 else self.random.randint(least, most)

    def pick(self, table: Sequence[tuple[str, int, Callable[[], T | None]]]) -> T:
        """Draws a production by its weight, and another one where that gives nothing in its place."""
        left = list(table)
        while left:
            at = self.random.choices(range(len(left)), [weight for _, weight, _ in left])[0]
            name, _, make = left.pop(at)
            self.fuel -= 1
            made = make()
            if made is not None:
                self.counts[name] += 1
                return made
        raise AssertionError("nothing may stand here")

    def count(self, name: str) -> None:
        """Notes that a production was drawn."""
        self.counts[name] += 1

    # ------------------------------------------------------------ names

    def name(self) -> str:
        """A name for an operand that stands anywhere but at the start of a statement."""
        if self.slot or self.chance(0.7):
            return self.one(PLAIN_NAMES)
        if self.chance(0.7):
            self.count("name: a word with a meaning elsewhere")
            return self.one(TRICKY_NAMES)
        self.count("name: a preposition")
        return self.one(PREPOSITION_NAMES)

    def plain_name(self) -> str:
        """A name that is nothing else anywhere."""
        return self.one(PLAIN_NAMES)

    def any_word(self) -> str:
        """A word behind a dot or before the colon of a dict entry, where every word is a name."""
        if self.chance(0.75):
            return self.one(PLAIN_NAMES)
        self.count("name: any word behind a dot or as key")
        return self.one(TRICKY_NAMES + PREPOSITION_NAMES + SOFT_NAMES + RESERVED + ("exists", "empty"))

    # ------------------------------------------------------------ blanks, line ends, comments

    def blank(self) -> str:
        """Blanks that must be there or may be more."""
        return " " if self.chance(0.9) else self.one(("  ", "   ", " /* c */ ", "\t"))

    def maybe(self) -> str:
        """Blanks that may be missing."""
        return "" if self.chance(0.5) else self.blank()

    def within(self) -> str:
        """What may stand inside a bracket between two tokens: nothing, blanks, line ends, comments."""
        if self.flat or self.chance(0.85):
            return "" if self.chance(0.7) else " "
        self.count("layout: a line end inside a bracket")
        return self.line_end() + self.one(("", "  ", "        ", "    "))

    def behind_operator(self) -> str:
        """What may stand behind a binary operator: a blank, or the end of the line."""
        if self.flat or self.chance(0.93):
            return self.blank()
        if self.chance(0.3):
            self.count("layout: a backslash joins lines")
            return self.blank() + "\\\n" + self.one(("", "  ", "         "))
        self.count("layout: an operator continues the line")
        return self.line_end() + self.one(("", "  ", "         "))

    def before_operator(self) -> str:
        """What may stand before an operator that continues a line."""
        if self.flat or self.chance(0.93):
            return self.blank()
        self.count("layout: the next line begins with an operator")
        return self.line_end() + self.one(("  ", "    ", "         "))

    def comment(self) -> str:
        """A comment up to the line end."""
        kind = self.one(("#", "//", "# ", "// "))
        return kind + self.one(
            (" note", " it's { ( [ \"open", "x", " end", "", " if x:", " // # /*", " 日本 \U0001f680")
        )

    def line_end(self) -> str:
        """The end of a line, with blanks or a comment before it, and empty lines behind."""
        text = "\n"
        if self.chance(0.1):
            self.count("layout: a comment at the end of a line")
            text = self.one((" ", "  ")) + self.comment() + text
        elif self.chance(0.04):
            text = "  " + text
        if self.chance(0.06):
            self.count("layout: blank lines and lines of comment")
            text += self.one(("\n", "   \n", "\n\n", "# left\n", "             # right\n", "/* long\n  one */\n"))
        return text


def dummy(kind: Any, *values: Any) -> Node:
    """A node at the made-up place."""
    made: Node = kind(AT, *values)
    return made
