"""What all tests share: their folder on the import path, and skips that fail where nothing may be missing."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How fast examples are drawn says how busy the machine is, and nothing about what is tested.
settings.register_profile("suite", suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def need():
    """Return a function that skips the test, by name, where a tool is missing; in CI a skip is a failure."""

    def ask(tool: str) -> str:
        found = shutil.which(tool)
        if found is None:
            if os.environ.get("AETHERRA_TEST_REQUIRE") == "all":
                pytest.fail(f"{tool} is missing, and here nothing may be")
            pytest.skip(f"needs {tool}")
        return found

    return ask
