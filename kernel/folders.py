"""Where plugins come from, and how far what lies there is trusted."""

from __future__ import annotations

from pathlib import Path

import msgspec

from kernel.config import Config


class Folder(msgspec.Struct, frozen=True):
    """A place plugins come from. Bundled ones are part of the house; of the others only a trusted folder's run here."""

    path: Path
    bundled: bool
    trusted: bool
    packages: bool = True
    files: bool = True


def plugin_folders(config: Config) -> list[Folder]:
    """Return the folders of `config`. What ships is a package: in a checkout files are dropped into the same folder."""
    paths = config.paths
    trusted = any(paths.plugins.resolve() == folder.resolve() for folder in paths.trusted)
    shared = paths.plugins.resolve() == paths.bundled_plugins.resolve()
    folders = [
        Folder(paths.bundled_plugins, bundled=True, trusted=True, files=False),
        Folder(paths.plugins, bundled=False, trusted=trusted, packages=not shared),
    ]
    if paths.examples is not None:
        folders.append(Folder(paths.examples, bundled=False, trusted=True))
    return folders
