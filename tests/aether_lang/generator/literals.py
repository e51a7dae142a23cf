"""Numbers, strings and patterns (sections 2.3 to 2.5)."""

from __future__ import annotations

from aether_lang import nodes

from .draw import AT, Draw, Piece

NUMBERS = (
    ("42", 42), ("0", 0), ("7", 7), ("3.14", 3.14), ("50_000", 50_000), ("0xff", 255), ("0XFF_00", 65_280),
    ("1e6", 1e6),
    ("2.5e-3", 0.0025), (".5", 0.5), ("1_0.2_5", 10.25),
    ("123456789012345678901234567890", 123456789012345678901234567890),
)  # fmt: skip
UNITS = (
    ("500ms", 0.5), ("30s", 30), ("5m", 300), ("2h", 7200), ("1d", 86_400), ("1w", 604_800), ("30_seconds", 30),
    ("5_minutes", 300), ("1_hour", 3600), ("7_days", 604_800), ("2_weeks", 1_209_600), ("1_month", 2_592_000),
    ("1.5h", 5400), ("1_second", 1), ("0s", 0),
)  # fmt: skip
SIZES = (("100_MB", 100 * 1024**2), ("1_GB", 1024**3), ("4_KB", 4096))
AGO = (("30_days_ago", 2_592_000), ("1_hour_ago", 3600), ("2_weeks_ago", 1_209_600), ("5_minutes_ago", 300))
PERCENTS = (("80%", 80 / 100), ("12.5%", 12.5 / 100), ("0%", 0 / 100), ("100%", 1.0))
ESCAPES = (
    (r"\n", "\n"), (r"\t", "\t"), (r"\r", "\r"), ("\\\\", "\\"), (r"\"", '"'), (r"\'", "'"), (r"\{", "{"), (r"\}", "}"),
    (r"\$", "$"), (r"\u{41}", "A"), (r"\0", "\0"), (r"\x41", "A"), (r"\u00e9", "é"), (r"\u{1F680}", "\U0001f680"),
    (r"\q", r"\q"),
)  # fmt: skip
WORDS = (
    "tea",
    " ",
    "pot ",
    "# no comment",
    " // nor this",
    "日本",
    "\U0001f375",
    "end",
    "a-b",
    "50%",
    "$x",
    "; ",
    ", ",
    ": ",
    "(",
    "]",
    "|",
)
PATTERNS = (
    (r"/ab+c/", "ab+c", ""), (r"/[a-z\/]+/i", r"[a-z\/]+", "i"), (r"/^\d{2,4}$/gm", r"^\d{2,4}$", "gm"),
    (r"/a|b/s", "a|b", "s"),
    (r"/[/]x/u", "[/]x", "u"), (r"/\s*#/", r"\s*#", ""),
)  # fmt: skip


class Literals(Draw):
    """Draws literals."""

    def number(self) -> Piece:
        """A plain number."""
        text, value = self.one(NUMBERS)
        return Piece(text, nodes.Number(AT, value, text))

    def unit(self) -> Piece:
        """A duration, a size, a percentage or a time ago."""
        kind = self.random.randrange(4)
        if kind == 0:
            text, value = self.one(UNITS)
            return Piece(text, nodes.Number(AT, value, text, "duration"))
        if kind == 1:
            text, size = self.one(SIZES)
            return Piece(text, nodes.Number(AT, size, text, "size"))
        if kind == 2:
            text, seconds = self.one(AGO)
            return Piece(text, nodes.TimeAgo(AT, seconds))
        text, part = self.one(PERCENTS)
        return Piece(text, nodes.Number(AT, part, text, "percent"))

    def constant(self) -> Piece:
        """`true false null` in all their spellings."""
        word = self.one(("true", "True", "false", "False", "null", "None", "none", "undefined"))
        value = {"true": True, "false": False}.get(word.lower())
        return Piece(word, nodes.Null(AT) if value is None else nodes.Bool(AT, value))

    def pattern(self) -> Piece | None:
        """A regular expression."""
        if self.slot:
            return None
        text, body, flags = self.one(PATTERNS)
        return Piece(text, nodes.Regex(AT, body, flags))

    # ------------------------------------------------------------ strings

    def quote(self) -> str | None:
        """A quote that may be used here."""
        free = [quote for quote in "\"'" if quote not in self.quotes]
        return self.one(free) if free else None

    def string(self) -> Piece | None:
        """A string in any of its forms."""
        quote = self.quote()
        if quote is None:
            return None
        kind = self.random.randrange(12)
        if kind == 0:
            return self._raw_string(quote)
        if kind < 4 and not self.flat:
            return self._long_string(quote)
        if kind < 8 or (quote == "'" and kind < 10):
            text, value = self._content(quote, 3)
            return Piece(f"{quote}{text}{quote}", nodes.Text(AT, value))
        return self._template(quote, formatted=quote == "'" or kind > 9)

    def text(self) -> Piece:
        """A plain string on one line, for places that take nothing else."""
        quote = self.quote() or '"'
        word = self.one(("tea", "pot ready", "x", "Friday 18h", "a b c", "日本"))
        return Piece(f"{quote}{word}{quote}", nodes.Text(AT, word))

    def _content(self, quote: str, most: int) -> tuple[str, str]:
        text = value = ""
        for _ in range(self.random.randint(0, most)):
            if self.chance(0.25) and not self.quotes:
                escape, meant = self.one(ESCAPES)
                if escape == r"\0":
                    self.count("string: an escape")
                text, value = text + escape, value + meant
            else:
                word = self.one(WORDS)
                text, value = text + word, value + word
        return text, value

    def _raw_string(self, quote: str) -> Piece:
        self.count("string: raw")
        text = self.one((r"a\nb", r"c:\x", "{x}", "", r"\d+ \q"))
        return Piece(f"r{quote}{text}{quote}", nodes.Text(AT, text))

    def _long_string(self, quote: str) -> Piece:
        self.count("string: over several lines")
        lines = [self._content(quote, 2) for _ in range(self.random.randint(1, 3))]
        inner = "'" if quote == '"' else '"'
        text = "\n".join(line[0] for line in lines)
        value = "\n".join(line[1] for line in lines)
        if self.chance(0.3):
            text, value = f"{inner}q{inner} " + text, f"{inner}q{inner} " + value
        marks = quote * 3
        return Piece(f"{marks}{text}{marks}", nodes.Text(AT, value))

    def _template(self, quote: str, *, formatted: bool) -> Piece:
        """A string that interpolates."""
        parts: list[str | nodes.Interpolation] = []
        out = ""

        def literal(text: str, value: str) -> None:
            nonlocal out
            out += text
            if value:
                before = parts.pop() if parts and isinstance(parts[-1], str) else ""
                parts.append(f"{before}{value}")

        for _ in range(self.random.randint(1, 3)):
            if self.chance(0.6):
                literal(*self._content(quote, 2))
            if formatted and self.chance(0.2):
                literal(*self.one((("{{", "{"), ("}}", "}"), ("{{x}}", "{x}"))))
            elif not formatted and self.chance(0.06):
                literal("{}", "{}")
            text, part = self._interpolation(quote, formatted)
            out += text
            parts.append(part)
        if self.chance(0.3):
            literal(*self._content(quote, 1))
        self.count("string: f" if formatted else "string: interpolates")
        return Piece(f"{'f' if formatted else ''}{quote}{out}{quote}", nodes.TextTemplate(AT, tuple(parts)))

    def _interpolation(self, quote: str, formatted: bool) -> tuple[str, nodes.Interpolation]:
        saved = self.role, self.flat, self.bare, self.slot, self.quotes
        self.role, self.flat, self.bare, self.slot = "value", self.flat + 1, self.bare + 1, 0
        self.quotes += quote
        try:
            if not formatted and self.chance(0.1):
                self.count("string: {{x}}")
                name = self.plain_name()
                return "{{" + name + "}}", nodes.Interpolation(AT, nodes.Name(AT, name))
            piece = self.simple() if formatted or len(self.quotes) > 1 or self.fuel <= 0 else self.expression(0)
            blank = " " if piece.text.startswith("{") else self.one(("", "", " "))
            text, spec = piece.text, None
            if self.chance(0.12) and piece.level >= 12:
                spec = self.one((".2f", ".0%", "d", "f", "e", ".3e"))
                self.count("string: a format")
            tail = f":{spec}" if spec else ""
            return "{" + blank + text + tail + ("" if tail else blank) + "}", nodes.Interpolation(AT, piece.node, spec)
        finally:
            self.role, self.flat, self.bare, self.slot, self.quotes = saved

    def simple(self) -> Piece:
        """An expression of a name or two and no bracket but a call's."""
        raise NotImplementedError

    def expression(self, level: int) -> Piece:
        """An expression that binds at least so tightly."""
        raise NotImplementedError
