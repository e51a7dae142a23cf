"""What a run asks people: `await approval` holds it until somebody who may cancel the job says yes or no (10).

A question is plain data beside a future, kept in the run's state, so that a reload of this plugin keeps both.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypedDict

from kernel import AetherraError, Conflict, NotFound

OPEN_MOST: Final = 20
"""Questions of one run that may be open at once."""


class Question(TypedDict):
    """One open question."""

    id: str
    text: str
    asked_at: float
    answer: asyncio.Future[bool]
    late: asyncio.TimerHandle | None


def ask(
    questions: dict[str, Question], text: str, *, now: float, seconds: float | None, late: AetherraError
) -> Question:
    """Open a question; its `answer` is the decision, or raises `late` after that many seconds."""
    for id in [id for id, one in questions.items() if one["answer"].done()]:
        del questions[id]
    if len(questions) >= OPEN_MOST:
        raise Conflict(f"the run has {OPEN_MOST} open questions, which is the most", details={"type": "ValueError"})
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bool] = loop.create_future()
    timer = None if seconds is None else loop.call_later(max(seconds, 0.0), _expire, answer, late)
    number = str(1 + max((int(id) for id in questions), default=0))
    questions[number] = Question(id=number, text=text, asked_at=now, answer=answer, late=timer)
    return questions[number]


def _expire(answer: asyncio.Future[bool], late: AetherraError) -> None:
    if not answer.done():
        answer.set_exception(late)


def decide(questions: dict[str, Question], approved: bool, id: str | None) -> Question:
    """Answer an open question, the only one where no `id` says which; return it.

    Raises `Conflict` where nothing is asked or several things are, and `NotFound` for an id that names none.
    """
    waiting = {key: one for key, one in questions.items() if not one["answer"].done()}
    if not waiting:
        raise Conflict("the job asks nothing", details={"open": []})
    if id is None and len(waiting) > 1:
        listed = [{"question": key, "text": one["text"]} for key, one in waiting.items()]
        raise Conflict("the job asks several things; say which `question` is meant", details={"open": listed})
    chosen = next(iter(waiting)) if id is None else id
    question = waiting.get(chosen)
    if question is None:
        raise NotFound(f"the job has no open question {chosen[:40]!r}", details={"open": sorted(waiting)})
    if question["late"] is not None:
        question["late"].cancel()
    question["answer"].set_result(approved)
    return question
