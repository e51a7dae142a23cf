"""The numbers of events: rising in the order of publishing, whatever commits are under way meanwhile."""

from __future__ import annotations

from collections import deque

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from kernel.sequence import Sequence

ROOM = 16


class Numbering(RuleBasedStateMachine):
    """Events are published, and others are numbered for a commit that succeeds or fails later."""

    def __init__(self) -> None:
        super().__init__()
        self.sequence = Sequence(1_000, room=ROOM)
        self.newest = 1_000
        self.count = 0
        self.reserved: deque[tuple[int, int]] = deque()

    def number(self) -> int:
        try:
            return next(self.sequence.free)
        except StopIteration:
            return self.sequence.more(self.newest)

    @rule(count=st.sampled_from([1, 3, ROOM - 1, ROOM, ROOM + 5]))
    def publish(self, count: int) -> None:
        for _ in range(count):
            number = self.number()
            assert number > self.newest or (self.reserved and self.sequence.crowded(number))
            assert number >= self.newest
            self.newest = number
        self.count += count

    @rule(count=st.integers(1, 5))
    def reserve(self, count: int) -> None:
        self.reserved.append((self.sequence.reserve(count), count))

    @rule(fails=st.booleans())
    def commit(self, fails: bool) -> None:
        if not self.reserved:
            return
        first, count = self.reserved.popleft()
        assert first > self.newest
        if fails:
            self.sequence.release()
            return
        self.sequence.publish(first, count)
        self.newest = first + count - 1
        self.count += count

    def teardown(self) -> None:
        assert self.sequence.given == self.count


TestNumbering = Numbering.TestCase
TestNumbering.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)


def test_when_the_room_before_a_commit_is_used_up_events_share_a_number_and_it_is_known() -> None:
    sequence = Sequence(0)
    last = deque(sequence.free, maxlen=1)[0]
    first = sequence.reserve(1)
    assert [sequence.more(last), sequence.more(last)] == [last, last]
    assert sequence.crowded(last)
    sequence.publish(first, 1)
    assert next(sequence.free) == first + 1 > last
    assert not sequence.crowded(first)
