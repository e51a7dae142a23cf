"""The machine that runs LALR tables over tokens and has a builder make a value of each reduction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .tables import Tables
from .tokens import Token

Make = Callable[[list[Any]], Any]


class Unexpected(Exception):
    """A token that cannot stand where it stands; `expected` are the terminals that could."""

    def __init__(self, token: Token, expected: set[str]) -> None:
        super().__init__(token.type)
        self.token = token
        self.expected = expected


class Machine:
    """Tables with the methods of a builder."""

    def __init__(self, tables: Tables, builder: object) -> None:
        self.states = tables.states
        self.starts = tables.starts
        self.ends = tables.ends
        self.rules: list[tuple[str, int, Make | None]] = [
            (name, size, getattr(builder, method) if method else None) for name, size, method in tables.rules
        ]


class Run:
    """One pass over tokens. After an exception `at` is the place of the token it met; the caller may cut the stacks,
    move `at`, and go on."""

    def __init__(self, machine: Machine, start: str) -> None:
        self.machine = machine
        self.end_state = machine.ends[start]
        self.states = [machine.starts[start]]
        self.values: list[Any] = []
        self.at = 0

    def feed(self, tokens: list[Token]) -> None:
        """Takes the tokens from the place `at` on. Raises `Unexpected`, and whatever the builder raises."""
        table, rules, states, values = self.machine.states, self.machine.rules, self.states, self.values
        for at in range(self.at, len(tokens)):
            self.at = at
            token = tokens[at]
            type = token.type
            while (action := table[states[-1]].get(type)) is None or action < 0:
                if action is None:
                    raise Unexpected(token, self._expected())
                name, size, make = rules[~action]
                if make is None:
                    states[-1] = table[states[-2]][name]
                    continue
                parts = values[-size:] if size else []
                del states[len(states) - size :], values[len(values) - size :]
                values.append(make(parts))
                states.append(table[states[-1]][name])
            states.append(action)
            values.append(token)
        self.at = len(tokens)

    def finish(self, end: Token) -> Any:
        """The value of the whole, where `end` stands for the end of the text."""
        table, rules, states, values = self.machine.states, self.machine.rules, self.states, self.values
        while states[-1] != self.end_state:
            action = table[states[-1]].get("$END", 0)
            if action >= 0:
                raise Unexpected(end, self._expected())
            name, size, make = rules[~action]
            parts = values[len(values) - size :]
            del states[len(states) - size :], values[len(values) - size :]
            values.append(parts[0] if make is None else make(parts))
            states.append(table[states[-1]][name])
        return values[-1]

    def _expected(self) -> set[str]:
        return {name for name in self.machine.states[self.states[-1]] if name.isupper() and self._may_come(name)}

    def _may_come(self, terminal: str) -> bool:
        """Would that terminal be taken here? A state lists what fits in any of the places that share it."""
        table, rules, states = self.machine.states, self.machine.rules, self.states.copy()
        while (action := table[states[-1]].get(terminal)) is not None:
            if action >= 0:
                return True
            name, size, _ = rules[~action]
            del states[len(states) - size :]
            states.append(table[states[-1]][name])
        return False

    def unwind(self, terminal: str) -> None:
        """Cuts the stacks back to the last state in which that terminal may come, but not into a complete block."""
        table, states, values = self.machine.states, self.states, self.values
        # A reduction that raised has already left the stacks.
        closed = 0
        while closed or terminal not in table[states[-1]]:
            states.pop()
            value = values.pop()
            if isinstance(value, Token):
                closed += (value.type == "FINISH") - (closed > 0 and value.type == "BEGIN")
