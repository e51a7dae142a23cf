"""The verbs `aether sign`, `verify`, `keys new` and `keys show`: without a hub.

A private key is a file of its own with mode 0600, outside of every folder that the hub serves or a repository holds. It
is never printed; what is printed is the line for the policy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from aether_lang import signatures
from kernel import BadInput, Config, Conflict, Plugin, Terminal

from .names import check_name
from .roots import OfflineTrust, path_below, roots_of, signed_path

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCRIPT_MOST: Final = 16 * 1024 * 1024
KEY_MOST: Final = 16 * 1024
SUFFIX: Final = ".pem"


def add(p: Plugin) -> None:
    """Collect the verbs on `p`."""
    p.command("sign")(sign)
    p.command("verify")(verify)
    p.command("keys new")(new_key)
    p.command("keys show")(show_key)


async def sign(
    terminal: Terminal, files: list[str], key: str = "", id: str = "", root: str = "", hash: bool = False
) -> None:
    """Write a signature into the first line of scripts, for the path at which they are served.

    --key is a key's file, or the name `aether keys new` gave it; --id what the policy calls it, if not by its name.
    --root is the folder that the scripts will be served from, where that is none of this hub's. --hash writes the plain
    hash instead: it shows that a text is whole, not who made it, and no key is needed.
    """
    if hash == bool(key):
        raise BadInput("expected --key KEY, or --hash", details={"field": "key"})
    signer = None if hash else await asyncio.to_thread(_Signer.load, key, id)
    for name in files:
        done = await asyncio.to_thread(_sign, Path(name), root, signer, terminal.config)
        if terminal.json:
            terminal.print({"file": name, **done})
        elif signer is None:
            terminal.print(f"{name}: has its hash in the first line")
        else:
            terminal.print(f"{name}: signed by {signer.id} for the path {done['path']}")


async def verify(terminal: Terminal, files: list[str], root: str = "") -> int | None:
    """Say what the first line of scripts proves, by the keys of the policy files; the exit status is 1 when one fails.

    A script fails without a line, with a wrong one, or by an unknown key; where the policy is strict, by its hash alone
    as well. --root is the folder that the scripts are served from, where that is none of this hub's.
    """
    trust = await asyncio.to_thread(OfflineTrust, terminal.config)
    failed = False
    for name in files:
        found = await asyncio.to_thread(_verify, Path(name), root, trust, terminal.config)
        failed = failed or not found["ok"]
        terminal.print(
            {"file": name, **found}
            if terminal.json
            else f"{name}: {found['state']}: {found['reason']} ({found['path']})"
        )
    return 1 if failed else None


async def new_key(terminal: Terminal, name: str, folder: str = "") -> None:
    """Make a key for signing scripts, and print the line of the policy that trusts it.

    It lies in --folder, by default in ~/.config/aetherra/keys, readable by you alone. Whoever has that file can sign.
    """
    with _told():
        signatures.check_key_id(name)
    path = (Path(folder) if folder else key_folder()) / (name + SUFFIX)
    line = await asyncio.to_thread(_write_key, path, terminal.config)
    _show_key(terminal, name, path, line)


async def show_key(terminal: Terminal, name: str, id: str = "") -> None:
    """Print the line of the policy that trusts the key NAME: a file, or what `aether keys new` was told."""
    signer = await asyncio.to_thread(_Signer.load, name, id)
    _show_key(terminal, signer.id, signer.path, signatures.public_text(signer.key))


def _show_key(terminal: Terminal, name: str, path: Path, public: str) -> None:
    if terminal.json:
        terminal.print({"id": name, "file": str(path), "public": public})
        return
    terminal.print(f"the private key is {path}; nobody else should read it")
    terminal.print("to trust it, write into a file of the policy folder:")
    terminal.print("[trust.keys]")
    terminal.print(f'"{name}" = "{public}"')


# Keys ------------------------------------------------------------------------------------------------------------


def key_folder() -> Path:
    """Return the folder for the keys of whoever runs the command."""
    above = os.environ.get("XDG_CONFIG_HOME")
    return (Path(above) if above else Path.home() / ".config") / "aetherra" / "keys"


class _Signer(msgspec.Struct, frozen=True):
    id: str
    path: Path
    key: Any

    @classmethod
    def load(cls, named: str, id: str) -> _Signer:
        """Return the key in a file, or of a name; `BadInput` says why it is none."""
        at_home = key_folder() / (named + SUFFIX)
        path = at_home if "/" not in named and not Path(named).is_file() and at_home.is_file() else Path(named)
        with _told():
            signatures.check_key_id(id or path.stem)
        return cls(id or path.stem, path, _read_key(path))


def _read_key(path: Path) -> Ed25519PrivateKey:
    # 40 ms to import, and only these verbs need it.
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(KEY_MOST)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror or error}; aether keys new NAME makes a key") from None
    if stat.S_IMODE(mode) & 0o077:
        raise BadInput(f"{path} can be read by others, so it is not used: chmod 600 {path}, or make a new key")
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise BadInput(f"{path} holds no private key without a passphrase in PEM form") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(f"{path} holds another kind of key; scripts are signed with ed25519")
    return key


def _write_key(path: Path, config: Config) -> str:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    _refuse_served(path, config)
    key = Ed25519PrivateKey.generate()
    data = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise Conflict(f"{path} is there already; a key is never overwritten") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror or error}") from None
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    return signatures.public_text(key)


def _refuse_served(path: Path, config: Config) -> None:
    """Raise `BadInput` for a place from which a private key would be served, copied or committed."""
    paths = config.paths
    served = [paths.home, paths.plugins, paths.policies, paths.bundled_plugins, paths.bundled_scripts]
    served += [paths.bundled_policies, *paths.trusted, *([paths.scripts] if paths.scripts else [])]
    real = path.parent.resolve()
    for folder in served:
        if real.is_relative_to(folder.resolve()):
            raise BadInput(f"{path.parent} is a folder of the hub, no place for a private key; name another --folder")
    for above in (real, *real.parents):
        if (above / ".git").exists():
            raise BadInput(f"{path.parent} lies in the repository {above}, no place for a private key")


# Scripts ---------------------------------------------------------------------------------------------------------


def _sign(file: Path, root: str, signer: _Signer | None, config: Config) -> dict[str, Any]:
    data = _read(file)
    if signer is None:
        _replace(file, signatures.hashed(data))
        return {"path": None, "state": "integrity", "key": None}
    path = check_name(signed_path(file, root, roots_of(config, root)))
    with _told():
        _replace(file, signatures.signed(data, path, signer.key, signer.id))
    return {"path": path, "state": "signed", "key": signer.id}


def _verify(file: Path, root: str, trust: OfflineTrust, config: Config) -> dict[str, Any]:
    data = _read(file)
    roots = roots_of(config, root)
    if (path_below(file, roots) or ("", False))[1]:
        return {"state": "valid", "reason": "it comes with the hub", "path": "", "key": None, "ok": True}
    path = signed_path(file, root, roots)
    wanted = trust.of(path)
    found = signatures.verify(data, path, wanted.keys)
    passed = found.state == "valid" or (found.state == "integrity" and wanted.mode != "strict")
    return {"state": found.state, "reason": found.reason, "path": path, "key": found.key_id or None, "ok": passed}


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            data = source.read(SCRIPT_MOST + 1)
    except OSError as error:
        raise BadInput(f"{file} cannot be read: {error.strerror or error}") from None
    if len(data) > SCRIPT_MOST:
        raise BadInput(f"{file} has more than {SCRIPT_MOST // 1024 // 1024} MiB, so it is no script")
    return data


def _replace(file: Path, data: bytes) -> None:
    """Put the new text in place of the old in one step, with its mode; what is a link is written where it points."""
    target = file.resolve()
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as made:
            try:
                made.write(data)
                made.flush()
                os.fchmod(made.fileno(), stat.S_IMODE(target.stat().st_mode))
                os.fsync(made.fileno())
                os.replace(made.name, target)
            except BaseException:
                os.unlink(made.name)
                raise
    except OSError as error:
        raise BadInput(f"{file} cannot be written: {error.strerror or error}") from None


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn what the language says of a key's id into an answer for people."""
    try:
        yield
    except ValueError as error:
        raise BadInput(str(error), details={"field": "id"}) from None
