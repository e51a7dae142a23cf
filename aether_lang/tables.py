"""The LALR tables of the grammar: made by Lark, kept as plain data in `tables.json` beside it, loaded without Lark.

    python -m aether_lang.tables

writes that file anew. It names the text of the grammar it was made from, so tables of another grammar are never used:
they are made again, which takes Lark and half a second."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

FORMAT = 1
_FILE = Path(__file__).with_name("tables.json")


class Tables(msgspec.Struct, frozen=True):
    """What the parser runs on. A row of `states` gives for a terminal the state to shift to (0 or above) or, below 0,
    the rule to reduce by (`-1 - rule`), and for the name of a rule the state behind it. A rule is its name, the number
    of its parts, and the method of the builder that makes its value; `""` hands on the only part. `starts` and `ends`
    are states by start symbol. `conflicts` says how often a shift was preferred to a reduction."""

    format: int
    grammar: str
    conflicts: int
    states: list[dict[str, int]]
    rules: list[tuple[str, int, str]]
    starts: dict[str, int]
    ends: dict[str, int]


def load() -> Tables:
    """The tables of the grammar as it is."""
    text = grammar_text()
    try:
        kept = _FILE.read_bytes()
    except OSError:
        kept = b""
    return read(kept, text) or build(text)


def read(kept: bytes, text: str) -> Tables | None:
    """The tables that were kept, None where they are not of that grammar."""
    try:
        tables = msgspec.json.decode(kept, type=Tables)
    except msgspec.MsgspecError:
        return None
    return tables if tables.format == FORMAT and tables.grammar == _hash(text) else None


def grammar_text() -> str:
    """The grammar as Lark reads it."""
    return _FILE.with_name("grammar.lark").read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def build(text: str) -> Tables:
    """The tables of a grammar, made by Lark."""
    import lark  # takes a while to load, and is needed for this alone
    from lark.lexer import Lexer
    from lark.parsers.lalr_analysis import Shift

    class NoLexer(Lexer):
        """The tokens come shaped; there is nothing to do."""

        def __init__(self, conf: object) -> None:
            pass

        def lex(self, lexer_state: object, parser_state: object) -> Iterator[lark.Token]:
            return iter(())

    said: list[str] = []

    def hear(record: Any) -> bool:
        said.append(str(record.msg))
        return False

    level = lark.logger.level
    lark.logger.addFilter(hear)
    lark.logger.setLevel("DEBUG")  # where Lark says which conflicts it resolves
    try:
        made = lark.Lark(text, parser="lalr", lexer=NoLexer, start=["start", "expr"])
    finally:
        lark.logger.removeFilter(hear)
        lark.logger.setLevel(level)
    table = made.parser.parser._parse_table
    ordered = sorted(made.rules, key=str)
    number = {rule: -1 - at for at, rule in enumerate(ordered)}
    rows = {
        state: {str(symbol): to if action is Shift else number[to] for symbol, (action, to) in sorted(row.items())}
        for state, row in table.states.items()
    }
    place = _places(rows, [table.start_states[name] for name in sorted(table.start_states)])
    states = [{symbol: place.get(to, to) for symbol, to in rows[state].items()} for state in place]
    rules = [(str(rule.origin.name), len(rule.expansion), _method(rule)) for rule in ordered]
    starts = {str(name): place[state] for name, state in sorted(table.start_states.items())}
    ends = {str(name): place[state] for name, state in sorted(table.end_states.items())}
    conflicts = sum("Shift/Reduce" in line for line in said)
    return Tables(FORMAT, _hash(text), conflicts, states, rules, starts, ends)


def _places(rows: dict[int, dict[str, int]], starts: list[int]) -> dict[int, int]:
    """The states in the order in which they are reached, since Lark numbers them otherwise each time."""
    place = {state: at for at, state in enumerate(starts)}
    for state in (queue := list(starts)):
        for to in rows[state].values():
            if to >= 0 and to not in place:
                place[to] = len(place)
                queue.append(to)
    return place


def _method(rule: Any) -> str:
    alias, options, origin = rule.alias, rule.options, rule.origin.name
    single = len(rule.expansion) == 1
    if origin.startswith("_") or (options.expand1 and not alias and not single):
        raise ValueError(f"the parser does not know rules such as '{origin}': name each alternative")
    return "" if options.expand1 and not alias else str(alias or origin)


def main() -> None:
    """Writes the tables."""
    tables = build(grammar_text())
    _FILE.write_bytes(msgspec.json.format(msgspec.json.encode(tables), indent=0) + b"\n")
    print(f"{len(tables.states)} states, {len(tables.rules)} rules, {tables.conflicts} conflicts")


if __name__ == "__main__":
    main()
