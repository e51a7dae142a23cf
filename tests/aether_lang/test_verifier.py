"""The verifier, broken on purpose: what the compiler must never make is refused (threat model, section 3)."""

import ast

import pytest

from aether_lang.compiler import Compiler
from aether_lang.parser import parse
from aether_lang.verifier import Refused, verify_code, verify_tree

SOURCE = 'let n = 1\nfn f(a, b = [1]) { try { return "{a}" + b.length } catch (e) { return e.message } }\nreturn f(n)'


def made() -> ast.Module:
    return ast.fix_missing_locations(Compiler(parse(SOURCE, "a")).build())


def body(statement: ast.stmt) -> ast.Module:
    tree = made()
    main = tree.body[0]
    assert isinstance(main, ast.FunctionDef)
    main.body.insert(0, statement)
    return ast.fix_missing_locations(tree)


def name(text: str, store: bool = False) -> ast.Name:
    return ast.Name(text, ast.Store() if store else ast.Load())


def test_what_the_compiler_makes_passes() -> None:
    tree = made()
    verify_tree(tree)
    verify_code(compile(tree, "a", "exec", dont_inherit=True))


FORBIDDEN = {
    "an import": ast.Import([ast.alias("os")]),
    "an import from": ast.ImportFrom("os", [ast.alias("system")], 0),
    "a class": ast.ClassDef("v_C", [], [], [ast.Pass()], []),
    "global": ast.Global(["v_x"]),
    "delete": ast.Delete([name("v_x")]),
    "an attribute": ast.Expr(ast.Attribute(name("v_x"), "__class__", ast.Load())),
    "a yield": ast.Expr(ast.Yield(None)),
    "an await": ast.Expr(ast.Await(name("v_x"))),
    "a starred value": ast.Expr(ast.List([ast.Starred(name("v_x"), ast.Load())], ast.Load())),
    "a walrus": ast.Expr(ast.NamedExpr(name("v_x", True), name("v_y"))),
    "a with": ast.With([ast.withitem(name("v_x"))], [ast.Pass()]),
    "a while": ast.While(name("v_x"), [ast.Pass()], []),
    "a power": ast.Expr(ast.BinOp(name("v_x"), ast.Pow(), name("v_x"))),
    "a product": ast.Expr(ast.BinOp(name("v_x"), ast.Mult(), name("v_x"))),
    "a shift": ast.Expr(ast.BinOp(name("v_x"), ast.LShift(), name("v_x"))),
    "a subscript": ast.Expr(ast.Subscript(name("v_x"), name("v_y"), ast.Load())),
    "a subscript of a helper": ast.Expr(ast.Subscript(name("@fuel"), ast.Constant(0), ast.Load())),
    "a slice": ast.Expr(ast.Subscript(name("v_x"), ast.Slice(), ast.Load())),
    "a keyword argument": ast.Expr(ast.Call(name("v_x"), [], [ast.keyword("a", name("v_y"))])),
    "a decorator": ast.FunctionDef("v_g", ast.arguments([], [], None, [], [], None, []), [ast.Pass()], [name("v_x")]),
    "an async function": ast.AsyncFunctionDef("v_g", ast.arguments([], [], None, [], [], None, []), [ast.Pass()], []),
    "a format spec": ast.Expr(
        ast.JoinedStr([ast.FormattedValue(name("v_x"), -1, ast.JoinedStr([ast.Constant(">9")]))])
    ),
    "a conversion": ast.Expr(ast.JoinedStr([ast.FormattedValue(name("v_x"), 114)])),
    "a name of python": ast.Expr(name("print")),
    "a dunder": ast.Expr(name("__builtins__")),
    "an unknown helper": ast.Expr(name("@rt")),
    "an assigned helper": ast.Assign([name("@fuel", True)], ast.Constant(None)),
    "a bytes constant": ast.Expr(ast.Constant(b"x")),
    "an ellipsis": ast.Expr(ast.Constant(...)),
    "a complex number": ast.Expr(ast.Constant(1j)),
    "a handler of anything": ast.Try([ast.Pass()], [ast.ExceptHandler(None, None, [ast.Pass()])], [], []),
    "a handler of a helper": ast.Try([ast.Pass()], [ast.ExceptHandler(name("@fuel"), None, [ast.Pass()])], [], []),
    "a handler of a variable": ast.Try([ast.Pass()], [ast.ExceptHandler(name("v_x"), None, [ast.Pass()])], [], []),
    "a handler of everything that passes nothing on": ast.Try(
        [ast.Pass()], [ast.ExceptHandler(name("@anything"), None, [ast.Raise(None, None), ast.Pass()])], [], []
    ),
    "a handler of everything that raises another error": ast.Try(
        [ast.Pass()], [ast.ExceptHandler(name("@anything"), None, [ast.Raise(name("v_x"), None)])], [], []
    ),
    "a handler that binds a guard": ast.Try(
        [ast.Pass()], [ast.ExceptHandler(name("@catchable"), "@add", [ast.Pass()])], [], []
    ),
    "a call of what a call gave": ast.Expr(ast.Call(ast.Call(name("@type"), [name("v_x")], []), [], [])),
    "a call of a lambda": ast.Expr(
        ast.Call(ast.Lambda(ast.arguments([], [], None, [], [], None, []), ast.Constant(1)), [], [])
    ),
    "a dict spread into another": ast.Expr(ast.Dict([None], [name("v_x")])),
    "parameters by keyword": ast.FunctionDef(
        "v_g", ast.arguments([], [], None, [ast.arg("v_a")], [None], None, []), [ast.Pass()], []
    ),
    "parameters that take any keyword": ast.FunctionDef(
        "v_g", ast.arguments([], [], None, [], [], ast.arg("v_a"), []), [ast.Pass()], []
    ),
    "parameters by place": ast.FunctionDef(
        "v_g", ast.arguments([ast.arg("v_a")], [], None, [], [], None, []), [ast.Pass()], []
    ),
    "an annotated parameter": ast.FunctionDef(
        "v_g", ast.arguments([], [ast.arg("v_a", name("v_x"))], None, [], [], None, []), [ast.Pass()], []
    ),
    "an annotated result": ast.FunctionDef(
        "v_g", ast.arguments([], [], None, [], [], None, []), [ast.Pass()], [], name("v_x")
    ),
    "a function with a name of python": ast.FunctionDef(
        "print", ast.arguments([], [], None, [], [], None, []), [ast.Pass()], []
    ),
    "a guard made nonlocal": ast.Nonlocal(["@fuel"]),
    "a tuple with bytes in it": ast.Expr(ast.Constant((1, ("a", b"x")))),
    "a box at another place": ast.Expr(ast.Subscript(name("v_x"), ast.Constant(1), ast.Load())),
    "a box of a variable place": ast.Expr(ast.Subscript(name("v_x"), name("v_y"), ast.Load())),
    "an async comprehension": ast.Expr(
        ast.ListComp(name("v_x"), [ast.comprehension(name("v_x", True), name("v_y"), [], 1)])
    ),
    "a set": ast.Expr(ast.Set([name("v_x")])),
    "an assertion": ast.Assert(name("v_x")),
    "a match": ast.Match(name("v_x"), [ast.match_case(ast.MatchAs(), None, [ast.Pass()])]),
    "an annotated assignment": ast.AnnAssign(name("v_x", True), name("v_y"), None, 1),
    "an augmented assignment": ast.AugAssign(name("v_x", True), ast.Add(), name("v_y")),
    "a dict comprehension": ast.Expr(
        ast.DictComp(name("v_x"), name("v_y"), [ast.comprehension(name("v_x", True), name("v_y"), [], 0)])
    ),
    "membership": ast.Expr(ast.Compare(name("v_x"), [ast.In()], [name("v_y")])),
    "a generator": ast.Expr(ast.GeneratorExp(name("v_x"), [ast.comprehension(name("v_x", True), name("v_y"), [], 0)])),
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_each_forbidden_form_is_refused(what: str) -> None:
    with pytest.raises(Refused):
        verify_tree(body(FORBIDDEN[what]))


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "def f():\n    return __builtins__",
        "def f(x):\n    return x",
        "def f():\n    def g():\n        return open\n    return g",
        "b'x'",
        "v_x = 1",
        "lambda x: 1",
        "lambda v_x: lambda: [y for y in v_x]",
    ],
)
def test_code_with_a_foreign_name_or_constant_is_refused(source: str) -> None:
    with pytest.raises(Refused):
        verify_code(compile(source.replace("b'x'", "(lambda: b'x')"), "a", "exec", dont_inherit=True))


def test_a_guard_handed_to_a_parameter_of_its_name_is_refused() -> None:
    tree = made()
    main = tree.body[0]
    assert isinstance(main, ast.FunctionDef)
    main.args.args.append(ast.arg("@add"))
    with pytest.raises(Refused, match="@add"):
        verify_tree(ast.fix_missing_locations(tree))
