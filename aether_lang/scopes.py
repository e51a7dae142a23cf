"""Which binding each name of a script means (language reference, section 7), found before any code is made.

One walk gives every `Name` node its `Binding` or none, tells which bindings closures share, and guesses kinds: a local
that is only ever assigned numbers needs no guard around its arithmetic.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from . import nodes, unfolding
from .kinds import Kind, Kinds, joined
from .stdlib import FUNCTIONS
from .walking import children

CALLS_BACK: Final = frozenset({"count", "filter", "map", "sorted", "Array.from"})
"""Library functions that run functions of the script."""
READS_TIME: Final = frozenset({"now", "current_time", "today", "date", "time_since", "format_time"})
"""Library functions whose value changes from call to call."""
INLINED: Final = frozenset({"map", "filter", "sort_by", "any", "some", "all", "every", "find", "sum"})
"""List methods that become a loop when their argument is a literal lambda without effects."""
_RESULT_NAMES: Final = {"run": "as", "summarize": "into", "detect": "into"}
"""Verbs that bind a name, with the preposition before it."""


class Binding:
    """One variable: where it lives and what is known about it."""

    __slots__ = ("boxed", "captured", "const", "declared", "function", "kind", "lazy", "loose", "name", "py", "values")

    def __init__(self, name: str, py: str, function: "FunctionScope") -> None:
        """`py` is its name in the generated code."""
        self.name = name
        self.py = py
        self.function = function
        self.values: list[nodes.Node | Kind] = []
        self.kind: Kind = "unset"
        self.const = False
        self.captured = False
        self.boxed = False
        self.loose = False
        self.lazy = False
        self.declared: nodes.Function | nodes.Handler | None = None

    @property
    def static(self) -> nodes.Function | nodes.Handler | None:
        """The function it always is, if it is declared as one and never assigned."""
        return self.declared if len(self.values) == 1 else None


class BlockScope:
    """The names of one block; `in_loop` when each round of a loop must have its own."""

    __slots__ = ("active", "bindings", "function", "in_loop", "parent")

    def __init__(self, parent: "BlockScope | None", function: "FunctionScope", in_loop: bool) -> None:
        """`parent` is the block around it, of the same function or an outer one."""
        self.parent = parent
        self.function = function
        self.in_loop = in_loop
        self.bindings: dict[str, Binding] = {}
        self.active: set[str] = set()


class FunctionScope:
    """One function of the generated code, or the module's main."""

    __slots__ = ("assigned", "boxes", "node", "outer", "root", "where")

    def __init__(self, node: nodes.Node, outer: BlockScope | None, where: bool = False) -> None:
        """`where` marks the condition of a `where`, in which fields of the entry come before variables."""
        self.node = node
        self.outer = outer
        self.where = where
        self.root = BlockScope(outer, self, False)
        self.assigned: dict[str, Binding] = {}
        self.boxes: dict[str, Binding] = {}

    def parents(self) -> Iterator["FunctionScope"]:
        """This function and those around it, inmost first."""
        scope: FunctionScope | None = self
        while scope is not None:
            yield scope
            scope = scope.outer.function if scope.outer is not None else None


class Scopes(Kinds):
    """The result of the walk over one module."""

    def __init__(self, module: nodes.Module, session: Mapping[str, tuple[bool, bool]] | None = None) -> None:
        """Walks the whole module. `session` has the names that entries before this one have bound: whether each is a
        constant, and whether it holds a future. They are variables of a function around the module."""
        self.names: dict[int, Binding | None] = {}
        self.functions: dict[int, FunctionScope] = {}
        self.blocks: dict[int, BlockScope] = {}
        self.inline: set[int] = set()
        self._purity: dict[int, bool] = {}
        self._in_where: set[int] = set()
        self._sure: set[Binding] = set()
        self._bindings: list[Binding] = []
        self._used: dict[str, int] = {}
        self._keep: list[nodes.Node] = [module]
        self._members: dict[str, list[Binding]] = {}
        self.made: dict[int, Any] = {}
        self.of_module: list[Binding] = []
        around = FunctionScope(module, None)
        self.session: dict[str, Binding] = {}
        self.main = around
        for name, (const, lazy) in (session or {}).items():
            binding = self._bind(name, around.root)
            binding.const, binding.lazy = const, lazy
            binding.values.append("any")
            self._sure.add(binding)
            self.session[name] = binding
        if session is not None:
            self.main = FunctionScope(module, around.root)
        self.functions[id(module)] = self.main
        results = self._look_over(module)
        self._prescan(module.body, self.main.root)
        self._bind_results(module, results)
        self._statements(module.body, self.main.root)
        self._infer()

    # ------------------------------------------------------------ bindings

    def _bind(self, name: str, block: BlockScope, active: bool = True) -> Binding:
        if name in self.session and block is self.main.root:
            return self._bind_anew(self.session[name], block, active)
        count = self._used.get(name, 0)
        self._used[name] = count + 1
        binding = Binding(name, f"v_{name}" if count == 0 else f"v_{name}@{count}", block.function)
        block.bindings[name] = binding
        if active:
            block.active.add(name)
        self._bindings.append(binding)
        return binding

    def _bind_anew(self, binding: Binding, block: BlockScope, active: bool) -> Binding:
        """A name of the session that the module declares again stays the same variable for all who know it."""
        binding.captured = True
        self.main.assigned[binding.py] = binding
        block.bindings[binding.name] = binding
        if active:
            block.active.add(binding.name)
        return binding

    def find(self, name: str, block: BlockScope | None) -> Binding | None:
        """The binding that `name` means in the block, as far as the walk has come."""
        function = block.function if block is not None else None
        while block is not None:
            binding = block.bindings.get(name)
            if binding is not None and (block.function is not function or name in block.active):
                return binding
            block = block.parent
        members = self._members.get(name)
        return members[0] if members is not None and len(members) == 1 else None

    def _use(self, name: str, block: BlockScope) -> Binding | None:
        binding = self.find(name, block)
        if binding is not None and binding.function is not block.function:
            self._capture(binding, block)
        return binding

    def _read(self, name: str, block: BlockScope) -> Binding | None:
        """As `_use`; a variable that may still be unset here has no kind to rely on."""
        binding = self._use(name, block)
        if binding is not None and binding not in self._sure:
            binding.loose = True
        return binding

    def _capture(self, binding: Binding, block: BlockScope) -> None:
        binding.captured = True
        owner: BlockScope | None = block
        inner = block.function
        while inner is not binding.function and inner.outer is not None:
            owner, last = inner.outer, inner
            inner = owner.function
        while owner is not None and owner.function is binding.function:
            if binding.name in owner.bindings and owner.bindings[binding.name] is binding:
                binding.boxed = binding.boxed or owner.in_loop
                break
            owner = owner.parent
        if binding.boxed:
            last.boxes[binding.py] = binding

    def _assign(self, name: str, block: BlockScope, value: nodes.Node | Kind) -> Binding:
        binding = self._use(name, block)
        if binding is None:
            binding = self._bind(name, block.function.root)
        binding.values.append(value)
        self._sure.add(binding)
        if binding.function is not block.function:
            block.function.assigned[binding.py] = binding
        return binding

    # ------------------------------------------------------------ what a function assigns

    def _prescan(self, body: tuple[Any, ...], root: BlockScope) -> None:
        """Creates the names that the function itself creates by assignment, so that reads before it find them."""
        for name in self._created(body, frozenset()):
            if self.find(name, root) is None:
                self._bind(name, root)

    def _look_over(self, module: nodes.Module) -> list[str]:
        """The names that steps give their results to. An item below an entry or another item is data, no statement."""
        found: list[str] = []
        work: list[Any] = list(module.body)
        while work:
            node = work.pop()
            work += children(node)
            found += unfolding.results(node)
            if isinstance(node, nodes.Entry | nodes.Item) and node.body is not None:
                self.made.update((id(part), None) for part in node.body.body if isinstance(part, nodes.Item))
        return found

    def _bind_results(self, module: nodes.Module, results: list[str]) -> None:
        """Creates the names that steps in functions give their results to: they are names of the module (12.4, 14.3).
        The walk over a function finds them there, unless the function has such a name of its own."""
        own = {node.target.name for node in module.body
               if isinstance(node, nodes.Assign) and node.declare is not None and isinstance(node.target, nodes.Name)
               }  # fmt: skip
        for name in results:
            if name not in own and self.find(name, self.main.root) is None:
                self.of_module.append(self._bind(name, self.main.root))

    def unfolded(self, node: Any, what: Callable[[Any], Any]) -> Any:
        """The nodes that a node means, made once: what is known of nodes goes by their identity."""
        if id(node) not in self.made:
            self.made[id(node)] = what(node)
            self._keep.append(node)
        return self.made[id(node)]

    def _created(self, body: Any, hidden: frozenset[str]) -> Iterator[str]:
        lets = set(hidden)
        for child in body:
            if isinstance(child, nodes.Assign):
                yield from self._created(children(child), frozenset(lets))
                if isinstance(child.target, nodes.Name):
                    if child.declare is not None:
                        lets.add(child.target.name)
                    elif child.target.name not in lets:
                        yield child.target.name
            elif isinstance(child, nodes.Define):
                lets.add(child.name)
            elif isinstance(child, nodes.For):
                yield from self._created((child.iterable,), frozenset(lets))
                yield from self._created(child.body.body, frozenset(lets | set(child.names)))
            elif isinstance(child, nodes.Catch):
                yield from self._created(child.body.body, frozenset(lets | {child.name or ""}))
            elif isinstance(child, nodes.Comprehension):
                yield from self._created(children(child), frozenset(lets | set(child.names)))
            elif isinstance(child, nodes.Manifest):
                yield from self._created(self.unfolded(child, unfolding.statements), frozenset(lets))
            elif isinstance(child, nodes.Item):
                statement = self.unfolded(child, unfolding.item_statement)
                yield from self._created((statement,) if statement is not None else children(child), frozenset(lets))
            elif isinstance(child, nodes.Workflow) and child.name is None:
                yield from (name for name in unfolding.results(child) if name not in lets)
            elif not isinstance(child, _OF_THEIR_OWN):
                for name in _written(child):
                    if name not in lets:
                        yield name
                yield from self._created(children(child), frozenset(lets))

    # ------------------------------------------------------------ the walk

    def _open(
        self, node: nodes.Node, outer: BlockScope, params: tuple[nodes.Param, ...], where: bool = False
    ) -> BlockScope:
        function = FunctionScope(node, outer, where)
        self.functions[id(node)] = function
        self._keep.append(node)
        for param in params:
            if param.default is not None:
                self._expression(param.default, function.root)
            for name in param.names or (param.name,):
                self._bind(name, function.root).values.append("list" if param.rest else "any")
        return function.root

    def _function(self, node: Any, outer: BlockScope, params: tuple[nodes.Param, ...], body: nodes.Block) -> None:
        sure = set(self._sure)
        if isinstance(node, nodes.Function | nodes.Handler):
            self._sure = set()  # it may be called before anything around it is assigned
        root = self._open(node, outer, params)
        self._prescan(body.body, root)
        self._statements(body.body, root)
        self._sure = sure

    def block(self, node: nodes.Block, parent: BlockScope, in_loop: bool) -> BlockScope:
        """The scope of a block, walked through."""
        scope = BlockScope(parent, parent.function, in_loop)
        self.blocks[id(node)] = scope
        self._keep.append(node)
        sure = set(self._sure)
        self._statements(node.body, scope)
        self._sure = sure
        return scope

    def _statements(self, body: tuple[Any, ...], block: BlockScope) -> None:
        for node in body:
            if isinstance(node, nodes.Assign) and node.declare is not None and isinstance(node.target, nodes.Name):
                name = node.target.name
                if name not in block.bindings:
                    self._bind(name, block, active=False).const = node.declare == "const"
            elif isinstance(node, nodes.Define) and node.name not in block.bindings:
                self._bind(node.name, block, active=False)
            elif isinstance(node, nodes.Plugin):
                self._declare_plugin(node, block)
            elif isinstance(node, nodes.Function | nodes.Handler):
                self._declare(node, block)
            elif isinstance(node, nodes.Workflow) and node.name is not None:
                self._declare(self.unfolded(node, unfolding.named_workflow), block)
            elif isinstance(node, nodes.Section) and node.name not in block.bindings:
                self._bind(node.name, block)
        for node in body:
            self._statement(node, block)

    def _declare(self, node: nodes.Function | nodes.Handler, block: BlockScope) -> Binding:
        name = node.name
        binding = block.bindings.get(name) or self._bind(name, block)
        block.active.add(name)
        binding.values.append("any")
        binding.declared = node
        self.names[id(node)] = binding
        return binding

    def _declare_plugin(self, node: nodes.Plugin, block: BlockScope) -> None:
        if node.name not in block.bindings:
            self._bind(node.name, block).values.append("any")
        scope = BlockScope(block, block.function, block.in_loop)
        self.blocks[id(node)] = scope
        self._keep.append(node)
        for name in ("self", "config", "state"):
            binding = self._bind(name, scope)
            binding.values.append("any")
            binding.const = name == "config"
        for member in self.members(node):
            self._members.setdefault(member.name, []).append(self._declare(member, scope))

    def members(self, node: nodes.Plugin) -> list[nodes.Function | nodes.Handler]:
        """The functions and handlers of a plugin block; the work of a template is its `on_run`."""
        work = () if node.template is None else (self.unfolded(node, unfolding.template_handler),)
        return [*node.functions, *node.handlers, *work]

    def _template(self, node: nodes.Template, block: BlockScope) -> None:
        """What is computed at each trigger, in its order; the name of `output` is a field of the block."""
        guard = node.trigger.guard if node.trigger is not None else None
        computed: list[Any] = [guard, node.goal, node.model, *node.constraints, node.feedback and node.feedback.expect]
        computed += [
            self.unfolded(entry, unfolding.filtered) if entry.key == "filter" else entry.value
            for entry in (*node.retrieve, *node.store)
        ]
        for part in computed:
            if part is not None:
                self._expression(part, block)
        if node.output is not None:
            self._assign(node.output, block, "any")
        self._statements(node.actions, block)
        if node.feedback is not None and node.feedback.no_response is not None:
            self.block(node.feedback.no_response, block, block.in_loop)

    def _statement(self, node: Any, block: BlockScope) -> None:
        if isinstance(node, nodes.Assign):
            self._assignment(node, block)
        elif isinstance(node, nodes.Function | nodes.Handler | nodes.Command):
            self._function(node, block, node.inputs if isinstance(node, nodes.Command) else node.params, node.body)
        elif isinstance(node, nodes.Timer):
            self._function(node, block, (), node.body)
        elif isinstance(node, nodes.For):
            self._expression(node.iterable, block)
            scope = BlockScope(block, block.function, True)
            for name in node.names:
                binding = self._bind(name, scope)
                binding.values.append(element_kind(self, node.iterable) if len(node.names) == 1 else "any")
                self._sure.add(binding)
            self.blocks[id(node)] = scope
            self._keep.append(node)
            self.block(node.body, scope, True)
        elif isinstance(node, nodes.While):
            self._expression(node.condition, block)
            self.block(node.body, block, True)
        elif isinstance(node, nodes.Catch):
            scope = BlockScope(block, block.function, block.in_loop)
            self.blocks[id(node)] = scope
            self._keep.append(node)
            if node.name is not None:
                self._bind(node.name, scope).values.append("any")
            self.block(node.body, scope, block.in_loop)
        elif isinstance(node, nodes.Plugin):
            self._plugin(node, block)
        elif isinstance(node, nodes.Define):
            self._expression(node.value, block)
            binding = block.bindings.get(node.name) or self._bind(node.name, block)
            binding.values.append(node.value)
            block.active.add(node.name)
            self.names[id(node)] = binding
        elif isinstance(node, nodes.Parallel):
            self._parallel(node, block)
        elif isinstance(node, nodes.Workflow):
            self._workflow(node, block)
        elif isinstance(node, nodes.Template):
            self._template(node, block)
        elif isinstance(node, nodes.Manifest):
            self._statements(self.unfolded(node, unfolding.statements), block)
        elif isinstance(node, nodes.Item):
            statement = self.unfolded(node, unfolding.item_statement)
            self._rest(node, block) if statement is None else self._statement(statement, block)
        elif isinstance(node, nodes.ErrorRule):
            if node.retry is not None:
                self._expression(node.retry, block)
            self._code(node, block, (nodes.Param(node.span, "error"),), node.actions)
        elif isinstance(node, nodes.Use | nodes.FromImport):
            for name in (node.name,) if isinstance(node, nodes.Use) else node.names:
                binding = self._assign(name, block, "any")
                binding.lazy = binding.lazy or isinstance(node, nodes.FromImport)
        else:
            self._rest(node, block)

    def _parallel(self, node: nodes.Parallel, block: BlockScope) -> None:
        """Each branch is a function; its name is bound before any of them begins, and holds what is yet to come."""
        for branch in node.branches:
            if branch.name is not None:
                binding = self._assign(branch.name, block, "any")
                binding.lazy = True
                self.names[id(branch)] = binding
                self._keep.append(branch)
        for branch in node.branches:
            self._code(branch, block, (), (branch.value,))

    def _workflow(self, node: nodes.Workflow, block: BlockScope) -> None:
        """Each step is a function of what the step before gave, and assigns its alias; a named workflow is one too."""
        if node.name is not None:
            self._statement(self.unfolded(node, unfolding.named_workflow), block)
            return
        if node.input is not None:
            self._expression(node.input, block)
        for n, step in enumerate(node.steps):
            for part in (step.retry, step.timeout, step.requires, step.condition):
                if part is not None:
                    self._expression(part, block)
            first = n == 0 and node.input is None
            call = unfolding.step_call(step, first=first)
            done: nodes.Stmt = nodes.ExprStmt(step.span, call)
            if step.alias is not None:
                done = nodes.Assign(step.span, nodes.Name(step.span, step.alias), "=", call)
            self.made[id(step)] = done
            self._keep.append(step)
            self._code(step, block, (nodes.Param(step.span, unfolding.GIVEN),), (done,))
        if isinstance(node.output, nodes.Name):
            self.names[id(node.output)] = self._assign(node.output.name, block, "any")

    def _code(
        self, node: nodes.Node, block: BlockScope, params: tuple[nodes.Param, ...], parts: tuple[Any, ...]
    ) -> None:
        """Statements or expressions that are a function of their own."""
        sure = set(self._sure)
        root = self._open(node, block, params)
        self._prescan(parts, root)
        for part in parts:
            self._statement(part, root) if isinstance(part, _STATEMENTS) else self._expression(part, root)
        self._sure = sure

    def _assignment(self, node: nodes.Assign, block: BlockScope) -> None:
        if node.value is not None:
            self._expression(node.value, block)
        if not isinstance(node.target, nodes.Name):
            self._expression(node.target, block)
            return
        name = node.target.name
        if node.declare is not None:
            binding = block.bindings.get(name) or self._bind(name, block)
            block.active.add(name)
            binding.values.append(node.value if node.value is not None else "null")
            self._sure.add(binding)
        else:
            value: nodes.Node | Kind = node.value if node.value is not None else "null"
            if node.op != "=":
                self._read(name, block)
                value = nodes.Binary(node.span, node.op[:-1], node.target, value)  # type: ignore[arg-type]
                self._keep.append(value)
            binding = self._assign(name, block, value)
        self.names[id(node.target)] = binding

    def _plugin(self, node: nodes.Plugin, block: BlockScope) -> None:
        self.names[id(node)] = block.bindings[node.name]
        scope = self.blocks[id(node)]
        for part in (node.config, node.state, *node.fields, *node.sections):
            if part is not None:
                self._statement(part, scope)
        self._bind_fields(node, scope)
        for member in (*self.members(node), *node.timers):
            self._statement(member, scope)
        self._statements(node.statements, scope)

    def _bind_fields(self, node: nodes.Plugin, scope: BlockScope) -> None:
        """The fields, sections and variables of a plugin block are names in its functions. Bound once the fields are
        walked: between themselves they are symbols."""
        output = node.template.output if node.template is not None else None
        for name in (*(entry.key for entry in node.fields), *(section.name for section in node.sections), output or ""):
            if name.isidentifier() and name not in scope.bindings:
                self._bind(name, scope).values.append("any")
        for statement in node.statements:
            if isinstance(statement, nodes.Assign) and statement.declare is not None:
                name = getattr(statement.target, "name", "")
                if name and name not in scope.bindings:
                    self._bind(name, scope, active=False).const = statement.declare == "const"

    def _rest(self, node: Any, block: BlockScope) -> None:
        """What has no rule of its own: blocks get scopes, targets are assigned, names found."""
        if isinstance(node, nodes.PostStep) and isinstance(node.target, nodes.Name):
            self._read(node.target.name, block)
        for name in _written(node):
            self._assign(name, block, node if isinstance(node, nodes.PostStep) else "any")
        if isinstance(node, nodes.Section) and node.name in block.bindings:
            self.names[id(node)] = block.bindings[node.name]
            block.bindings[node.name].values.append("any")
        for child in children(node):
            if isinstance(child, nodes.Block):
                self.block(child, block, block.in_loop)
            elif isinstance(child, nodes.Node):
                self._statement(child, block) if isinstance(child, _STATEMENTS) else self._expression(child, block)

    def _expression(self, node: Any, block: BlockScope) -> None:
        if isinstance(node, nodes.Name):
            self.names[id(node)] = self._read(node.name, block)
            if block.function.where:
                self._in_where.add(id(node))
        elif isinstance(node, nodes.Lambda):
            if isinstance(node.body, nodes.Block):
                self._function(node, block, node.params, node.body)
            else:
                sure = set(self._sure)
                root = self._open(node, block, node.params)
                self._prescan((node.body,), root)
                if isinstance(node.body, nodes.Assign):
                    self._statement(node.body, root)
                else:
                    self._expression(node.body, root)
                self._sure = sure
        elif isinstance(node, nodes.TextPhrase):
            pass  # its slots are shown to tools, at run time it is text
        elif isinstance(node, nodes.Comprehension):
            self._comprehension(node, block)
        elif isinstance(node, nodes.Call) and self._repeats(node, block):
            self._rest(self.made[id(node)], block)
        elif isinstance(node, nodes.MethodCall) and self._inlines(node, block):
            self._inlined(node, block)
        elif isinstance(node, nodes.SlotGuard) and node.word == "where" and node.condition is not None:
            root = self._open(node, block, (), where=True)
            self._expression(node.condition, root)
        else:
            self._rest(node, block)

    def _repeats(self, node: nodes.Call, block: BlockScope) -> bool:
        """Whether the call is the library's `retry` of a call."""
        if not isinstance(node.function, nodes.Name) or node.function.name != "retry":
            return False
        return self.find("retry", block) is None and self.unfolded(node, unfolding.repeated) is not None

    def _comprehension(self, node: nodes.Comprehension, block: BlockScope) -> None:
        self._expression(node.iterable, block)
        scope = BlockScope(block, block.function, True)
        self.blocks[id(node)] = scope
        self._keep.append(node)
        for name in node.names:
            self._bind(name, scope).values.append("any")
        if node.condition is not None:
            self._expression(node.condition, scope)
        self._expression(node.element, scope)

    def _inlines(self, node: nodes.MethodCall, block: BlockScope) -> bool:
        if node.method not in INLINED or node.safe or len(node.args) != 1 or node.args[0].name is not None:
            return False
        if isinstance(node.receiver, nodes.Name) and self.find(node.receiver.name, block) is None:
            return False  # a plugin, an agent or an ambient value
        function = node.args[0].value
        return (
            isinstance(function, nodes.Lambda)
            and not node.args[0].spread
            and 1 <= len(function.params) <= 2
            and not any(p.default is not None or p.rest or p.names for p in function.params)
            and not isinstance(function.body, nodes.Block | nodes.Assign)
            and self._plain(function.body, {p.name for p in function.params}, block)
        )

    def _plain(self, node: Any, params: set[str], block: BlockScope) -> bool:
        """Whether a lambda's body has no effects and names only variables."""
        if isinstance(node, nodes.Name):
            return (node.name in params or self.find(node.name, block) is not None) and not block.function.where
        if isinstance(node, nodes.Call):
            return is_library_call(node) and all(self._plain(arg.value, params, block) for arg in node.args)
        return _is_pure_shape(node) and all(self._plain(child, params, block) for child in children(node))

    def pure(self, node: Any) -> bool:
        """Whether evaluating the expression twice is the same as once: no effects, no assignments, no closures."""
        known = self._purity.get(id(node))
        if known is None:
            if isinstance(node, nodes.Name):
                known = self.names.get(id(node)) is not None and id(node) not in self._in_where
            elif isinstance(node, nodes.Call):
                known = is_library_call(node) and self.names.get(id(node.function)) is None
                known = known and all(self.pure(arg.value) for arg in node.args)
            else:
                known = _is_pure_shape(node) and all(self.pure(child) for child in children(node))
            self._purity[id(node)] = known
        return known

    def _inlined(self, node: nodes.MethodCall, block: BlockScope) -> None:
        self._expression(node.receiver, block)
        self.inline.add(id(node))
        self._keep.append(node)
        function = node.args[0].value
        assert isinstance(function, nodes.Lambda)
        scope = BlockScope(block, block.function, True)
        self.blocks[id(node)] = scope
        for n, param in enumerate(function.params):
            binding = self._bind(param.name, scope)
            binding.values.append("int" if n else "any")
            self._sure.add(binding)
        self._expression(function.body, scope)

    # ------------------------------------------------------------ kinds

    def _infer(self) -> None:
        """The least kinds that agree with all assignments, found by going round until nothing changes."""
        changed = True
        while changed:
            changed = False
            for binding in self._bindings:
                kind: Kind = "any" if binding.loose else "unset"
                for value in binding.values:
                    kind = joined(kind, value if isinstance(value, str) else self.kind(value))
                if kind != binding.kind:
                    binding.kind = kind
                    changed = True


_OF_THEIR_OWN: Final = (
    nodes.Function,
    nodes.Lambda,
    nodes.Handler,
    nodes.Command,
    nodes.Timer,
    nodes.ErrorRule,
    nodes.ParallelBranch,
    nodes.TextPhrase,
)
"""Nodes that create no names in the function around them: other functions, and text that only looks like code."""
_STATEMENTS: Final = (*nodes.Stmt.__args__, nodes.Catch, nodes.Case, nodes.Branch, nodes.ErrorRule)  # type: ignore[attr-defined]
_PURE: Final = (
    nodes.Null,
    nodes.Bool,
    nodes.Number,
    nodes.Text,
    nodes.Name,
    nodes.Field,
    nodes.Index,
    nodes.Unary,
    nodes.Binary,
    nodes.Logic,
    nodes.Compare,
    nodes.PostfixTest,
    nodes.Conditional,
)


def element_kind(scopes: Scopes, iterable: Any) -> Kind:
    """What a loop over the expression gives each round."""
    if isinstance(iterable, nodes.Range) or scopes.kind(iterable) == "int":
        return "int"
    if is_range(scopes, iterable):
        return "int"
    return "any"


def is_range(scopes: Scopes, node: Any) -> bool:
    """Whether the expression is a plain call of the library's `range`."""
    return (
        isinstance(node, nodes.Call)
        and isinstance(node.function, nodes.Name)
        and node.function.name == "range"
        and scopes.names.get(id(node.function)) is None
        and 1 <= len(node.args) <= 3
        and not any(arg.name or arg.spread for arg in node.args)
    )


def is_library_call(node: nodes.Call) -> bool:
    """Whether the call has the shape of one to a library function without effects that runs nothing of the script."""
    return (
        isinstance(node.function, nodes.Name)
        and node.function.name in FUNCTIONS
        and node.function.name not in CALLS_BACK
        and node.function.name not in READS_TIME
        and not node.safe
        and fits(FUNCTIONS[node.function.name], node.args)
    )


def fits(function: Any, args: tuple[nodes.Arg, ...]) -> bool:
    """Whether plain positional arguments are all that the library function needs and takes."""
    code = function.__code__
    most = 1_000_000 if code.co_flags & 4 else code.co_argcount - 1
    least = code.co_argcount - 1 - len(function.__defaults__ or ())
    return least <= len(args) <= most and not any(arg.name or arg.spread for arg in args)


def _is_pure_shape(node: Any) -> bool:
    if isinstance(node, nodes.Field) and node.safe:
        return isinstance(node.value, nodes.Name)
    if isinstance(node, nodes.Compare) and len(node.ops) > 1:
        return all(isinstance(x, nodes.Name | nodes.Number | nodes.Text) for x in node.operands[1:-1])
    if isinstance(node, nodes.Logic):
        return node.op != "??" or all(isinstance(x, nodes.Name) for x in node.operands[:-1])
    return isinstance(node, _PURE)


def _written(node: Any) -> Iterator[str]:
    """Names that the node itself assigns, apart from `Assign`."""
    target = None
    if isinstance(node, nodes.ArrowStmt | nodes.AwaitEvent | nodes.SlotArrow | nodes.PostStep):
        target = node.target
    elif isinstance(node, nodes.Use):
        yield node.name
    elif isinstance(node, nodes.FromImport):
        yield from node.names
    elif isinstance(node, nodes.Parallel):
        yield from (branch.name for branch in node.branches if branch.name is not None)
    elif isinstance(node, nodes.VerbPhrase):
        for slot in node.slots:
            if isinstance(slot, nodes.SlotPrep) and slot.prep == _RESULT_NAMES.get(node.base):
                target = slot.value
    if isinstance(target, nodes.Name):
        yield target.name


def result_slot(phrase: nodes.VerbPhrase) -> nodes.Name | None:
    """The name that the phrase binds its result to by a preposition, if it is such a verb."""
    for slot in phrase.slots:
        if isinstance(slot, nodes.SlotPrep) and slot.prep == _RESULT_NAMES.get(phrase.base):
            return slot.value if isinstance(slot.value, nodes.Name) else None
    return None
