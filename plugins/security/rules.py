"""One policy file, from its bytes to rules that know their line; the first mistake refuses the whole file."""

from __future__ import annotations

import base64
import re
import tomllib
from typing import Any, Literal, NoReturn, cast

import msgspec

from kernel import nearest

from .network import Host
from .patterns import Right, Who
from .positions import Path, Positions
from .words import Words

MAIN = "default.toml"
FILE_BYTES = 256 * 1024
NESTING = 8
VERSION = 1

LIMITS: dict[str, type] = {
    "steps": int,
    "active_s": float,
    "wall_s": float,
    "depth": int,
    "memory_mb": int,
    "charged_mb": int,
    "text_mb": int,
    "items": int,
    "host_calls": int,
    "ai_calls": int,
    "output_kb": int,
    "log_records": int,
    "journal_mb": int,
    "branches": int,
    "children": int,
    "source_kb": int,
    "brackets": int,
    "blocks": int,
}
"""The limits of a script (what is counted, and how: language reference, 18.1); seconds may have a fraction."""

_SECTIONS = ("version", "strict_mode", "capabilities", "overrides", "network", "limits", "trust")
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_AT = re.compile(r" \(at line (\d+), column \d+\)$")


class Mistake(Exception):
    """What is wrong with a policy file, and where: `file`, `line` (None where the whole file is meant), `message`."""

    def __init__(self, file: str, line: int | None, message: str) -> None:
        super().__init__(f"{file}:{line}: {message}" if line else f"{file}: {message}")
        self.file = file
        self.line = line
        self.message = message


Effect = Literal["allow", "deny", "override"]
"""What a rule does."""


class Rule(msgspec.Struct, frozen=True):
    """One principal pattern and one pattern of rights, with the place they stand at."""

    effect: Effect
    who: Who
    right: Right
    file: str
    line: int

    @property
    def text(self) -> str:
        """The rule as it is shown: `allow "role:user" = "memory:*:own"`."""
        return f'{self.effect} "{self.who.text}" = "{self.right.text}"'

    @property
    def source(self) -> str:
        """Where it stands: `default.toml:12`."""
        return f"{self.file}:{self.line}"


class Limit(msgspec.Struct, frozen=True):
    """The limits of one table `[limits."pattern"]`."""

    who: Who
    values: dict[str, float]


class Blocked(msgspec.Struct, frozen=True):
    """One entry of a list of hosts, and where it stands."""

    host: Host
    source: str


SignatureMode = Literal["off", "warn", "strict"]
SIGNATURE_MODES: tuple[SignatureMode, ...] = ("off", "warn", "strict")
"""From the mildest to the strictest."""


class Trust(msgspec.Struct, frozen=True):
    """`[trust]`: whose signatures count, which folders' plugins run in the hub, and what must be signed.

    `signatures` is what a script without a valid signature meets: `off`, `warn` or `strict`; None where nothing says.
    """

    keys: dict[str, str] = {}
    plugin_folders: tuple[str, ...] = ()
    require_signature: tuple[str, ...] = ()
    auto_integrate_min_score: float | None = None
    signatures: SignatureMode | None = None


class Signed(msgspec.Struct, frozen=True):
    """One entry of `[trust] require_signature`, and where it stands."""

    who: Who
    source: str


class PolicyFile(msgspec.Struct, frozen=True):
    """Everything one file says.

    `rows` has the line of each row of rights, by the effect of its rules and its principal; `strict_line` that of
    `strict_mode = true`.
    """

    name: str
    rules: tuple[Rule, ...]
    limits: tuple[Limit, ...]
    allowlist: tuple[Blocked, ...]
    denylist: tuple[Blocked, ...]
    trust: Trust
    strict_mode: bool
    strict_line: int = 0
    signed: tuple[Signed, ...] = ()
    rows: dict[tuple[Effect, str], int] = {}


def read(name: str, raw: bytes, words: Words) -> PolicyFile:
    """Return what the file `name` says; raise `Mistake` with its line for the first thing that is not right."""
    return _Reader(name, raw, words).file()


class _Reader:
    def __init__(self, name: str, raw: bytes, words: Words) -> None:
        self.name = name
        self.words = words
        self.rows: dict[tuple[Effect, str], int] = {}
        if len(raw) > FILE_BYTES:
            raise Mistake(name, None, f"larger than {FILE_BYTES // 1024} KiB")
        try:
            text = raw.decode().replace("\r\n", "\n")
            self.tables = tomllib.loads(text)
        except UnicodeDecodeError as error:
            raise Mistake(name, raw[: error.start].count(b"\n") + 1, "not UTF-8") from None
        except RecursionError:
            raise Mistake(name, None, f"nested deeper than {NESTING}") from None
        except tomllib.TOMLDecodeError as error:
            at = _AT.search(str(error))
            line = int(at[1]) if at else text.count("\n") + 1
            raise Mistake(name, line, f"not valid TOML: {_AT.sub('', str(error))}") from None
        self.at = Positions(text)
        if self.at.depth > NESTING:
            raise Mistake(name, self.at.deepest_line, f"nested deeper than {NESTING}")

    def file(self) -> PolicyFile:
        self.known((), self.tables, _SECTIONS)
        self.version()
        capabilities = self.table(("capabilities",))
        self.known(("capabilities",), capabilities, ("allow", "deny"))
        network = self.table(("network",))
        self.known(("network",), network, ("allowlist", "denylist"))
        return PolicyFile(
            name=self.name,
            rules=(
                *self.rules(("capabilities", "allow"), "allow"),
                *self.rules(("capabilities", "deny"), "deny"),
                *self.overrides(),
            ),
            limits=tuple(self.limits()),
            allowlist=tuple(self.hosts(("network", "allowlist"))),
            denylist=tuple(self.hosts(("network", "denylist"))),
            trust=self.trust(),
            strict_mode=bool(self.value(("strict_mode",), bool, "true or false", False)),
            strict_line=self.at.line(("strict_mode",)),
            signed=tuple(self.signed()),
            rows=self.rows,
        )

    # What may stand in a section ---------------------------------------------------------------------------------

    def version(self) -> None:
        found = self.value(("version",), int, "a number", VERSION if self.name != MAIN else None)
        if found is None:
            self.wrong((), f"`version = {VERSION}` is missing: it tells how the file is to be read")
        if found != VERSION:
            self.wrong(("version",), f"version {found} is not known here; expected {VERSION}")

    def rules(self, path: Path, effect: Effect) -> list[Rule]:
        found = []
        for principal in self.table(path):
            inner = (*path, principal)
            self.rows[effect, principal] = self.at.line(inner)
            who = self.parsed(inner, Who.parse, principal)
            for index, text in enumerate(self.strings(inner)):
                place = (*inner, index)
                right = self.parsed(place, Right.parse, text)
                mistake = self.words.mistake(right)
                if mistake is not None:
                    self.wrong(place, mistake)
                found.append(Rule(effect, who, right, self.name, self.at.line(place)))
        return found

    def overrides(self) -> list[Rule]:
        if "overrides" in self.tables and self.name != MAIN:
            self.wrong(("overrides",), f"[overrides] counts in {MAIN} only; move it there")
        found = self.rules(("overrides",), "override")
        for rule in found:
            for pattern in (rule.who, rule.right):
                if "*" in pattern.text:
                    place = ("overrides", rule.who.text)
                    what = f"{pattern.text!r} has a wildcard; an override names principal and right exactly"
                    raise Mistake(self.name, rule.line if pattern is rule.right else self.at.line(place), what)
        return found

    def limits(self) -> list[Limit]:
        found = []
        for principal in self.table(("limits",)):
            path = ("limits", principal)
            if principal in LIMITS:
                self.wrong(
                    path, f'a limit stands in a table that says for whom: [limits."script:*"] and below it {principal}'
                )
            who = self.parsed(path, Who.parse, principal)
            values = self.table(path)
            self.known(path, values, LIMITS)
            for name, value in values.items():
                numbers = (int,) if LIMITS[name] is int else (int, float)
                if isinstance(value, bool) or not isinstance(value, numbers) or not 0 < value < float("inf"):
                    kind = "a whole number" if LIMITS[name] is int else "a number"
                    self.wrong((*path, name), f"{name}: expected {kind} above 0, got {value!r}")
            found.append(Limit(who, values))
        return found

    def hosts(self, path: Path) -> list[Blocked]:
        found = []
        for index, text in enumerate(self.strings(path)):
            place = (*path, index)
            host = self.parsed(place, Host.parse, text)
            found.append(Blocked(host, f"{self.name}:{self.at.line(place)}"))
        return found

    def trust(self) -> Trust:
        path = ("trust",)
        table = self.table(path)
        self.known(path, table, Trust.__struct_fields__)
        keys = self.table((*path, "keys"))
        for name, key in keys.items():
            if not _is_key(key):
                self.wrong((*path, "keys", name), f'{name}: expected "ed25519:" and 32 bytes in base64')
            if not _KEY_ID.fullmatch(name):
                self.wrong((*path, "keys", name), f"{name[:80]!r}: a key's id has 1 to 64 of A-Z a-z 0-9 _ . -")
        patterns = [signed.who.text for signed in self.signed()]
        score = self.value((*path, "auto_integrate_min_score"), (int, float), "a number from 0 to 1", None)
        if score is not None and not 0 <= score <= 1:
            self.wrong((*path, "auto_integrate_min_score"), f"expected a number from 0 to 1, got {score!r}")
        folders = tuple(self.strings((*path, "plugin_folders")))
        return Trust(keys, folders, tuple(patterns), score, self.signatures((*path, "signatures")))

    def signatures(self, path: Path) -> SignatureMode | None:
        mode = self.value(path, str, "a text", None)
        if mode is not None and mode not in SIGNATURE_MODES:
            self.wrong(
                path, f"signatures: expected {', '.join(SIGNATURE_MODES[:-1])} or {SIGNATURE_MODES[-1]}, got {mode!r}"
            )
        return cast(SignatureMode | None, mode)

    def signed(self) -> list[Signed]:
        path = ("trust", "require_signature")
        places = [((*path, index), text) for index, text in enumerate(self.strings(path))]
        return [
            Signed(self.parsed(place, Who.parse, text), f"{self.name}:{self.at.line(place)}") for place, text in places
        ]

    # The forms a value has ---------------------------------------------------------------------------------------

    def table(self, path: Path) -> dict[str, Any]:
        return dict(self.value(path, dict, "a table", {}))

    def strings(self, path: Path) -> list[str]:
        found: list[Any] = self.value(path, list, 'a list of texts, such as ["memory:read:own"]', [])
        for index, item in enumerate(found):
            if not isinstance(item, str):
                self.wrong((*path, index), f"expected a text between quotes, got {item!r}")
        return found

    def value(self, path: Path, kind: Any, expected: str, default: Any) -> Any:
        found: Any = self.tables
        for name in path:
            if name not in found:
                return default
            found = found[name]
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(found, kind) or (isinstance(found, bool) and bool not in kinds):
            self.wrong(path, f"{path[-1]}: expected {expected}, got {_said(found)}")
        return found

    def known(self, path: Path, table: dict[str, Any], names: Any) -> None:
        for name in table:
            if name not in names:
                close = nearest(name, list(names))
                hint = f"did you mean {close!r}?" if close else f"there are {', '.join(names)}"
                where = f"in [{'.'.join(map(str, path))}]" if path else "at the top of a policy file"
                self.wrong((*path, name), f"there is no {name!r} {where}; {hint}")

    def parsed(self, path: Path, parse: Any, text: str) -> Any:
        try:
            return parse(text)
        except ValueError as error:
            self.wrong(path, str(error))

    def wrong(self, path: Path, message: str) -> NoReturn:
        raise Mistake(self.name, self.at.line(path), message)


def _is_key(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("ed25519:"):
        return False
    try:
        return len(base64.b64decode(value.removeprefix("ed25519:"), validate=True)) == 32
    except ValueError:
        return False


def _said(value: Any) -> str:
    if isinstance(value, dict):
        return "a table"
    return "a list" if isinstance(value, list) else repr(value)
