import pytest

from kernel.errors import ContractError
from kernel.versions import satisfies


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("1.2.3", "", True),
        ("1.2.3", ">=1.2", True),
        ("1.2.3", ">=1.2, <1.2.3", False),
        ("1.10.0", ">1.9", True),
        ("1.2.3", "1.2.3", True),
        ("1.2.3", "==1.2", False),
        ("1.2.0", "==1.2", True),
        ("1.2.0", "!=1.2.0", False),
        ("2.0.0", "~=1.2", False),
        ("1.9.9", "~=1.2", True),
        ("1.3.0", "~=1.2.1", False),
        ("1.0.0-rc.1", ">=1.0", False),
        ("1.0.0-rc.1", ">=1.0.0-rc.1", True),
    ],
)
def test_a_range_is_compared_number_by_number(version: str, wanted: str, fits: bool) -> None:
    assert satisfies(version, wanted) is fits


def test_what_is_no_range_is_refused_with_an_example() -> None:
    with pytest.raises(ContractError, match=">=1.2"):
        satisfies("1.0.0", "newest")
