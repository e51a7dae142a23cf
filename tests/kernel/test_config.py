"""The layers of settings: which one wins, what is refused and how the refusal reads, and where everything lies."""

from __future__ import annotations

import ast
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.settings import HubSettings
from kernel.command import load_settings, loaded
from kernel.config import ALIASES, Config, Paths, Setting
from kernel.errors import ConfigError
from kernel.folders import plugin_folders
from kernel.settings import KERNEL_SECTIONS, Limits

ROOT = Path(__file__).resolve().parents[2]


class Tls(msgspec.Struct, frozen=True):
    certificate: Path | None = None
    versions: tuple[str, ...] = ("1.3",)


class Hub(msgspec.Struct, frozen=True):
    host: str = "127.0.0.1"
    port: int = 3001
    allow_insecure_bind: bool = False
    allowed_hosts: list[str] = []
    idle_s: float = 30.0
    session_token: str = ""
    tls: Tls = Tls()


class Greeting(msgspec.Struct, frozen=True):
    greeting: str = "Hello"
    times: int = 1


class Strict(msgspec.Struct, frozen=True):
    endpoint: str


class Ordered(msgspec.Struct, frozen=True):
    low: int = 1
    high: int = 2

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not be above high")


def load(
    folder: Path,
    toml: str | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Config:
    paths = Paths.find(home=folder, environ={})
    if toml is not None:
        (folder / "aetherra.toml").write_text(toml)
    return Config.load(sections={"hub": Hub}, file=None, environ=environ or {}, overrides=overrides or {}, paths=paths)


def refused(folder: Path, *args: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, *args)
    return caught.value


def origin(config: Config, key: str) -> str:
    return next(setting.origin for setting in config.effective() if setting.key == key)


def test_without_anything_given_the_defaults_hold(tmp_path: Path) -> None:
    config = load(tmp_path)
    assert config.hub == Hub()
    assert config.limits == Limits()
    assert {setting.origin for setting in config.effective() if setting.key != "paths.home"} == {"default"}


def test_each_layer_wins_over_the_one_below(tmp_path: Path) -> None:
    toml = "[hub]\nport = 1\n"
    variables = {"AETHERRA_API_PORT": "2"}
    assert load(tmp_path, toml).hub.port == 1
    assert load(tmp_path, toml, variables).hub.port == 2
    variables["AETHERRA_HUB_PORT"] = "3"
    assert load(tmp_path, toml, variables).hub.port == 3
    config = load(tmp_path, toml, variables, {"hub.port": 4})
    assert config.hub.port == 4
    assert origin(config, "hub.port") == "--port"


ports = st.none() | st.integers(1, 65535)


@given(file=ports, alias=ports, variable=ports, option=ports)
def test_the_strongest_layer_that_has_a_value_decides_it_and_is_named(
    tmp_path_factory: pytest.TempPathFactory,
    file: int | None,
    alias: int | None,
    variable: int | None,
    option: int | None,
) -> None:
    folder = tmp_path_factory.mktemp("home")
    names = {"AETHERRA_API_PORT": alias, "AETHERRA_HUB_PORT": variable}
    environ = {name: str(port) for name, port in names.items() if port is not None}
    toml = "" if file is None else f"# a comment\n[hub]\nport = {file}\n"
    config = load(folder, toml, environ, {"hub.port": option})
    ladder = [
        (option, "--port"),
        (variable, "AETHERRA_HUB_PORT"),
        (alias, "AETHERRA_API_PORT"),
        (file, "aetherra.toml:3"),
    ]
    expected = next(((port, name) for port, name in ladder if port is not None), (3001, "default"))
    assert (config.hub.port, origin(config, "hub.port")) == expected


def test_layers_merge_setting_by_setting_also_in_nested_tables(tmp_path: Path) -> None:
    toml = '[hub]\nhost = "::1"\n[hub.tls]\ncertificate = "~/c.pem"\n'
    config = load(tmp_path, toml, {"AETHERRA_HUB_TLS_VERSIONS": "1.2, 1.3"})
    assert config.hub.host == "::1"
    assert config.hub.tls == Tls(Path("~/c.pem").expanduser(), ("1.2", "1.3"))
    assert origin(config, "hub.tls.certificate") == "aetherra.toml:4"


@pytest.mark.parametrize(
    ("variable", "text", "read", "value"),
    [
        ("AETHERRA_HUB_ALLOW_INSECURE_BIND", "1", lambda c: c.hub.allow_insecure_bind, True),
        ("AETHERRA_ALLOW_INSECURE_BIND", "true", lambda c: c.hub.allow_insecure_bind, True),
        ("AETHERRA_ALLOW_INSECURE_BIND", "0", lambda c: c.hub.allow_insecure_bind, False),
        ("AETHERRA_API_HOST", "::1", lambda c: c.hub.host, "::1"),
        ("AETHERRA_HUB_HOST", "12", lambda c: c.hub.host, "12"),
        ("AETHERRA_HUB_IDLE_S", "1.5", lambda c: c.hub.idle_s, 1.5),
        (
            "AETHERRA_HUB_ALLOWED_HOSTS",
            "a.example, b.example,",
            lambda c: c.hub.allowed_hosts,
            ["a.example", "b.example"],
        ),
        ("AETHERRA_HUB_ALLOWED_HOSTS", "", lambda c: c.hub.allowed_hosts, []),
        ("AETHERRA_LIMITS_DRAIN_S", "3", lambda c: c.limits.drain_s, 3.0),
        ("AETHERRA_NET_STRICT", "1", lambda c: c.network.strict, True),
        (
            "AETHERRA_NETWORK_ALLOWLIST",
            "localhost,127.0.0.1",
            lambda c: c.network.allowlist,
            ("localhost", "127.0.0.1"),
        ),
    ],
)
def test_text_of_the_environment_is_read_by_the_type_of_the_setting(
    tmp_path: Path, variable: str, text: str, read: Any, value: Any
) -> None:
    assert read(load(tmp_path, None, {variable: text})) == value


def test_an_unknown_key_is_refused_with_its_file_its_line_and_the_nearest_name(tmp_path: Path) -> None:
    error = refused(tmp_path, '[hub]\nhost = "::1"\n\nprot = 1\n')
    assert error.message == f"{tmp_path}/aetherra.toml:4: [hub] has no setting 'prot'; did you mean 'port'?"
    assert error.details == {"key": "hub.prot", "file": f"{tmp_path}/aetherra.toml", "line": 4, "nearest": "port"}


def test_a_wrong_type_is_refused_with_what_was_expected_and_what_came(tmp_path: Path) -> None:
    error = refused(tmp_path, '[hub]\nport = "3001"\n')
    assert error.message == f"{tmp_path}/aetherra.toml:2: hub.port: expected `int`, got `str` (it is '3001')"


@pytest.mark.parametrize(
    ("toml", "line", "part"),
    [
        ("[hbu]\nport = 1\n", 1, "there is no section [hbu]; did you mean 'hub'?"),
        ("prot = 1\n", 1, "there is no setting 'prot' outside a section"),
        ("[hub.tls]\nversion = []\n", 2, "did you mean 'versions'?"),
        ("[hub.tls]\nversions = [1]\n", 2, "expected `str`, got `int`"),
        ("hub = 3\n", 1, "hub must be a table, written as [hub]"),
        ("[hub]\ntls = 3\n", 2, "hub.tls must be a table"),
        ("[limits]\nring = 0\n", 2, "expected `int` >= 1"),
        ("[limits]\ndrain_s = true\n", 2, "expected `float`, got `bool`"),
        ('[hub]\nallowed_hosts = [\n  "a",\n]\nidle = 1\n', 5, "[hub] has no setting 'idle'"),
        ('[hub]\nhost = """\n[x]\n"""\nidle = 1\n', 5, "[hub] has no setting 'idle'"),
        ("hub = { port = 1, prot = 2 }\n", 1, "did you mean 'port'?"),
        ("[paths]\nhome = '/x'\n", 2, "HOME is where this file lies; it is named with --home"),
        ("[paths]\nscript = '/x'\n", 2, "[paths] has no setting 'script'; did you mean 'scripts'?"),
        ("[paths]\ntrusted = '/x'\n", 2, "paths.trusted: expected `array`"),
        ("[paths]\n\nplugins = 3\n", 3, "paths.plugins: expected `str`, got `int`"),
        ("[paths]\ndemo = 'yes'\n", 2, "paths.demo: expected `bool`, got `str`"),
        ("paths = 3\n", 1, "written as [paths]"),
        ("plugins = 3\n", 1, "written as [plugins.NAME]"),
        ("[plugins]\nhello = 3\n", 1, "written as [plugins.NAME]"),
        ("[hub]\nport = \n", 2, "not valid TOML"),
        ("[hub]\nport = 1\n[hub]\n", 3, "not valid TOML"),
    ],
)
def test_a_mistake_in_the_file_is_named_with_its_line(tmp_path: Path, toml: str, line: int, part: str) -> None:
    error = refused(tmp_path, toml)
    assert error.message.startswith(f"{tmp_path}/aetherra.toml:{line}: ")
    assert part in error.message


@pytest.mark.parametrize(
    ("environ", "part"),
    [
        ({"AETHERRA_HUB_PROT": "1"}, "AETHERRA_HUB_PROT is no variable of this hub; did you mean 'AETHERRA_HUB_PORT'?"),
        ({"AETHERRA_AI_API_TOKN": "1"}, "did you mean 'AETHERRA_AI_API_TOKEN'?"),
        ({"AETHERRA_HUB_PORT": "http"}, "AETHERRA_HUB_PORT: hub.port: expected `int`, got `str` (it is 'http')"),
        ({"AETHERRA_NET_STRICT": "maybe"}, "AETHERRA_NET_STRICT: network.strict: expected `bool`"),
    ],
)
def test_a_mistake_in_the_environment_is_named(tmp_path: Path, environ: dict[str, str], part: str) -> None:
    assert part in refused(tmp_path, None, environ).message


def test_a_mistake_of_the_command_line_is_named(tmp_path: Path) -> None:
    assert "did you mean 'hub.port'?" in refused(tmp_path, None, None, {"hub.prot": 1}).message
    assert refused(tmp_path, None, None, {"hub.port": "x"}).message.startswith(
        "command line, --port: hub.port: expected"
    )


def test_documented_variables_of_parts_that_are_not_there_warn_instead_of_failing(tmp_path: Path) -> None:
    config = load(tmp_path, None, {"AETHERRA_AI_API_ENABLED": "s3cret", "AETHERRA_KEYS_MASTER": "k"})
    assert len(config.warnings) == 2
    assert config.warnings[0].startswith("AETHERRA_AI_API_ENABLED has no effect in this version: ")
    assert not any("s3cret" in warning for warning in config.warnings)


def test_variables_of_paths_tests_and_other_programs_are_left_alone(tmp_path: Path) -> None:
    names = ("AETHERRA_HOME", "AETHERRA_SCRIPT_PATH", "AETHERRA_CRASHPOINT", "AETHERRA_TEST_REQUIRE", "HUB_PORT")
    config = load(tmp_path, None, dict.fromkeys(names, "x"))
    assert config.warnings == ()


def test_a_plugin_reads_its_own_table_and_the_layers_above_it(tmp_path: Path) -> None:
    toml = '[plugins.hello]\ngreeting = "Hi"\n'
    config = load(tmp_path, toml, {"AETHERRA_PLUGINS_HELLO_TIMES": "3"})
    assert config.plugin("hello", Greeting) == Greeting("Hi", 3)
    assert config.plugin("hello", Greeting) == Greeting("Hi", 3), "a reload asks again"
    assert config.plugin("silent", Greeting) == Greeting()
    assert Setting("plugins.hello.greeting", "Hi", "aetherra.toml:2") in config.effective()
    assert Setting("plugins.hello.times", 3, "AETHERRA_PLUGINS_HELLO_TIMES") in config.effective()


@pytest.mark.parametrize(
    ("toml", "environ", "overrides", "part"),
    [
        ("[plugins.hello]\n\ngreting = 1\n", {}, {}, "aetherra.toml:3: [plugins.hello] has no setting 'greting'"),
        ("[plugins.hello]\ntimes = 'x'\n", {}, {}, "aetherra.toml:2: plugins.hello.times: expected `int`, got `str`"),
        ("", {"AETHERRA_PLUGINS_HELLO_GRETING": "x"}, {}, "did you mean 'AETHERRA_PLUGINS_HELLO_GREETING'?"),
        ("", {}, {"plugins.hello.tims": 1}, "did you mean 'plugins.hello.times'?"),
    ],
)
def test_a_mistake_in_a_plugins_settings_is_refused_when_it_asks(
    tmp_path: Path, toml: str, environ: dict[str, str], overrides: dict[str, Any], part: str
) -> None:
    config = load(tmp_path, toml, environ, overrides)
    with pytest.raises(ConfigError) as caught:
        config.plugin("hello", Greeting)
    assert part in caught.value.message


def test_what_no_plugin_asked_for_is_listed(tmp_path: Path) -> None:
    config = load(
        tmp_path, "[plugins.hello]\n[plugins.helo]\n", {"AETHERRA_PLUGINS_HELLO_API_X": "1"}, {"plugins.other.y": 1}
    )
    config.plugin("hello", Greeting)
    assert config.unclaimed() == ["AETHERRA_PLUGINS_HELLO_API_X", "plugins.helo", "plugins.other.y"]


def test_a_setting_without_a_default_must_be_given(tmp_path: Path) -> None:
    config = load(tmp_path)
    with pytest.raises(ConfigError, match=r"plugins\.far\.endpoint has no default .* AETHERRA_PLUGINS_FAR_ENDPOINT"):
        config.plugin("far", Strict)


def test_a_rule_over_several_settings_names_where_they_were_set(tmp_path: Path) -> None:
    config = load(tmp_path, "[plugins.ordered]\nlow = 9\n")
    with pytest.raises(ConfigError, match=r"low must not be above high \(set by: aetherra\.toml:2\)"):
        config.plugin("ordered", Ordered)


class Colour:
    """A type that no layer can give a value of."""


class Painted(msgspec.Struct, frozen=True):
    colour: Colour | None = None


def test_a_setting_of_a_type_that_cannot_be_read_is_refused_with_its_key(tmp_path: Path) -> None:
    config = load(tmp_path, '[plugins.painted]\ncolour = "red"\n')
    with pytest.raises(ConfigError, match=r"aetherra.toml:2: plugins.painted.colour: a setting of type Colour cannot"):
        config.plugin("painted", Painted)


def test_secrets_are_shown_as_stars_and_never_in_a_refusal(tmp_path: Path) -> None:
    config = load(tmp_path, '[hub]\nsession_token = "abc"\n')
    assert Setting("hub.session_token", "***", "aetherra.toml:2") in config.effective()
    assert config.hub.session_token == "abc"
    assert "12345" not in refused(tmp_path, "[hub]\nsession_token = 12345\n").message


def test_a_named_file_must_exist_while_the_one_in_home_need_not(tmp_path: Path) -> None:
    paths = Paths.find(home=tmp_path, environ={})
    with pytest.raises(ConfigError, match="there is no such file"):
        Config.load(sections={}, file=tmp_path / "other.toml", environ={}, overrides={}, paths=paths)


def test_a_file_that_is_too_large_or_no_text_is_refused(tmp_path: Path) -> None:
    assert "larger than 256 KiB" in refused(tmp_path, "#" * (256 * 1024 + 1)).message
    (tmp_path / "aetherra.toml").write_bytes(b"\xff")
    assert "not UTF-8" in refused(tmp_path).message
    assert "nested too deeply" in refused(tmp_path, "x = " + "[" * 100_000).message


def test_a_section_of_the_caller_may_extend_one_of_the_kernel(tmp_path: Path) -> None:
    class HubLimits(Limits, frozen=True):
        requests_per_minute: int = 60_000

    (tmp_path / "aetherra.toml").write_text("[limits]\nring = 5\nrequests_per_minute = 7\n")
    paths = Paths.find(home=tmp_path, environ={})
    config = Config.load(sections={"limits": HubLimits}, file=None, environ={}, overrides={}, paths=paths)
    assert config.limits == HubLimits(ring=5, requests_per_minute=7)


def test_an_unknown_section_is_an_attribute_error_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(AttributeError, match="did you mean 'limits'"):
        _ = load(tmp_path).limit


# Paths -------------------------------------------------------------------------------------------------------------


def checkout(root: Path) -> Path:
    (root / "plugins").mkdir(parents=True)
    (root / "pyproject.toml").touch()
    return root


def installed(root: Path) -> Path:
    policies = root / "aetherra" / "policies"
    policies.mkdir(parents=True)
    for name in ("default.toml", "capabilities.toml"):
        (policies / name).write_text("version = 1\n")
    return root


def test_a_checkout_uses_its_own_folders(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    paths = Paths.find(environ={}, root=root)
    assert paths.home == root / ".aetherra"
    assert paths.plugins == paths.bundled_plugins == root / "plugins"
    assert paths.policies == paths.bundled_policies == root / "policies"
    assert (paths.bundled_scripts, paths.scripts) == (root / "scripts", root / ".aetherra" / "scripts")
    assert paths.database.parent == paths.home


def test_an_installed_hub_lives_under_the_users_data(tmp_path: Path) -> None:
    root = installed(tmp_path / "site")
    paths = Paths.find(environ={"HOME": str(tmp_path)}, root=root)
    home = tmp_path / ".local" / "share" / "aetherra"
    assert (paths.home, paths.plugins, paths.policies) == (home, home / "plugins", home / "policies")
    assert paths.bundled_policies == root / "aetherra" / "policies"


def test_an_option_wins_over_its_variable_and_both_over_the_default(tmp_path: Path) -> None:
    environ = {"AETHERRA_HOME": str(tmp_path / "env"), "AETHERRA_SCRIPT_PATH": str(tmp_path / "scripts")}
    root = checkout(tmp_path / "root")
    paths = Paths.find(environ=environ, root=root)
    assert (paths.home, paths.scripts) == (tmp_path / "env", tmp_path / "scripts")
    assert dict(paths.origins) == {"home": "AETHERRA_HOME", "scripts": "AETHERRA_SCRIPT_PATH"}
    named = Paths.find(environ=environ, root=root, home=tmp_path / "option", trusted=[tmp_path / "t"])
    assert (named.home, named.origins["home"], named.trusted) == (tmp_path / "option", "--home", (tmp_path / "t",))


def test_folders_are_settings_too_by_every_layer(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "aetherra.toml").write_text(
        '[paths]\nplugins = "drop"\nscripts = "/toml/scripts"\npolicies = "/toml/policies"\n'
        'trusted = ["drop", "/toml/other"]\n'
    )
    environ = {"AETHERRA_PATHS_HOME": str(home), "AETHERRA_PATHS_POLICIES": "/env/policies", "AETHERRA_SCRIPT_PATH": ""}
    paths = Paths.find(environ=environ, scripts=Path("/option/scripts"))
    config = Config.load(sections={}, file=None, environ=environ, overrides={}, paths=paths)
    assert (config.paths.plugins, config.paths.scripts) == (home / "drop", Path("/option/scripts"))
    assert (config.paths.policies, config.paths.trusted) == (
        Path("/env/policies"),
        (home / "drop", Path("/toml/other")),
    )
    origins = {s.key: s.origin for s in config.effective() if s.key.startswith("paths.")}
    assert origins["paths.home"] == "AETHERRA_PATHS_HOME"
    assert origins["paths.plugins"] == "aetherra.toml:2"
    assert origins["paths.scripts"] == "--scripts"
    assert origins["paths.policies"] == "AETHERRA_PATHS_POLICIES"
    assert origins["paths.trusted"] == "aetherra.toml:5"
    assert origins["paths.database"] == "default"
    several = Paths.find(environ={"AETHERRA_PATHS_TRUSTED": "/a, /b"})
    assert several.trusted == (Path("/a"), Path("/b"))


@pytest.mark.parametrize(
    ("environ", "toml"), [({}, ""), ({"AETHERRA_PATHS_DEMO": "1"}, ""), ({}, "[paths]\ndemo = true\n")]
)
def test_a_demo_loads_the_examples_and_their_scripts(tmp_path: Path, environ: dict[str, str], toml: str) -> None:
    root = checkout(tmp_path)
    (root / ".aetherra").mkdir()
    (root / ".aetherra" / "aetherra.toml").write_text(toml)
    asked = not environ and not toml
    paths = Paths.find(environ=environ, root=root, demo=asked)
    config = Config.load(sections={}, file=None, environ=environ, overrides={}, paths=paths)
    assert (config.paths.examples, config.paths.scripts) == (root / "examples", root / "examples")
    assert [(f.path.name, f.trusted, f.bundled) for f in plugin_folders(config)][-1] == ("examples", True, False)
    named = Paths.find(environ={}, root=root, demo=True, scripts=tmp_path)
    assert (named.scripts, named.examples) == (tmp_path, root / "examples")
    assert Paths.find(environ={}, root=root).examples is None


DOCUMENTED = [
    "AETHERRA_ADMIN_PASSWORD",
    "AETHERRA_ADMIN_USER",
    "AETHERRA_AGENTS_API_ENABLED",
    "AETHERRA_AGENTS_API_REQUIRE_TOKEN",
    "AETHERRA_AGENTS_API_TOKEN",
    "AETHERRA_AI_API_ENABLED",
    "AETHERRA_AI_API_REQUIRE_TOKEN",
    "AETHERRA_AI_API_TOKEN",
    "AETHERRA_ALLOW_INSECURE_BIND",
    "AETHERRA_API_HOST",
    "AETHERRA_API_PORT",
    "AETHERRA_HOME",
    "AETHERRA_HUB_PORT",
    "AETHERRA_KEYS_MASTER",
    "AETHERRA_NETWORK_ALLOWLIST",
    "AETHERRA_NET_STRICT",
    "AETHERRA_SCRIPT_PATH",
]


def test_a_file_that_was_dropped_beside_what_ships_is_never_taken_for_a_part_of_the_hub(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    (root / "plugins" / "shipped").mkdir(parents=True)
    (root / "plugins" / "shipped" / "__init__.py").write_text('from kernel import Plugin\np = Plugin("shipped")\n')
    (root / "plugins" / "dropped.py").write_text('from kernel import Plugin\np = Plugin("dropped")\n')
    (root / "pyproject.toml").touch()
    for plugins in (None, tmp_path / "elsewhere"):
        paths = Paths.find(environ={}, root=root, home=tmp_path / "home", plugins=plugins)
        config = Config.load(sections={}, file=None, environ={}, overrides={}, paths=paths)
        assert [(found.name, found.folder.bundled) for found in loaded(config)] == [("shipped", True)]


@pytest.mark.parametrize("variable", DOCUMENTED)
def test_every_variable_of_the_api_documents_is_taken_or_said_to_have_no_effect(tmp_path: Path, variable: str) -> None:
    environ = {variable: "1" if variable != "AETHERRA_HOME" else str(tmp_path)}
    paths = Paths.find(environ=environ, home=tmp_path)
    config = Config.load(sections={"hub": HubSettings}, file=None, environ=environ, overrides={}, paths=paths)
    if ALIASES.get(variable, "").startswith("plugins."):
        load_settings(config)
    taken = [setting.key for setting in config.effective() if setting.origin == variable]
    by_option = variable == "AETHERRA_HOME"  # --home wins over it here
    assert bool(taken) != bool(config.warnings) or by_option
    assert all(variable in warning for warning in config.warnings)


def test_every_setting_is_read_by_somebody() -> None:
    read: set[str] = set()
    for room in ("kernel", "hub", "plugins/*"):  # a plugin of ours is a package; what is dropped beside is not ours
        for path in (path for folder in ROOT.glob(room) for path in folder.rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    read.add(node.attr)
    declared = {"hub": HubSettings, **KERNEL_SECTIONS}
    unread = [
        f"{section}.{name}"
        for section, struct in declared.items()
        for name in struct.__struct_fields__
        if name not in read
    ]
    assert unread == []


def test_preparing_makes_home_private_and_copies_the_policies_once(tmp_path: Path) -> None:
    root = installed(tmp_path / "site")
    paths = Paths.find(environ={}, root=root, home=tmp_path / "home")
    paths.prepare()
    assert stat.S_IMODE(paths.home.stat().st_mode) == 0o700
    assert [file.name for file in paths.policies.iterdir()] == ["default.toml"]
    (paths.policies / "default.toml").write_text("mine")
    paths.prepare()
    assert (paths.policies / "default.toml").read_text() == "mine"


def test_preparing_a_checkout_copies_nothing(tmp_path: Path) -> None:
    paths = Paths.find(environ={}, root=checkout(tmp_path))
    paths.prepare()
    assert [path.name for path in paths.home.iterdir()] == ["scripts"]


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    paths = Paths.find(environ={}, home=tmp_path / "file" / "home")
    with pytest.raises(ConfigError, match="name another folder with --home"):
        paths.prepare()
