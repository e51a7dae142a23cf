"""Where the hub listens: on loopback for its own machine; for others only once somebody can administer it."""

from __future__ import annotations

from pathlib import Path

import pytest
from asking import ELSEWHERE, PASSWORD, asking
from whole_hub import whole_hub, whole_server

from hub.app import check_bind
from hub.settings import HubSettings
from kernel import ConfigError


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "hub.example.org"])
def test_a_lab_that_opens_an_address_is_shown_red(host: str) -> None:
    assert check_bind(HubSettings(host=host, allow_insecure_bind=True)) is not None
    assert check_bind(HubSettings(host=host)) is None


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_is_fine(host: str) -> None:
    assert check_bind(HubSettings(host=host, allow_insecure_bind=True)) is None


OPEN = {"hub.host": "0.0.0.0", "hub.trusted_proxies": ("127.0.0.1",)}
ADMIN = {"plugins.identity.admin_user": "root", "plugins.identity.admin_password": PASSWORD}


async def test_an_address_that_others_reach_is_refused_while_there_is_no_administrator(tmp_path: Path) -> None:
    closed = whole_server(tmp_path, settings=OPEN)
    with pytest.raises(ConfigError, match="aether users add NAME --roles admin"):
        await closed.start()
    assert closed.kernel.state == "stopped"
    assert not closed.kernel.config.paths.home.joinpath("hub.sock").exists()


async def test_with_an_administrator_it_is_listened_on_and_from_elsewhere_a_token_is_needed(tmp_path: Path) -> None:
    async with whole_hub(tmp_path, settings=OPEN | ADMIN) as server, asking(server) as hub:
        assert (await hub.ask("GET", "/api/jobs", headers=ELSEWHERE)).status == 401
        assert (await hub.ask("GET", "/api/jobs")).status == 200
        assert (await hub.ask("GET", "/health", headers=ELSEWHERE)).status == 200
        form = {"username": "root", "password": PASSWORD}
        login = await hub.ask("POST", "/api/auth/login", form=form, headers=ELSEWHERE)
        token = login.json["access_token"]
        assert (await hub.ask("GET", "/api/users", token=token, headers=ELSEWHERE)).status == 200


async def test_a_weak_password_from_the_environment_counts_on_this_machine_only_until_it_is_changed(
    tmp_path: Path,
) -> None:
    documented = {"plugins.identity.admin_user": "admin", "plugins.identity.admin_password": "admin123"}
    async with whole_hub(tmp_path, settings=OPEN | documented) as server, asking(server) as hub:
        form = {"username": "admin", "password": "admin123"}
        away = await hub.ask("POST", "/api/auth/login", form=form, headers=ELSEWHERE)
        assert away.status == 403
        token = (await hub.login("admin", "admin123"))["access_token"]
        assert (await hub.ask("GET", "/api/users", token=token)).status == 200
        assert (await hub.ask("GET", "/api/users", token=token, headers=ELSEWHERE)).status == 401
        change = {"current": "admin123", "new": PASSWORD}
        changed = await hub.ask("POST", "/api/auth/password", change, token=token)
        assert changed.status == 200
        new = changed.json["access_token"]
        assert (await hub.ask("GET", "/api/users", token=new, headers=ELSEWHERE)).status == 200
        assert (await hub.ask("GET", "/api/users", token=token)).status == 401
