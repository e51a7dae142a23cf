"""The command `aether`: it serves, tells its settings and version, and reloads plugins; all other verbs are plugins'.

An expected failure is one line on standard error and a known exit status; a bug is a traceback. What a verb needs is
imported when it runs, so that the command itself starts at once.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hub.event_verbs import events_group
from hub.installation import mixture
from hub.plugin_verbs import plugin_group

if TYPE_CHECKING:
    from hub.console import HubTerminal
    from hub.serve import Server
    from kernel import Config

FAILED, USAGE, NOT_RUNNING = 1, 2, 3
"""Exit statuses: an expected failure, a wrong command line, no hub to talk to."""

F = TypeVar("F", bound=Callable[..., Any])
Folder = click.Path(file_okay=False, path_type=Path)


class Verbs(click.Group):
    """The verbs of the hub, and beside them those that the plugins of its folders add."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every verb."""
        return sorted({*super().list_commands(ctx), *self._of_plugins(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a verb of the hub, else of a plugin."""
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        return self._of_plugins(ctx).get(cmd_name)

    def _of_plugins(self, ctx: click.Context) -> Mapping[str, click.Command]:
        found = ctx.meta.get("aether.verbs")
        if found is None:
            from hub.verbs import plugin_verbs

            with one_line_for_failures():
                found = plugin_verbs(load_config(ctx.params))
            ctx.meta["aether.verbs"] = found
        return found


def folders(command: F) -> F:
    """Add the options that say where a hub keeps its things.

    They are read before `--help`, which lists the verbs of the plugins in those folders.
    """
    for option in (
        click.option("--home", type=Folder, is_eager=True, help="The hub's data folder (AETHERRA_HOME)."),
        click.option("--plugins", type=Folder, is_eager=True, help="The folder for dropped plugins."),
        click.option(
            "--scripts", type=Folder, is_eager=True, help="The folder of your scripts (AETHERRA_SCRIPT_PATH)."
        ),
        click.option("--policies", type=Folder, is_eager=True, help="The folder whose policy files count."),
        click.option(
            "--trust-plugins",
            "trusted",
            type=Folder,
            multiple=True,
            is_eager=True,
            help="Run what lies in this folder in process.",
        ),
        click.option(
            "--demo", is_flag=True, is_eager=True, help="Load the examples too: plugins in process, and scripts."
        ),
        click.option("--config", "file", type=click.Path(dir_okay=False, path_type=Path), help="The settings file."),
    ):
        command = option(command)
    return command


def home_and_json(command: F) -> F:
    """Add the options of a verb that talks to a hub."""
    command = click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")(command)
    return click.option("--home", type=Folder, help="The hub's data folder (AETHERRA_HOME).")(command)


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@folders
def aether(**_given: Any) -> None:
    """Aetherra: a hub whose every capability is a plugin that can be changed while it runs."""


@aether.command("serve")
@folders
@click.option("--host", help="The address to listen on (127.0.0.1).")
@click.option("--port", type=click.IntRange(0, 65_535), help="The port to listen on (3001); 0 takes a free one.")
@click.option("--json", "as_json", is_flag=True, help="Say that it is up as one line of JSON.")
@click.pass_context
def serve_verb(ctx: click.Context, /, host: str | None, port: int | None, as_json: bool, **given: Any) -> None:
    """Run the hub until it is told to stop."""
    config = load_config(merged(ctx, given), {"hub.host": host, "hub.port": port})
    from hub.logs import log_to_stderr
    from hub.serve import serve

    config.paths.prepare()
    log_to_stderr()
    asyncio.run(serve(config, announce_json if as_json else announce))


@aether.command("version")
@click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")
def version_verb(as_json: bool) -> None:
    """Print the version."""
    from kernel import VERSION

    click.echo(f'{{"version":"{VERSION}"}}' if as_json else f"aether {VERSION}")


@aether.command("config")
@folders
@click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")
@click.pass_context
def config_verb(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Print every setting in effect and where it came from."""
    from kernel import load_settings

    config = load_config(merged(ctx, given))
    load_settings(config)
    settings, warnings = config.effective(), config.without_effect()
    if as_json:
        import msgspec

        rows = [{"key": s.key, "value": s.value, "origin": s.origin} for s in settings]
        click.echo(msgspec.json.encode({"settings": rows, "warnings": warnings}).decode())
        return
    width = max((len(s.key) for s in settings), default=0)
    for setting in settings:
        click.echo(f"{setting.key:<{width}}  {setting.value!r}  ({setting.origin})")
    for warning in warnings:
        click.echo(f"warning: {warning}", err=True)


@aether.command("init")
@click.argument("directory", required=False, type=Folder)
@click.option("--home", type=Folder, help="The same, as other verbs take it (AETHERRA_HOME).")
@click.option("--force", is_flag=True, help="Even if the folder holds other things.")
@click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")
@click.pass_context
def init_verb(ctx: click.Context, directory: Path | None, home: Path | None, force: bool, as_json: bool) -> None:
    """Make a home for a hub: a settings file that explains itself, policies, folders, a first script.

    DIRECTORY is the hub's data folder, the usual one if it is not given. What is there already is kept as it is.
    """
    from hub.new_home import make_home, tell
    from kernel import Paths

    at = directory or merged(ctx, {"home": home}).get("home")
    tell(make_home(Paths.find(environ=os.environ, home=at).home, force=force), as_json=as_json)


@aether.command("doctor")
@folders
@click.option("--json", "as_json", is_flag=True, help="Print data as JSON.")
@click.pass_context
def doctor_verb(ctx: click.Context, /, as_json: bool, **given: Any) -> None:
    """Look at the installation, the home and a running hub; change nothing, and say what to do.

    The exit status is 1 when something does not work.
    """
    from hub.doctor import examine, tell

    findings = examine(merged(ctx, given), load_config)
    tell(findings, as_json=as_json)
    if any(finding.level == "fail" for finding in findings):
        sys.exit(FAILED)


@aether.command("plugins")
@home_and_json
@click.pass_context
def plugins_verb(ctx: click.Context, home: Path | None, as_json: bool) -> None:
    """List the plugins of the running hub and what each is doing."""

    async def list_plugins(terminal: HubTerminal) -> None:
        answer = await terminal.request("GET", "/api/klm/modules")
        if terminal.json:
            terminal.print(answer)
            return
        columns = ("version", "generation", "status", "calls", "errors", "rollback_token", "reason")
        head = ["plugin", *(name.replace("_", " ") for name in columns)]
        terminal.table(head, ([m["name"], *(shown_of(m, name) for name in columns)] for m in answer["modules"]))

    talk(ctx, home, as_json, list_plugins)


@aether.command("reload")
@click.argument("name")
@home_and_json
@click.pass_context
def reload_verb(ctx: click.Context, name: str, home: Path | None, as_json: bool) -> None:
    """Load the plugin NAME anew from its file."""

    async def reload(terminal: HubTerminal) -> None:
        answer = await terminal.request("POST", f"/api/klm/modules/{quoted(name)}/reload")
        text = f"{name}: generation {answer.get('generation', '-')}, {answer['status']}"
        if answer.get("rollback_token"):
            text += f" (back again: aether rollback {answer['rollback_token']})"
        terminal.print(answer if terminal.json else text)

    talk(ctx, home, as_json, reload)


@aether.command("rollback")
@click.argument("token")
@home_and_json
@click.pass_context
def rollback_verb(ctx: click.Context, token: str, home: Path | None, as_json: bool) -> None:
    """Take a plugin back to before the switch that yielded TOKEN."""

    async def roll_back(terminal: HubTerminal) -> None:
        switches = (await terminal.request("GET", "/api/klm/history?limit=500"))["history"]
        name = next((switch["plugin"] for switch in switches if switch["token"] == token), None)
        if name is None:
            from kernel import NotFound

            raise NotFound(f"no switch since the hub's start has the token {token!r}; see: aether plugins")
        answer = await terminal.request("POST", f"/api/klm/modules/{quoted(name)}/rollback", json={"token": token})
        text = f"{name}: back to generation {answer.get('generation', '-')}, {answer['status']}"
        terminal.print(answer if terminal.json else text)

    talk(ctx, home, as_json, roll_back)


aether.add_command(plugin_group(folders, lambda ctx, given: load_config(merged(ctx.parent or ctx, given))))
aether.add_command(events_group(home_and_json, lambda *given: talk(*given)))


def shown_of(module: Mapping[str, Any], column: str) -> Any:
    """Return what a table of plugins shows of one, with nothing for what it does not have."""
    value = module.get(column)
    return "" if value is None else value


# What the verbs share ----------------------------------------------------------------------------------------------


def quoted(text: str) -> str:
    """Return text as one segment of a path or one value of a query."""
    from urllib.parse import quote

    return quote(text, safe="")


def merged(ctx: click.Context, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a verb's folders, those not given taken from before the verb (`aether --home X plugins`)."""
    before = ctx.parent.params if ctx.parent is not None else {}
    return {**before, **{name: value for name, value in given.items() if value}}


def load_config(given: Mapping[str, Any], overrides: Mapping[str, Any] | None = None) -> Config:
    """Return the settings that count for the folders and flags of a command line."""
    from hub.settings import HubSettings
    from kernel import Config, Paths

    paths = Paths.find(
        environ=os.environ,
        home=given.get("home"),
        plugins=given.get("plugins"),
        scripts=given.get("scripts"),
        policies=given.get("policies"),
        trusted=given.get("trusted") or (),
        demo=bool(given.get("demo")),
    )
    return Config.load(
        sections={"hub": HubSettings},
        file=given.get("file"),
        environ=os.environ,
        overrides=overrides or {},
        paths=paths,
    )


def talk(
    ctx: click.Context, home: Path | None, as_json: bool, verb: Callable[[HubTerminal], Awaitable[int | None]]
) -> None:
    """Run a verb with a line to the hub, and leave with its exit status."""
    from hub.console import HubTerminal
    from kernel import Paths

    at = Paths.find(environ=os.environ, home=merged(ctx, {"home": home}).get("home")).home

    async def run() -> int | None:
        async with HubTerminal(at, json=as_json) as terminal:
            return await verb(terminal)

    status = asyncio.run(run())
    if status:
        sys.exit(status)


def announce_json(server: Server) -> None:
    """Print what a program wants to know when the hub is up, as one line."""
    import msgspec

    config = server.kernel.config
    up = {
        "version": server.kernel.version,
        "url": address_of(server),
        "also": [address_of(server, port) for port in server.compat_ports],
        "pid": os.getpid(),
        "home": str(config.paths.home),
        "policies": str(config.paths.policies),
        "plugins": {m.name: {"status": m.status, "reason": m.reason} for m in server.kernel.modules.known()},
        "warnings": config.without_effect(),
    }
    click.echo(msgspec.json.encode(up).decode())


def address_of(server: Server, port: int | None = None) -> str:
    """Return the address of a hub that listens, as a client writes it; with `port` that of one of its further ports."""
    host = server.hub.settings.host
    return f"http://{f'[{host}]' if ':' in host else host}:{server.port if port is None else port}"


def announce(server: Server) -> None:
    """Print what a person wants to know when the hub is up."""
    from hub.first_steps import add_administrator, same_again, setup_code, things_to_try

    config, modules = server.kernel.config, server.kernel.modules.known()
    address = address_of(server)
    active = sorted(module.name for module in modules if module.status == "active")
    click.echo(f"Aetherra {server.kernel.version} listens on {address}")
    if server.compat_ports:
        click.echo(f"  also on   {', '.join(address_of(server, port) for port in server.compat_ports)}")
    click.echo(f"  data      {config.paths.home}")
    click.echo(f"  policies  {config.paths.policies}")
    click.echo(f"  plugins   {', '.join(active) or 'none'}  (drop folder: {config.paths.plugins})")
    for module in modules:
        if module.status != "active":
            click.echo(f"  {module.name} is {module.status}: {module.reason}")
    for warning in config.without_effect():
        click.echo(f"  warning: {warning}")
    code = setup_code(config.paths.home)
    if code:
        click.echo("There is no administrator yet. Within 15 minutes, this code makes one, once:")
        click.echo(f"  {code}")
        click.echo(f"or, at any time: {add_administrator(config.paths.home)}")
    drop, trusted = config.paths.plugins, server.kernel.modules.trusts(config.paths.plugins)
    if not trusted:
        click.echo("What is dropped there is refused until you trust the folder. To do so, stop this hub and start:")
        click.echo(f"  {same_again('--trust-plugins', drop)}")
    click.echo("Try:")
    for line in things_to_try(address, config.paths, trusted):
        click.echo(f"  {line}")


class one_line_for_failures:
    """End the process with one line and a known status for an expected failure; let bugs through."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception):
            return
        from kernel import AetherraError

        if isinstance(error, AetherraError):
            click.echo(f"aether: {' '.join(error.message.split())}", err=True)
            if "hint" in error.details:
                click.echo(f"to learn more: {error.details['hint']}", err=True)
            sys.exit(NOT_RUNNING if error.code == "HUB_NOT_RUNNING" else FAILED)


def main() -> None:
    """Run the command."""
    mixed = mixture()
    if mixed is not None:
        click.echo(f"aether: {mixed}", err=True)
        sys.exit(FAILED)
    try:
        with one_line_for_failures():
            aether(prog_name="aether", standalone_mode=True)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
