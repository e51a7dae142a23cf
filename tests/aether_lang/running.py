"""Scripts run in this process, on a host that answers what a test prepared."""

import io
from typing import Any

from aether_lang.compiler import compile_module
from aether_lang.host import LocalHost
from aether_lang.parser import parse
from aether_lang.program import Outcome, run
from aether_lang.values import Place


class Recorder(LocalHost):
    """A local host that also answers what a test prepared, and keeps every call."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(seed=1, clock=lambda: 1000.0, sleep=lambda _: None, out=io.StringIO())
        self.answers = {name.replace("__", "."): answer for name, answer in answers.items()}
        self.calls: list[tuple[str, str, dict[str, Any]]] = []

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        self.calls.append((capability, operation, args))
        if operation in self.answers:
            answer = self.answers[operation]
            if isinstance(answer, Exception):
                raise answer
            return answer(args) if callable(answer) else answer
        return super().call(capability, operation, args, position)


def script(source: str, host: LocalHost | None = None, **options: Any) -> Outcome:
    """How a run of the source ended."""
    return run(compile_module(parse(source, "test.aether")), host or Recorder(), **options)


def result(source: str, host: LocalHost | None = None, **options: Any) -> Any:
    """What a run of the source gave."""
    ended = script(source, host, **options)
    assert ended.state == "completed", ended.error or ended.private
    return ended.result


def error(source: str, host: LocalHost | None = None, **options: Any) -> dict[str, Any]:
    """The error a run of the source ended with."""
    ended = script(source, host, **options)
    assert ended.error is not None, ended.result
    return ended.error
