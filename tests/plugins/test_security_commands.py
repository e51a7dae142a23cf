"""The verbs `aether policy explain`, `check`, `diff` and `test`, as a person at a terminal meets them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from whole_hub import whole_hub

from hub.console import HubTerminal
from hub.verbs import plugin_verbs
from kernel.testing import kernel_config

Run = Callable[..., Result]
ROOT = Path(__file__).resolve().parents[2]
EXPECTATIONS = sorted((ROOT / "policies" / "expectations").glob("*.toml"))
EXAMPLES = sorted((ROOT / "policies" / "examples").glob("*.toml"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def verbs(home: Path) -> click.Command:
    """Return the group `aether policy` of a home without a hub, under the policy that ships."""
    return plugin_verbs(kernel_config(home, bundled=["security"]))["policy"]


@pytest.fixture
def policy(verbs: click.Command) -> Run:
    """Return a function that runs `aether policy ...`, which must end with the status given."""

    def run(*arguments: str, status: int = 0) -> Result:
        done = CliRunner().invoke(verbs, arguments)
        assert done.exit_code == status, (done.output, done.exception)
        return done

    return run


def test_a_no_is_explained_member_by_member_with_what_would_change_it(policy: Run, home: Path) -> None:
    said = policy("explain", "user:local", "net:http:example.org", "--through", "script:a.aether", status=1).output
    lines = said.splitlines()
    assert lines[0] == "no: user:local → script:a.aether may not net:http:example.org"
    assert "  user:local       no   no rule allows net:http:example.org for user:local, as role:user" in lines
    assert '  default.toml, [capabilities.allow]: add "script:a.aether" = ["net:http:example.org"]' in lines
    assert lines[-1] == f"judged by the files in {home}/policies; no hub runs"
    again = next(line for line in lines if line.startswith("Try it first: aether policy "))
    tried = policy(*again.removeprefix("Try it first: aether policy ").split())
    assert tried.output.startswith("yes: user:local → script:a.aether may net:http:example.org")


def test_a_yes_is_status_0_and_data_where_it_is_asked_for(policy: Run) -> None:
    found = json.loads(policy("explain", "user:local", "memory:write:own", "--offline", "--json").output)
    assert (found["allowed"], found["rule"]) == (True, 'allow "role:user" = "memory:*:own"')
    assert "no hub was asked" in found["judged_by"]


def test_the_roles_of_an_account_can_be_supposed(policy: Run) -> None:
    said = policy("explain", "user:ada", "memory:write:own", status=1).output
    assert "without a hub the roles of an account are not known" in said
    policy("explain", "user:ada", "memory:write:own", "--with", "role=user")


def test_a_folder_is_checked_as_the_hub_would(policy: Run, tmp_path: Path) -> None:
    assert re.search(r"ok, \d+ rules from default\.toml\n", policy("check").output)
    (tmp_path / "default.toml").write_bytes((ROOT / "policies" / "default.toml").read_bytes())
    (tmp_path / "a.toml").write_text('[capabilities.allow]\n"user:ada" = ["memory:raed"]\n')
    (tmp_path / "b.toml").write_text("[netwrok]\n")
    said = policy("check", str(tmp_path), status=1).output.splitlines()
    assert said[0] == "a.toml:2: there is no right 'memory:raed'; did you mean 'memory:read'?"
    assert said[1].startswith("b.toml:1: there is no 'netwrok'")
    found = json.loads(policy("check", str(tmp_path), "--json", status=1).output)
    assert [(m["file"], m["line"]) for m in found["mistakes"]] == [("a.toml", 2), ("b.toml", 1)]
    assert "cannot be read" in policy("check", str(tmp_path / "nowhere"), status=1).output


def test_a_policy_under_which_the_hub_could_not_run_is_no_good_policy(policy: Run, tmp_path: Path) -> None:
    (tmp_path / "default.toml").write_text('version = 1\n[capabilities.allow]\n"role:user" = ["*"]\n')
    assert "the hub could not run" in policy("check", str(tmp_path), status=1).output


def test_a_diff_shows_rules_lists_limits_and_the_decisions_that_turn(policy: Run, tmp_path: Path) -> None:
    shipped = (ROOT / "policies" / "default.toml").read_text()
    changed = shipped.replace(
        '"anonymous"              = ["health:read"]', '"anonymous" = ["health:read", "metrics:read"]'
    )
    changed = changed.replace("denylist  = []", 'denylist = ["*.bad.example"]').replace("ai_calls = 50", "ai_calls = 5")
    (tmp_path / "default.toml").write_text(changed)
    said = policy("diff", str(tmp_path), status=1).output.splitlines()
    line = changed[: changed.index('"anonymous" =')].count("\n") + 1
    assert f'  + allow "anonymous" = "metrics:read"  (default.toml:{line})' in said
    assert "  + ai_calls = 5  (default.toml)" in said
    assert "  - ai_calls = 50  (default.toml)" in said
    assert "[network.denylist]" in said
    at = said.index("  anonymous")
    assert said[at + 1] == f"    no → yes  metrics:read  (default.toml:{line})"
    assert len(said) == at + 2, "no other decision turns"
    assert "nothing differs" in policy("diff").output
    assert "nothing differs" in policy("diff", str(tmp_path), str(tmp_path)).output
    found = json.loads(policy("diff", str(tmp_path), "--json", status=1).output)
    assert [(t["principal"], t["capability"], t["allowed"]) for t in found["decisions"]] == [
        ("anonymous", "metrics:read", True)
    ]


@pytest.mark.parametrize("path", EXPECTATIONS, ids=lambda path: path.stem)
def test_what_ships_is_what_its_expectations_say(policy: Run, path: Path) -> None:
    assert " as expected, by " in policy("test", str(path)).output


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_it_is_used_compiles_so_and_has_expectations(
    policy: Run, path: Path, tmp_path: Path
) -> None:
    text = path.read_text()
    beside = "copy it beside default.toml" in text
    assert beside or "copy it over default.toml" in text
    assert path.name in {one.name for one in EXPECTATIONS}
    (tmp_path / "default.toml").write_bytes((ROOT / "policies" / "default.toml").read_bytes())
    (tmp_path / (path.name if beside else "default.toml")).write_text(text)
    assert ": ok, " in policy("check", str(tmp_path)).output


def test_an_expectation_that_fails_is_told_with_its_line_and_the_explanation(policy: Run, tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text(
        '[[expect]]\nprincipal = "user:local"\ncapability = ["memory:read:own", "plugin:manage"]\nallowed = true\n\n'
        '[[expect]]\nprincipal = "user:local"\ncapability = "memory:read:own"\nallowed = true\nsource = "team.toml"\n'
        '[[expect]]\nprincipal = "user:local"\ncapability = "fs:read"\nallowed = false\nreason = "a full moon"\n'
    )
    said = policy("test", str(file), status=1).output
    assert f"{file}:1: expected yes, got no\n  no: user:local may not plugin:manage\n" in said
    assert f"{file}:6: expected team.toml to decide, and default.toml:" in said
    assert f"{file}:11: expected a reason with 'a full moon'" in said
    assert said.splitlines()[-1].startswith("1 of 4 as expected")
    assert 'add "user:local" = ["plugin:manage"]' in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("oops", "expected.toml: no file of expectations"),
        ('[[expect]]\nprincipal = "user:local"\nallowed = true\n', "capability"),
        ('[[expect]]\nprincipal = "user:a"\ncapability = "x:y"\nalowed = true\nallowed = true\n', "alowed"),
        ('[[expect]]\nprincipal = "usr:a"\ncapability = "x:y"\nallowed = true\n', "line 1: 'usr:a' is no principal"),
        ('policy = ["gone.toml"]\nexpect = []\n', "gone.toml: cannot be read"),
    ],
)
def test_a_file_that_holds_no_expectations_says_what_is_wrong(
    policy: Run, tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "expected.toml"
    file.write_text(text)
    done = policy("test", str(file), status=1)
    assert said in str(done.exception)


async def test_a_running_hub_is_asked_for_the_policy_in_force(
    security: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with whole_hub(tmp_path) as server:
        config = server.kernel.config
        async with HubTerminal(tmp_path, json=True, config=config) as terminal:

            async def said(verb: Any, *arguments: Any, **options: Any) -> tuple[int | None, Any]:
                status = await verb(terminal, *arguments, **options)
                return status, json.loads(capsys.readouterr().out)

            commands = security.commands
            status, found = await said(commands.explain, "user:local", "plugin:manage", [], ["role=admin"], False)
            assert (status, found["judged_by"], found["allowed"]) == (0, "the hub that runs", True)
            status, found = await said(commands.diff)
            assert (status, found["from"], found["same"]) == (None, "the policy in force", True)
            # An edit with a mistake leaves the policy in force as it is: the diff is with what still counts.
            file = config.paths.policies / "default.toml"
            text = file.read_text()
            changed = tmp_path / "other.toml"
            changed.write_text(text.replace('"anonymous"              = ["health:read"]', '"anonymous" = []'))
            file.write_text("oops")
            status, found = await said(commands.diff, str(changed))
            assert status == 1
            assert [(t["principal"], t["capability"]) for t in found["decisions"]] == [("anonymous", "health:read")]
