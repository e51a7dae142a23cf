"""Without a hub: where a file stands among the script folders, and what the policy's files want of it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from kernel import BadInput, Config

from .library import Root
from .names import SUFFIX
from .trust import Trust

FOUND_MOST: Final = 10_000
"""Scripts that one command looks at in folders."""
_MODES: Final = ("off", "warn", "strict")
_NO_POLICY: Final = "capabilities.toml"


def roots_of(config: Config, root: str = "") -> list[Root]:
    """Return the script folders of this hub, the operator's and then the bundled one; or `root` where it is named."""
    if root:
        return [Root(Path(root), bundled=False)]
    paths = config.paths
    own = [Root(path, bundled=False) for path in (paths.scripts, paths.home / "scripts") if path is not None]
    return [*own, Root(paths.bundled_scripts, bundled=True)]


def path_below(file: Path, roots: Sequence[Root]) -> tuple[str, bool] | None:
    """Return the path of a file below the script folder it lies in, and whether that is the bundled one."""
    real = file.resolve()
    for root in roots:
        folder = root.path.resolve()
        if real.is_relative_to(folder) and real != folder:
            return real.relative_to(folder).as_posix(), root.bundled
    return None


def signed_path(file: Path, root: str, roots: Sequence[Root]) -> str:
    """Return the path that a signature of the file is for: below `root` where one is named, else its script folder.

    Raises `BadInput` for a file that lies in neither.
    """
    found = path_below(file, roots)
    if found is None:
        where = f"not below {root}" if root else "in none of the script folders"
        raise BadInput(f"{file} lies {where}; --root DIR names the folder that it will be served from")
    return found[0]


def scripts_in(folder: Path) -> list[Path]:
    """Return the scripts below a folder, sorted, without what lies behind a link that leaves it.

    Raises `BadInput` where there are more than `FOUND_MOST`.
    """
    found = sorted(_walk(folder))
    if len(found) > FOUND_MOST:
        raise BadInput(f"{folder} holds more than {FOUND_MOST} scripts; name its parts")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    real = folder.resolve()
    count = 0
    for at, folders, files in os.walk(folder, followlinks=False):
        folders[:] = [one for one in folders if not one.startswith(".")]
        for name in files:
            path = Path(at) / name
            if name.endswith(SUFFIX) and path.is_file() and path.resolve().is_relative_to(real):
                yield path
                count += 1
                if count > FOUND_MOST:
                    return


class OfflineTrust:
    """`[trust]` as the policy files say it, for whoever asks without a hub.

    Raises `BadInput` for a file that is no TOML; what else a file has wrong, `aether policy check` tells.
    """

    def __init__(self, config: Config) -> None:
        self._tables = list(_tables(config))
        self.keys: dict[str, str] = {}
        for table in self._tables:
            self.keys |= {k: v for k, v in _section(table).get("keys", {}).items() if isinstance(v, str)}
        said = [_section(table).get("signatures") for table in self._tables]
        self._mode = max((mode for mode in said if mode in _MODES), key=_MODES.index, default="warn")
        self._strict = any(table.get("strict_mode") is True for table in self._tables)

    def of(self, path: str) -> Trust:
        """Return what is wanted of the script at that path below its folder."""
        must = self._strict or any(
            isinstance(who, str) and _means(who, f"script:{path}")
            for table in self._tables
            for who in _section(table).get("require_signature", ())
        )
        return Trust("strict" if must else self._mode, self.keys)  # type: ignore[arg-type]


def _tables(config: Config) -> Iterator[dict[str, Any]]:
    paths = config.paths
    first_start = not paths.policies.exists() and paths.policies == paths.home / "policies"
    folder = paths.bundled_policies if first_start else paths.policies
    for file in sorted(folder.glob("*.toml")):
        if file.name == _NO_POLICY:
            continue
        try:
            yield tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise BadInput(f"{file} cannot be read: {error}; aether policy check tells more") from None


def _section(table: dict[str, Any]) -> dict[str, Any]:
    found = table.get("trust")
    return found if isinstance(found, dict) else {}


def _means(pattern: str, principal: str) -> bool:
    if pattern.endswith("*"):
        return len(principal) > len(pattern) - 1 and principal.startswith(pattern[:-1])
    return pattern == principal
