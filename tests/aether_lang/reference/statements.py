"""What each statement does (section 10)."""

from typing import Any

from aether_lang import nodes

from .expressions import bound, round_of
from .operators import binary
from .values import (
    Exhausted,
    Mistake,
    Raised,
    fail,
    kind,
    pairs,
    read_element,
    read_field,
    same,
    text,
    truth,
    walked,
    write_element,
)
from .walk import Breaking, Continuing, Env, Returning, Walk, rule

ANY = ("Exception", "Error", "any", None)


@rule(nodes.ExprStmt)
def _expression(w: Walk, node: nodes.ExprStmt, env: Env) -> Any:
    return w.do(node.value, env)


@rule(nodes.Block)
def _block(w: Walk, node: nodes.Block, env: Env) -> Any:
    return w.block(node, env)


@rule(nodes.Function)
def _function(w: Walk, node: nodes.Function, env: Env) -> None:
    """Bound when its block began."""


@rule(nodes.Define)
def _define(w: Walk, node: nodes.Define, env: Env) -> None:
    env.names[node.name] = w.do(node.value, env)


@rule(nodes.Assign)
def _assign(w: Walk, node: nodes.Assign, env: Env) -> Any:
    if node.declare is not None:
        assert isinstance(node.target, nodes.Name)
        value = None if node.value is None else w.do(node.value, env)
        env.names[node.target.name] = value
        if node.declare == "const":
            env.constants.add(node.target.name)
        return value
    read, write = reached(w, node.target, env)
    if node.op == "=":
        value = w.do(node.value, env)
    else:
        before = read()
        value = binary(node.op[0], before, w.do(node.value, env), lambda: w.warn("AW501", node))
    write(value)
    return value


def reached(w: Walk, target: Any, env: Env) -> Any:
    """How to read and to write a target; its owner and its index are evaluated once."""
    if isinstance(target, nodes.Name):
        name = target.name
        holder = env.holder(name)
        if holder is not None and name in holder.constants:
            raise fail("ConstError", f"'{name}' is a constant")
        return lambda: bound(w, target, name, env), lambda value: env.assign(name, value)
    owner = w.do(target.value, env)
    if isinstance(target, nodes.Field):
        return lambda: read_field(owner, target.name), lambda value: write_field(owner, target.name, value)
    index = w.do(target.index, env)
    return lambda: read_element(owner, index), lambda value: write_element(owner, index, value)


def write_field(owner: Any, name: str, value: Any) -> None:
    if not isinstance(owner, dict):
        raise fail("TypeError", f"cannot set .{name} of {kind(owner)}")
    owner[name] = value


@rule(nodes.PostStep)
def _step(w: Walk, node: nodes.PostStep, env: Env) -> Any:
    read, write = reached(w, node.target, env)
    before = read()
    write(binary(node.op[0], before, 1, lambda: w.warn("AW501", node)))
    return before


@rule(nodes.ArrowStmt)
def _arrow(w: Walk, node: nodes.ArrowStmt, env: Env) -> None:
    value = w.do(node.value, env)
    _, write = reached(w, node.target, env)
    write(value)


@rule(nodes.CallStmt)
def _call(w: Walk, node: nodes.CallStmt, env: Env) -> None:
    value = w.do(node.call, env)
    for slot in node.slots:
        assert isinstance(slot, nodes.SlotArrow), "the other slots address the host"
        reached(w, slot.target, env)[1](value)


@rule(nodes.If)
def _if(w: Walk, node: nodes.If, env: Env) -> None:
    for branch in node.branches:
        if truth(w.do(branch.condition, env)):
            w.block(branch.body, env)
            return
    if node.otherwise is not None:
        w.block(node.otherwise, env)


@rule(nodes.For)
def _for(w: Walk, node: nodes.For, env: Env) -> None:
    value = w.do(node.iterable, env)
    for element in pairs(value) if len(node.names) == 2 else walked(value):
        w.step()
        try:
            w.block(node.body, Env(env, names=round_of(node.names, element)))
        except Continuing:
            continue
        except Breaking:
            return


@rule(nodes.While)
def _while(w: Walk, node: nodes.While, env: Env) -> None:
    while truth(w.do(node.condition, env)):
        w.step()
        try:
            w.block(node.body, env)
        except Continuing:
            continue
        except Breaking:
            return


@rule(nodes.Match)
def _match(w: Walk, node: nodes.Match, env: Env) -> None:
    subject = w.do(node.subject, env)
    for case in node.cases:
        hit = any(same(subject, w.do(value, env)) for value in case.values)
        if hit and (case.guard is None or truth(w.do(case.guard, env))):
            w.block(case.body, env)
            return
    if node.default is not None:
        w.block(node.default, env)


@rule(nodes.Try)
def _try(w: Walk, node: nodes.Try, env: Env) -> None:
    final = nodes.Block(node.span, ()) if node.final is None else node.final
    try:
        _attempt(w, node, env)
    except Exhausted:
        raise
    except Exception:
        w.block(final, env)
        raise
    w.block(final, env)


def _attempt(w: Walk, node: nodes.Try, env: Env) -> None:
    try:
        w.block(node.body, env)
    except Raised as raised:
        for clause in node.catches:
            if clause.type in (*ANY, raised.error.type):
                w.caught.append(raised.error)
                try:
                    w.block(clause.body, Env(env, names={clause.name: raised.error} if clause.name else {}))
                finally:
                    w.caught.pop()
                return
        raise


@rule(nodes.Throw)
def _throw(w: Walk, node: nodes.Throw, env: Env) -> None:
    if node.value is None:
        raise Raised(w.caught[-1])
    value = w.do(node.value, env)
    if isinstance(value, dict) and "message" in value:
        value = Mistake(value.get("type") or "UserError", text(value["message"]), value.get("data"))
    elif isinstance(value, str):
        value = Mistake("UserError", value)
    elif isinstance(value, Mistake) and not value.line:
        value = Mistake(value.type, value.message, value.data)
    assert isinstance(value, Mistake), "what else may be thrown is not laid down"
    raise Raised(value)


@rule(nodes.Return)
def _return(w: Walk, node: nodes.Return, env: Env) -> None:
    raise Returning(None if node.value is None else w.do(node.value, env))


@rule(nodes.Break)
def _break(w: Walk, node: nodes.Break, env: Env) -> None:
    raise Breaking


@rule(nodes.Continue)
def _continue(w: Walk, node: nodes.Continue, env: Env) -> None:
    raise Continuing
