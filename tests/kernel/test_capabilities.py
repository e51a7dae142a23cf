import pytest

from kernel.bus import Bus
from kernel.capabilities import Caller, Chain, Decision, Gate
from kernel.contribution import Owned, Table
from kernel.errors import Denied
from kernel.metrics import Metrics
from kernel.testing import Recording, TestClock

ADA = Chain(Caller("user:ada", ("role:user",)))


def gate(decide, bus=None, kept=1_000) -> Gate:
    clock = TestClock()
    table = Table(decider=None if decide is None else Owned(decide, None))
    return Gate(bus or Bus(clock), clock, Metrics(), lambda: table, kept=kept)


def test_without_a_decider_the_answer_is_no() -> None:
    with pytest.raises(Denied, match="nothing decides"):
        gate(None).check(ADA, "memory:read:own")


def test_an_error_while_deciding_is_a_no_that_shows_nothing_of_it(caplog: pytest.LogCaptureFixture) -> None:
    def broken(chain, capability):
        raise RuntimeError("secret detail")

    with pytest.raises(Denied) as caught:
        gate(broken).check(ADA, "memory:read:own")
    assert "secret detail" not in caught.value.message
    assert "secret detail" in caplog.text


def test_a_yes_is_returned_with_its_rule() -> None:
    yes = Decision(True, "allowed", rule='"role:user"', source="default.toml:7", effect="read")
    assert gate(lambda chain, capability: yes).check(ADA, "memory:read:own") is yes


def test_what_declared_itself_read_cannot_write_whatever_the_policy_says() -> None:
    yes = Decision(True, "allowed", effect="staged")
    asked = gate(lambda chain, capability: yes)
    with pytest.raises(Denied, match="declared read cannot do what is staged"):
        asked.check(ADA, "memory:write:own", ceiling="read")
    assert asked.check(ADA, "memory:write:own", ceiling="staged") is yes


def test_a_refusal_is_kept_published_and_says_who_what_and_why() -> None:
    clock = TestClock()
    bus = Bus(clock)
    asked = gate(lambda chain, capability: Decision(False, "no rule allows it", source="default.toml:9"), bus)
    with Recording(bus, "capability.*") as seen, pytest.raises(Denied) as caught:
        asked.check(ADA.through("script:tea.aether"), "memory:write:own")
    assert "user:ada → script:tea.aether may not memory:write:own: no rule allows it (default.toml:9)" in str(
        caught.value
    )
    assert seen.events[0].data["capability"] == "memory:write:own"
    assert asked.denials[-1].chain == "user:ada → script:tea.aether"


def test_refusals_kept_are_bounded() -> None:
    asked = gate(None, kept=3)
    for number in range(5):
        with pytest.raises(Denied):
            asked.check(ADA, f"memory:read:{number}")
    assert [denial.capability for denial in asked.denials] == [f"memory:read:{n}" for n in (2, 3, 4)]


def test_a_chain_grows_by_each_member_once() -> None:
    chain = ADA.through("script:a.aether").through("plugin:b").through("script:a.aether")
    assert str(chain) == "user:ada → script:a.aether → plugin:b"
    assert ADA.via == ()
