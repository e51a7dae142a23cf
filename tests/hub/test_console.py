"""What a verb prints at a terminal."""

from pathlib import Path

import pytest

from hub.console import HubTerminal

ID = "12b986a4-b3e9-44b3-9e79-6b6254cfd11c"


def printed(capsys: pytest.CaptureFixture[str], *rows: tuple[object, ...]) -> list[str]:
    HubTerminal(Path("nowhere"), json=False).table(("job", "took", "error"), rows)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")


def test_only_the_last_column_of_a_table_is_cut_to_fit(capsys: pytest.CaptureFixture[str]) -> None:
    head, row = printed(capsys, (ID, "0.01 s", "a very long reason for the end of this job"))
    assert head.split() == ["job", "took", "error"]
    assert row.startswith(f" {ID}  0.01 s  a very")
    assert row.endswith("…")
    assert len(row) <= 60


def test_a_column_without_a_word_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, (ID, None, "late"), (ID, "", None)) == [
        f" job{' ' * 35}error",
        f" {ID}  late",
        f" {ID}",
    ]


def test_text_from_a_hub_is_shown_and_never_obeyed(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, ("[red]x[/]", "1", "y"))[1] == " [red]x[/]  1     y"


def test_a_table_without_rows_shows_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys)[0].split() == ["job", "took", "error"]
