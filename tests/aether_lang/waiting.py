"""A host whose time passes only while a script waits."""

from typing import Any

from aether_lang.values import Place
from tests.aether_lang.running import Recorder


class Waiting(Recorder):
    """A recorder with a clock that `sleep` moves; `slept` are the waits in their order."""

    def __init__(self, **answers: Any) -> None:
        super().__init__(**answers)
        self.now = 1000.0
        self.slept: list[float] = []

    def call(self, capability: str, operation: str, args: dict[str, Any], position: Place) -> Any:
        if operation == "time.sleep":
            self.slept.append(round(args["seconds"], 6))
            self.now += args["seconds"]
            return None
        return self.now if operation == "time.now" else super().call(capability, operation, args, position)
