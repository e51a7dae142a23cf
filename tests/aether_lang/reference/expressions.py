"""What each expression gives (sections 6.4, 7 and 8)."""

from typing import Any

from aether_lang import nodes

from .methods import method
from .operators import binary, unary
from .values import (
    Bag,
    Exhausted,
    Function,
    Mistake,
    Pattern,
    cut,
    fail,
    held,
    key,
    number,
    order,
    pairs,
    read_element,
    read_field,
    same,
    text,
    truth,
    walked,
)
from .walk import UNSET, Env, Walk, rule

MISSING: Any = object()


@rule(nodes.Null)
def _null(w: Walk, node: Any, env: Env) -> Any:
    return None


@rule(nodes.Bool, nodes.Number, nodes.Text)
def _literal(w: Walk, node: Any, env: Env) -> Any:
    return node.value


@rule(nodes.Regex)
def _regex(w: Walk, node: nodes.Regex, env: Env) -> Any:
    return Pattern(node.pattern, node.flags)


@rule(nodes.TextTemplate)
def _template(w: Walk, node: nodes.TextTemplate, env: Env) -> Any:
    said = ""
    for part in node.parts:
        if isinstance(part, str):
            said += part
        elif part.spec is None:
            said += text(w.do(part.value, env))
        else:
            said += format(w.do(part.value, env), part.spec)
    if len(said) > 100_000:
        raise Exhausted
    return said


def bound(w: Walk, node: Any, name: str, env: Env) -> Any:
    """What a name is bound to, MISSING if nothing is."""
    holder = env.holder(name)
    value = w.globals.get(name, MISSING) if holder is None else holder.names[name]
    if value is UNSET:
        w.warn("AW206", node)
        return None
    return value


@rule(nodes.Name)
def _name(w: Walk, node: nodes.Name, env: Env) -> Any:
    value = bound(w, node, node.name, env)
    if value is not MISSING:
        return value
    if node.role == "symbol":
        return node.name
    if node.role == "signal":
        return None
    raise fail("NameError", f"nothing is bound to '{node.name}'")


@rule(nodes.Field)
def _field(w: Walk, node: nodes.Field, env: Env) -> Any:
    value = w.do(node.value, env)
    return None if node.safe and value is None else read_field(value, node.name)


@rule(nodes.Index)
def _index(w: Walk, node: nodes.Index, env: Env) -> Any:
    value = w.do(node.value, env)
    return read_element(value, w.do(node.index, env))


@rule(nodes.Slice)
def _slice(w: Walk, node: nodes.Slice, env: Env) -> Any:
    value = w.do(node.value, env)
    lower, upper = (None if end is None else w.do(end, env) for end in (node.lower, node.upper))
    return cut(value, lower, upper)


def arguments(w: Walk, args: tuple[nodes.Arg, ...], env: Env) -> tuple[list[Any], dict[str, Any]]:
    positional: list[Any] = []
    named: dict[str, Any] = {}
    for arg in args:
        value = w.do(arg.value, env)
        if arg.spread:
            positional += walked(value)
        elif arg.name is not None:
            named[arg.name] = value
        else:
            positional.append(value)
    return positional, named


@rule(nodes.Call)
def _call(w: Walk, node: nodes.Call, env: Env) -> Any:
    if isinstance(node.function, nodes.Name):
        f = bound(w, node.function, node.function.name, env)
        if f is MISSING:
            raise fail("UnknownFunction", f"there is no function '{node.function.name}'")
    else:
        f = w.do(node.function, env)
    if node.safe and f is None:
        return None
    args, named = arguments(w, node.args, env)
    return w.call(f, args, named, node)


@rule(nodes.MethodCall)
def _method_call(w: Walk, node: nodes.MethodCall, env: Env) -> Any:
    if isinstance(node.receiver, nodes.Name) and env.holder(node.receiver.name) is None:
        library = w.globals.get(f"{node.receiver.name}.{node.method}")
        if library is not None:
            return w.call(library, *arguments(w, node.args, env), node)
    receiver = w.do(node.receiver, env)
    if receiver is None:
        if node.safe:
            return None
        raise fail("TypeError", f"cannot call .{node.method} of null")
    args, named = arguments(w, node.args, env)
    if isinstance(receiver, dict) and isinstance(receiver.get(node.method), Function):
        return w.call(receiver[node.method], args, named, node)

    def back(f: Any, *values: Any) -> Any:
        return w.call(f, list(values), {}, node, callback=True)

    return method(receiver, node.method, args, named, back)


@rule(nodes.New)
def _new(w: Walk, node: nodes.New, env: Env) -> Any:
    args, _ = arguments(w, node.args, env)
    if node.constructor == "Set":
        bag = Bag()
        for one in walked(args[0] if args else None):
            bag.add(one)
        return bag
    assert node.constructor == "Error", "the others depend on the time or the outside"
    return Mistake("UserError", text(args[0] if args else None))


@rule(nodes.Unary)
def _unary(w: Walk, node: nodes.Unary, env: Env) -> Any:
    value = w.do(node.operand, env)
    return not truth(value) if node.op == "not" else unary(node.op, value, lambda: w.warn("AW501", node))


@rule(nodes.Binary)
def _binary(w: Walk, node: nodes.Binary, env: Env) -> Any:
    left = w.do(node.left, env)
    return binary(node.op, left, w.do(node.right, env), lambda: w.warn("AW501", node))


@rule(nodes.Logic)
def _logic(w: Walk, node: nodes.Logic, env: Env) -> Any:
    value = None
    for operand in node.operands:
        value = w.do(operand, env)
        decided = value is not None if node.op == "??" else truth(value) is (node.op == "or")
        if decided:
            return value
    return value


def compared(op: str, a: Any, b: Any) -> bool:
    if op in ("==", "!="):
        return same(a, b) is (op == "==")
    if op in ("in", "not in"):
        return held(a, b) is (op == "in")
    found = order(a, b)
    if found is None:
        return False
    return {"<": found < 0, "<=": found <= 0, ">": found > 0, ">=": found >= 0}[op]


@rule(nodes.Compare)
def _compare(w: Walk, node: nodes.Compare, env: Env) -> Any:
    left = w.do(node.operands[0], env)
    for op, operand in zip(node.ops, node.operands[1:], strict=True):
        right = w.do(operand, env)
        if not compared(op, left, right):
            return False
        left = right
    return True


@rule(nodes.PostfixTest)
def _postfix(w: Walk, node: nodes.PostfixTest, env: Env) -> Any:
    value = w.do(node.operand, env)
    tests = {"exists": value is not None, "not exists": value is None, "empty": not truth(value)}
    return tests.get(node.test, truth(value))


@rule(nodes.Conditional)
def _conditional(w: Walk, node: nodes.Conditional, env: Env) -> Any:
    return w.do(node.then if truth(w.do(node.condition, env)) else node.otherwise, env)


@rule(nodes.Range)
def _range(w: Walk, node: nodes.Range, env: Env) -> Any:
    lower = w.do(node.lower, env)
    upper = w.do(node.upper, env)
    if not number(lower) or not number(upper) or lower != int(lower) or upper != int(upper):
        raise fail("TypeError", "a range goes from one whole number to another")
    if upper - lower > 20_000:
        raise Exhausted
    return list(range(int(lower), int(upper) + 1))


@rule(nodes.Await)
def _await(w: Walk, node: nodes.Await, env: Env) -> Any:
    return w.do(node.value, env)


@rule(nodes.ListExpr, nodes.TupleExpr)
def _list(w: Walk, node: Any, env: Env) -> Any:
    made: list[Any] = []
    for element in node.elements:
        if isinstance(element, nodes.Spread):
            made += walked(w.do(element.value, env))
        else:
            made.append(w.do(element, env))
    return made


@rule(nodes.DictExpr)
def _dict(w: Walk, node: nodes.DictExpr, env: Env) -> Any:
    made: dict[str, Any] = {}
    for pair in node.pairs:
        if pair.key is None:
            spread = w.do(pair.value, env)
            if spread is not None and not isinstance(spread, dict):
                raise fail("TypeError", "only a dict can be spread into a dict")
            made.update(spread or {})
        else:
            name = key(w.do(pair.key, env))
            made[name] = w.do(pair.value, env)
    return made


@rule(nodes.Comprehension)
def _comprehension(w: Walk, node: nodes.Comprehension, env: Env) -> Any:
    value = w.do(node.iterable, env)
    made = []
    for element in pairs(value) if len(node.names) == 2 else walked(value):
        w.step()
        inner = Env(env, names=round_of(node.names, element))
        if node.condition is None or truth(w.do(node.condition, inner)):
            made.append(w.do(node.element, inner))
    return made


def round_of(names: tuple[str, ...], element: Any) -> dict[str, Any]:
    """The bindings of one round of a loop."""
    if len(names) == 1:
        return {names[0]: element}
    return {name: read_element(element, at) for at, name in enumerate(names)}


@rule(nodes.Lambda)
def _lambda(w: Walk, node: nodes.Lambda, env: Env) -> Any:
    return Function("lambda", node.params, node.body, env)


@rule(nodes.IfExpr)
def _if_value(w: Walk, node: nodes.IfExpr, env: Env) -> Any:
    for branch in node.branches:
        if truth(w.do(branch.condition, env)):
            return w.block(branch.body, env)
    if isinstance(node.otherwise, nodes.Block):
        return w.block(node.otherwise, env)
    return None if node.otherwise is None else w.do(node.otherwise, env)
