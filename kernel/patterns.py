"""Topics and the patterns that fit them.

A topic is dotted words. A pattern is a topic in which `*` stands for any one word and a last `#` for the rest, which
may be empty.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from kernel.errors import BadInput

_WORD = r"[^\s.*#]+"
_TOPIC = re.compile(rf"{_WORD}(\.{_WORD})*")
_PATTERN = re.compile(rf"(({_WORD}|\*)(\.({_WORD}|\*))*(\.#)?|#)")
_TOPIC_CHARS = 255
_REMEMBERED = 4_096


def check_topic(topic: str) -> None:
    """Raise `BadInput` unless `topic` is dotted words without blanks, `*` or `#`, of at most 255 characters."""
    if not isinstance(topic, str) or len(topic) > _TOPIC_CHARS or not _TOPIC.fullmatch(topic):
        raise BadInput(
            f"a topic is dotted words such as job.finished, at most {_TOPIC_CHARS} characters; got {str(topic)[:80]!r}"
        )


def check_pattern(pattern: str) -> None:
    """Raise `BadInput` unless `pattern` is dotted words, `*` for any one of them, `#` for the rest and only last."""
    if not isinstance(pattern, str) or len(pattern) > _TOPIC_CHARS or not _PATTERN.fullmatch(pattern):
        raise BadInput(
            "a topic pattern is dotted words, * for any one word, # for the rest and only at the end, "
            f"at most {_TOPIC_CHARS} characters, such as job.* or memory.#; got {str(pattern)[:80]!r}"
        )


def matcher(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Return whether a topic fits any of the patterns; answers are remembered by topic, up to a bound."""
    given = tuple(patterns)
    for pattern in given:
        check_pattern(pattern)
    if "#" in given:
        return lambda topic: True
    if not given:
        return lambda topic: False
    fitting = re.compile("|".join(map(_regex, given))).fullmatch
    known: dict[str, bool] = {}

    def fits(topic: str) -> bool:
        if (answer := known.get(topic)) is None:
            if len(known) >= _REMEMBERED:
                known.clear()
            answer = known[topic] = fitting(topic) is not None
        return answer

    return fits


def covers(wide: str, narrow: str) -> bool:
    """Tell whether every topic that fits the pattern `narrow` fits the pattern `wide` as well."""
    # A topic has at least one word.
    wide_words, narrow_words = wide.split("."), ("*.#" if narrow == "#" else narrow).split(".")
    for index, word in enumerate(wide_words):
        if word == "#":
            return True
        if index == len(narrow_words):
            return False
        other = narrow_words[index]
        if other == "#" or (word != "*" and word != other):
            return False
    return len(wide_words) == len(narrow_words)


def in_sql(patterns: Iterable[str], column: str) -> tuple[str, list[str]]:
    """Return a condition of SQL, with its parameters, that holds for every topic that fits any of the patterns.

    It may hold for others as well: what it lets through is still to be matched.
    """
    conditions, parameters = [], []
    for pattern in patterns:
        words = pattern.split(".")
        literal = next((n for n, word in enumerate(words) if word in ("*", "#")), len(words))
        start = ".".join(words[:literal])
        if not literal:
            return "1", []
        if literal == len(words):
            conditions.append(f"{column} = ?")
            parameters.append(start)
            continue
        # What begins with `a.b.` sorts from `a.b.` on and before `a.b/`: the slash is the character after the dot.
        below = f"{column} >= ? AND {column} < ?"
        conditions.append(f"({column} = ? OR {below})" if words[literal] == "#" else f"({below})")
        parameters += [start] * (words[literal] == "#") + [f"{start}.", f"{start}/"]
    return f"({' OR '.join(conditions)})", parameters


def _regex(pattern: str) -> str:
    words = [r"[^.]+" if word == "*" else re.escape(word) for word in pattern.removesuffix(".#").split(".")]
    return r"\.".join(words) + (r"(\..+)?" if pattern.endswith(".#") else "")
