"""Is the package whole, and are its dependencies those it was tested with?"""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import json
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from hub.installation import mixture, place_of
from kernel import VERSION, Finding

NAME = "aetherra"
FOR_DEVELOPERS = frozenset({"dev"})
EXTRAS = {"docs": "the pages /docs and /redoc, which show the API in a browser"}
"""What each extra brings."""


def installation_findings() -> Iterator[Finding]:
    """Look at Python, the files of the package, and the versions of what it stands on."""
    yield from _python()
    mixed = mixture()
    if mixed is not None:
        yield Finding("package", "fail", mixed, "use one installation, or a virtual environment of its own")
        return
    try:
        own = importlib.metadata.distribution(NAME)
    except importlib.metadata.PackageNotFoundError:
        found = f"{VERSION} in {place_of('hub')}, which no installer knows, so its dependencies cannot be compared"
        yield Finding("package", "warn", found, "install it: pip install -e . in a checkout, else the wheel")
        return
    yield _files(own)
    yield from _dependencies(own)
    yield from _extras(own)


def _python() -> Iterator[Finding]:
    found = f"{platform.python_implementation()} {platform.python_version()}, {sys.executable}"
    try:
        about = importlib.metadata.metadata(NAME)
        wanted = about["Requires-Python"] or ""
    except importlib.metadata.PackageNotFoundError:
        wanted = ""
    if SpecifierSet(wanted).contains(platform.python_version(), prereleases=True):
        yield Finding("python", "ok", found)
    else:
        yield Finding("python", "fail", f"{found}; needed is {wanted}", "install the hub with such a Python")


def _files(own: importlib.metadata.Distribution) -> Finding:
    """Compare the files with what was installed; of an editable installation only its place can be told."""
    editable = _editable_place(own)
    if own.version != VERSION:
        found = f"the files are version {VERSION}, the installer noted {own.version}"
        return Finding("package", "fail", found, "install it anew, into an environment without the other")
    if editable is not None:
        return Finding("package", "ok", f"{VERSION}, a checkout: {editable}")
    missing, changed, count = [], [], 0
    for file in own.files or ():
        path = Path(str(file.locate()))
        if file.hash is None or path.suffix == ".pyc":
            continue
        count += 1
        try:
            content = path.read_bytes()
        except OSError:
            missing.append(str(file))
            continue
        digest = base64.urlsafe_b64encode(hashlib.new(file.hash.mode, content).digest()).rstrip(b"=").decode()
        if digest != file.hash.value:
            changed.append(str(file))
    again = "install the package anew; your own plugins, policies and scripts belong into the home"
    if missing:
        return Finding("package", "fail", f"{len(missing)} of its {count} files are missing: {_few(missing)}", again)
    if changed:
        return Finding("package", "warn", f"{len(changed)} of its {count} files were changed: {_few(changed)}", again)
    return Finding("package", "ok", f"{VERSION}, its {count} files as they were installed, in {place_of('hub')}")


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _editable_place(own: importlib.metadata.Distribution) -> str | None:
    origin = json.loads(own.read_text("direct_url.json") or "{}")
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return unquote(urlsplit(origin["url"]).path)


def _dependencies(own: importlib.metadata.Distribution) -> Iterator[Finding]:
    wrong, fitting = [], []
    for requirement in _requirements(own, extra=""):
        version = _version_of(requirement.name)
        if version is None:
            wrong.append(f"{requirement.name} is missing (wanted {requirement.specifier})")
        elif not requirement.specifier.contains(version, prereleases=True):
            wrong.append(f"{requirement.name} is {version} (wanted {requirement.specifier})")
        else:
            fitting.append(requirement.name)
    if wrong:
        advice = f"{sys.executable} -m pip install --upgrade {NAME}, or an environment of its own for the hub"
        yield Finding("dependencies", "fail", "; ".join(wrong), advice)
    else:
        yield Finding("dependencies", "ok", f"{len(fitting)} packages within their bounds")


def _extras(own: importlib.metadata.Distribution) -> Iterator[Finding]:
    for extra in sorted(set(own.metadata.get_all("Provides-Extra") or ()) - FOR_DEVELOPERS):
        brings = EXTRAS.get(extra, "")
        states = {r: _version_of(r.name) for r in _requirements(own, extra=extra)}
        wrong = [
            f"{r.name} {version} (wanted {r.specifier})"
            for r, version in states.items()
            if version is not None and not r.specifier.contains(version, prereleases=True)
        ]
        names = ", ".join(r.name for r in states)
        install = f"{sys.executable} -m pip install '{NAME}[{extra}]'"
        if wrong:
            yield Finding(f"extra {extra}", "warn", f"out of bounds: {'; '.join(wrong)}", install)
        elif None in states.values():
            yield Finding(f"extra {extra}", "ok", f"not installed ({names}); it brings {brings or 'more'}: {install}")
        else:
            yield Finding(f"extra {extra}", "ok", f"installed ({names}): {brings or 'more'}")


def _requirements(own: importlib.metadata.Distribution, *, extra: str) -> list[Requirement]:
    """Return what is needed always, or with an extra alone."""
    wanted = [Requirement(line) for line in own.requires or ()]
    always = [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    if not extra:
        return always
    return [r for r in wanted if r not in always and r.marker is not None and r.marker.evaluate({"extra": extra})]


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
