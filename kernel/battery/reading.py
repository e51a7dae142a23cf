"""What a plugin's text alone tells: whether it can be read, whom it imports, and how it logs."""

from __future__ import annotations

import ast
import fnmatch
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

import kernel
from kernel.battery.report import Findings
from kernel.loader import Source, refused
from kernel.suggest import nearest

TESTS = ("test_*.py", "*_test.py", "conftest.py")
"""Files of a package that are its tests: what they import is their own affair."""

_HOUSE = ("hub", "plugins")


def parsed(source: Source, findings: Findings) -> Mapping[str, ast.Module]:
    """Return the syntax trees of a plugin's own files, its tests left out; note those that cannot be read."""
    trees: dict[str, ast.Module] = {}
    for name, content in source.files.items():
        if not name.endswith(".py") or any(fnmatch.fnmatch(PurePosixPath(name).name, test) for test in TESTS):
            continue
        try:
            trees[name] = ast.parse(content, filename=name)
            compile(content, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            findings.fail("source", refused(source, error).message)
    return trees


def check_imports(trees: Mapping[str, ast.Module], findings: Findings) -> None:
    """Note every import of the kernel's private parts, of the hub, of another plugin, and of itself by path."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            for wrong in _wrong(node):
                findings.fail("imports", wrong, f"{name}:{node.lineno}")  # type: ignore[attr-defined]


def _wrong(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _wrong_module(alias.name, ())
    elif isinstance(node, ast.ImportFrom) and not node.level:
        yield from _wrong_module(node.module or "", tuple(alias.name for alias in node.names))


def _wrong_module(module: str, names: tuple[str, ...]) -> Iterator[str]:
    top = module.partition(".")[0]
    if top in _HOUSE:
        met = "capabilities meet through ctx.service(...), ctx.call(...) and events"
        yield f"`{module}` belongs to the house; a plugin imports neither the hub nor another plugin: {met}"
    elif module == "kernel.testing" or module.startswith("kernel.battery"):
        yield f"`{module}` is for tests; a plugin itself does not import it"
    elif top == "kernel" and module != "kernel":
        yield f"`{module}` is private to the kernel; write `from kernel import ...`, its public names are all there is"
    elif module == "kernel" and not names:
        yield "`import kernel` reaches its private parts as well; write `from kernel import ...`"
    elif module == "kernel":
        for wanted in names:
            if wanted not in kernel.__all__:
                close = nearest(wanted, kernel.__all__)
                hint = f"did you mean `{close}`?" if close else "docs/plugins.md lists what there is"
                yield f"the kernel has no public name `{wanted}`; {hint}"


def check_loggers(trees: Mapping[str, ast.Module], findings: Findings) -> None:
    """Note every logger that is named after a module: a generation has a number, and its logger would stay behind."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("getLogger"):
                given = ast.unparse(node)
                if "__name__" in given or "__spec__" in given:
                    findings.fail(
                        "logger",
                        f"`{given}` makes another logger at each reload, since a generation's module has a number in "
                        "its name, and none ever goes; use ctx.log, or a name that stays the same",
                        f"{name}:{node.lineno}",
                    )


AWAITED = frozenset({"call", "publish", "publish_once", "require", "store.write", "store.query", "clock.sleep"})
"""What of a context returns something to await. So does every method of a service's handle."""


def check_awaits(trees: Mapping[str, ast.Module], findings: Findings) -> None:
    """Note every call of the hub that stands alone without `await`: it would never be made."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call) and _to_await(node.value.func):
                findings.fail(
                    "awaits",
                    f"`{ast.unparse(node.value):.80}` is not awaited, so it never happens; write `await` before it",
                    f"{name}:{node.lineno}",
                )


def _to_await(called: ast.expr) -> bool:
    if not isinstance(called, ast.Attribute):
        return False
    if isinstance(called.value, ast.Call):
        return ast.unparse(called.value.func) == "ctx.service"
    return ast.unparse(called).removeprefix("ctx.") in AWAITED and ast.unparse(called).startswith("ctx.")


def rebound(trees: Mapping[str, ast.Module]) -> Iterator[tuple[str, str, int]]:
    """Yield (file, name, line) of every module-level name that a function binds anew."""
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Global):
                yield from ((name, bound, node.lineno) for bound in node.names)


def imported(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    """Yield the modules that are imported when the plugin is, by their full names, its own left out."""
    for tree in trees.values():
        for node in _at_import(tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                yield node.module
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _at_import(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from _at_import(node)
