"""The typed syntax tree of an Aether script: what the parser gives, and all that the compiler, checker and tools
read.

Every node is a frozen struct whose first field is its `Span`. Sequences are tuples, so a tree cannot be changed
after it was built. Trees serialise with `msgspec` (each node carries its class name as tag) and `VERSION` names
their shape.

A tree may be 800 levels deep (`a + a + ..`, `a.b.c..`); walk it with a list of work, or raise the recursion limit
first.

Three unions say what may stand where: `Expr` (has a value), `Stmt` (stands in a block) and `Slot` (part of a
phrase)."""

from __future__ import annotations

from typing import Literal, TypeAlias, Union

import msgspec

VERSION = 2

Role: TypeAlias = Literal["value", "symbol", "signal"]


class Span(msgspec.Struct, frozen=True, gc=False):
    """Where a node stands. Lines and columns count characters from 1, the end column is the first one behind;
    `start` and `end` are offsets into the text of the script."""

    line: int
    column: int
    end_line: int
    end_column: int
    start: int
    end: int


class Node(msgspec.Struct, frozen=True, tag=True, tag_field="node", gc=False):
    """What all nodes share."""

    span: Span


# ---------------------------------------------------------------- literals


class Null(Node, frozen=True):
    """`null`, `None`, `none`, `undefined`."""


class Bool(Node, frozen=True):
    """`true` or `false`, in any of the accepted spellings."""

    value: bool


class Number(Node, frozen=True):
    """A number, already computed: percentages as fractions, durations in seconds, sizes in bytes. `unit` says how
    it was written (`"percent"`, `"duration"`, `"size"`, else None), `text` is the literal itself."""

    value: int | float
    text: str
    unit: Literal["percent", "duration", "size"] | None = None


class TimeAgo(Node, frozen=True):
    """`30_days_ago`: `now() - seconds`, evaluated when reached."""

    seconds: int


class Text(Node, frozen=True):
    """A string without interpolation, escapes already resolved. `raw` marks prose that stood without quotes: the
    value of a `goal:` line, a `|` block, a hyphenated word, a clock time."""

    value: str
    raw: bool = False


class Interpolation(Node, frozen=True):
    """One `{..}` of a string. `spec` is None for the text rule, else the format to render the number in: `d`, or
    digits after the point (None if not given) with `f`, `e` or `%`, kept as written without the colon (`.2f`)."""

    value: Expr
    spec: str | None = None


class TextTemplate(Node, frozen=True):
    """A string with interpolations. `parts` alternate freely between literal text and `Interpolation`; render each
    by the text rule of values and join."""

    parts: tuple[str | Interpolation, ...]


class Regex(Node, frozen=True):
    """`/body/flags`; accepted by the engine when it was parsed. Flags are letters out of `gimsu`."""

    pattern: str
    flags: str


# ---------------------------------------------------------------- names and access


class Name(Node, frozen=True):
    """A name that is read. `role` decides what happens when nothing is bound to it: `"value"` raises `NameError`
    (unless it is the receiver of a `MethodCall`, which addresses the plugin or agent of that name), `"symbol"`
    gives the string of the name, `"signal"` asks `signal.read`. `sigil` marks `$x` and `{{x}}`, which always mean
    the variable: their role is `"value"`."""

    name: str
    role: Role = "value"
    sigil: bool = False


class Path(Node, frozen=True):
    """`system/goals` behind `call` or the preposition `from`: the module of that path, loaded when it is first
    used."""

    path: str


class Field(Node, frozen=True):
    """`value.name`; `safe` is `?.`. A field that is called is a `MethodCall` instead."""

    value: Expr
    name: str
    safe: bool = False


class Index(Node, frozen=True):
    """`value[index]`."""

    value: Expr
    index: Expr


class Slice(Node, frozen=True):
    """`value[lower:upper]`, both ends optional."""

    value: Expr
    lower: Expr | None
    upper: Expr | None


class Arg(Node, frozen=True):
    """One argument. `name` is set for `name=value` and `name: value`; `spread` for `...value`. Evaluated left to
    right."""

    value: Expr
    name: str | None = None
    spread: bool = False


class Call(Node, frozen=True):
    """`function(args)`; `safe` is `f?.(..)`: null when the function is null. A `Name` as function is resolved by
    the rule for functions, not by its role. `effect` marks the prefix `call`."""

    function: Expr
    args: tuple[Arg, ...]
    safe: bool = False
    effect: bool = False


class MethodCall(Node, frozen=True):
    """`receiver.method(args)`. `safe` (`?.`) gives null when the receiver is null. `effect` marks the prefix
    `call`: then a string receiver addresses the plugin of that name, a dict with `type: "agent"` that agent. An
    unbound `Name` as receiver is the plugin or agent of that name, a `Path` a module."""

    receiver: Expr
    method: str
    args: tuple[Arg, ...]
    safe: bool = False
    effect: bool = False


class New(Node, frozen=True):
    """`new Set(xs)`: one of the fixed constructors `Set Date URL Error`."""

    constructor: str
    args: tuple[Arg, ...]


# ---------------------------------------------------------------- operators


class Unary(Node, frozen=True):
    """A sign, bit complement or negation."""

    op: Literal["-", "+", "~", "not"]
    operand: Expr


class Binary(Node, frozen=True):
    """An arithmetic or bit operator on two operands; chains lean to the left, except `**`."""

    op: Literal["+", "-", "*", "/", "%", "**", "|", "^", "&", "<<", ">>"]
    left: Expr
    right: Expr


class Logic(Node, frozen=True):
    """`and`, `or` or `??` between two or more operands, left to right, stopping early; the value is that of an
    operand."""

    op: Literal["and", "or", "??"]
    operands: tuple[Expr, ...]


class Compare(Node, frozen=True):
    """A comparison chain: `operands[0] ops[0] operands[1] ops[1] ..`, each operand evaluated at most once, stopping
    at the first false. `is` and `is not` arrive as `==` and `!=`. `in` and `not in` never stand in a chain longer
    than one."""

    ops: tuple[Literal["==", "!=", "<", ">", "<=", ">=", "in", "not in"], ...]
    operands: tuple[Expr, ...]


class PostfixTest(Node, frozen=True):
    """A test written behind its operand: `x exists`, `x not exists`, `x empty`, `x not empty`."""

    test: Literal["exists", "not exists", "empty", "not empty"]
    operand: Expr


class Conditional(Node, frozen=True):
    """`then if condition else otherwise`, or `condition ? then : otherwise`."""

    condition: Expr
    then: Expr
    otherwise: Expr


class Range(Node, frozen=True):
    """`lower..upper`, both ends included."""

    lower: Expr
    upper: Expr


class Await(Node, frozen=True):
    """`await e` inside an expression: the value of a future, any other value as it is."""

    value: Expr


class PostStep(Node, frozen=True):
    """`x++` or `x--`: changes the target by one and gives its old value. The target is a `Name`, `Field` or
    `Index`."""

    op: Literal["++", "--"]
    target: Expr


# ---------------------------------------------------------------- collections


class Spread(Node, frozen=True):
    """`...value` as an element of a list."""

    value: Expr


class ListExpr(Node, frozen=True):
    """`[a, ...b, c]`. A `k: v` element arrives as a `DictExpr` of one pair."""

    elements: tuple[Expr | Spread, ...]


class TupleExpr(Node, frozen=True):
    """`(a, b)`, `(a,)` or `()`: a list that compares element by element."""

    elements: tuple[Expr, ...]


class Pair(Node, frozen=True):
    """One entry of a dict. A NAME key arrives as `Text`, `{a}` as the pair of `Text` and `Name`; any other key is
    evaluated. `key` is None for `...value`."""

    key: Expr | None
    value: Expr


class DictExpr(Node, frozen=True):
    """`{k: v, ...d, name}`."""

    pairs: tuple[Pair, ...]


class Comprehension(Node, frozen=True):
    """`element for names in iterable if condition`: builds a list first. Two names take pairs. The names are bound
    inside only."""

    element: Expr
    names: tuple[str, ...]
    iterable: Expr
    condition: Expr | None


# ---------------------------------------------------------------- functions and blocks as values


class TypeRef(Node, frozen=True):
    """A type in an annotation; it has no effect when the script runs."""

    name: str
    args: tuple[TypeRef, ...] = ()
    optional: bool = False
    alternatives: tuple[TypeRef, ...] = ()


class Param(Node, frozen=True):
    """One parameter. `rest` is `...name`. `names` is set for the pattern `[a, b]`, whose `name` is empty: the
    argument is a list taken apart. Defaults are evaluated per call, left to right, and may use earlier parameters."""

    name: str
    default: Expr | None = None
    type: TypeRef | None = None
    rest: bool = False
    names: tuple[str, ...] = ()


class Lambda(Node, frozen=True):
    """`x => e`, `(a, b) => { .. }`, `lambda a: e`, `function(a) { .. }`. The body is an expression (its value is
    the result), an `Assign` (done; the result is the value assigned), or a `Block` (null unless it returns)."""

    params: tuple[Param, ...]
    body: Expr | Assign | Block


class Block(Node, frozen=True):
    """Statements in order, with a scope of their own for `let`."""

    body: tuple[Stmt, ...]


class Branch(Node, frozen=True):
    """One condition of an `if` with what it leads to."""

    condition: Expr
    body: Block


class IfExpr(Node, frozen=True):
    """`if c { a } else { b }` as a value: that of the last expression statement of the chosen block, null if there
    is none. `otherwise` may be a plain expression."""

    branches: tuple[Branch, ...]
    otherwise: Block | Expr | None


# ---------------------------------------------------------------- phrases


class SlotExpr(Node, frozen=True):
    """A value in a phrase. An unbound bare name is a symbol (its `Name` has that role). `comma` says that a comma
    stood before it, not a mere blank."""

    value: Expr
    comma: bool = False


class SlotWord(Node, frozen=True):
    """A word that can only be prose, such as `don't`."""

    text: str


class SlotPrep(Node, frozen=True):
    """A preposition and its operand: `with x`, `from w`, `as "t"`, `based_on y`. The operand may be missing."""

    prep: str
    value: Expr | None


class SlotKey(Node, frozen=True):
    """`priority: high`, `min_frequency=2`."""

    key: str
    value: Expr


class SlotGuard(Node, frozen=True):
    """`if unless when where` and a condition. `where` filters entries with their fields in scope; the others decide
    whether the statement does anything. `slots` holds the rest when a phrase stood behind `where` (then `condition`
    is None)."""

    word: Literal["if", "unless", "when", "where"]
    condition: Expr | None
    slots: tuple[Slot, ...] = ()


class SlotArrow(Node, frozen=True):
    """`-> target`: the result is assigned to a `Name`, `Field` or `Index`."""

    target: Expr


class VerbPhrase(Node, frozen=True):
    """A verb and its slots as a value (`x = recall notes from today`) and, inside a `VerbStmt`, as a statement.
    `text` is the source of the slots as written. `verb` is the whole word; a compound one (`adapt_strategy`) has
    `base` (`adapt`), else the two are equal."""

    verb: str
    base: str
    slots: tuple[Slot, ...]
    text: str


class TextPhrase(Node, frozen=True):
    """A phrase that does not begin with a verb, as the value of an entry: its value is `text`; `slots` are attached
    for those that want structure (`expect: reply from user within 2h`)."""

    slots: tuple[Slot, ...]
    text: str


class BareComparison(Node, frozen=True):
    """`> 0` as the value of an entry: the check `{op, value}`."""

    op: str
    value: Expr


# ---------------------------------------------------------------- plain statements


class ExprStmt(Node, frozen=True):
    """An expression evaluated and dropped. A bare `Name` of a handler fires it; of a verb, it arrives as
    `VerbStmt`."""

    value: Expr


class Assign(Node, frozen=True):
    """`target = value`, `target += value`, `let x: T = value`, `let x` (value None). `declare` is None where the
    nearest binding is updated. `colon` marks `name: value` written as a statement, which means the same. The target
    is a `Name`, `Field` or `Index`; with `declare` a `Name`."""

    target: Expr
    op: Literal["=", "+=", "-=", "*=", "/=", "%="]
    value: Expr | None
    declare: Literal["let", "const"] | None = None
    type: TypeRef | None = None
    colon: bool = False


class ArrowStmt(Node, frozen=True):
    """`e -> x`: evaluates and assigns by the rule of `=`. `guard` comes first, where there is one."""

    value: Expr
    target: Expr | None
    guard: SlotGuard | None = None


class CallStmt(Node, frozen=True):
    """A call that goes on as a phrase: `remember(v) as "a,b" if c`. `as x` is passed as keyword `as`, other
    prepositions and keys under their own names; a guard decides first; an arrow binds the result."""

    call: Expr
    slots: tuple[Slot, ...]
    text: str


class If(Node, frozen=True):
    """`if / elif / else`."""

    branches: tuple[Branch, ...]
    otherwise: Block | None


class For(Node, frozen=True):
    """`for names in iterable`; one or two names, bound afresh each round."""

    names: tuple[str, ...]
    iterable: Expr
    body: Block


class While(Node, frozen=True):
    """`while condition`."""

    condition: Expr
    body: Block


class Case(Node, frozen=True):
    """`case a, b if guard`: hit when any of `values` equals the subject and the guard holds."""

    values: tuple[Expr, ...]
    guard: Expr | None
    body: Block


class Match(Node, frozen=True):
    """`match subject`: the first hit runs, nothing falls through; `default` wherever it stood."""

    subject: Expr
    cases: tuple[Case, ...]
    default: Block | None


class Catch(Node, frozen=True):
    """One `catch`/`except`. `type` None catches every catchable error. `name` is bound to the error inside, if
    given."""

    type: str | None
    name: str | None
    body: Block


class Try(Node, frozen=True):
    """`try` with at least one of `catches` and `final`."""

    body: Block
    catches: tuple[Catch, ...]
    final: Block | None


class Throw(Node, frozen=True):
    """`throw e` or `raise e`; without a value it raises the error of the enclosing catch again."""

    value: Expr | None


class Return(Node, frozen=True):
    """`return` with or without a value."""

    value: Expr | None


class Break(Node, frozen=True):
    """`break`; always inside a loop."""


class Continue(Node, frozen=True):
    """`continue`; always inside a loop."""


class Wait(Node, frozen=True):
    """`wait 5`, `wait 5 minutes` (the phrase arrives as the text `"5 minutes"`): holds the job that many seconds."""

    duration: Expr


class AwaitValues(Node, frozen=True):
    """`await a, b` as a statement: waits for all of them."""

    values: tuple[Expr, ...]


class AwaitEvent(Node, frozen=True):
    """`await event "name" for d` or `await approval "text" for d`, `-> x` binds its value. Parks the run."""

    kind: Literal["event", "approval"]
    subject: Expr
    duration: Expr | None
    target: Expr | None


class VerbStmt(Node, frozen=True):
    """A verb statement. `colon` marks the spelling `verb: slots`. Its block is payload for `remember store emit run`
    (`body` then holds `Entry`s), code to run inside for `simulate`, code to run afterwards for all others."""

    phrase: VerbPhrase
    body: Block | None = None
    colon: bool = False


class Message(Node, frozen=True):
    """`architect: review for "risks"`: the intent of that phrase, sent to the agent `to`."""

    to: str
    phrase: VerbPhrase
    body: Block | None = None


# ---------------------------------------------------------------- modules


class Use(Node, frozen=True):
    """`use a/b` and `import "a/b" as u`: binds `name` to the module of `path`, loaded when first used."""

    path: str
    name: str


class FromImport(Node, frozen=True):
    """`from a/b import x, y`."""

    path: str
    names: tuple[str, ...]


class Export(Node, frozen=True):
    """`export { a, b }`."""

    names: tuple[str, ...]


class Define(Node, frozen=True):
    """`define X as e`: binds X like `let`."""

    name: str
    value: Expr


# ---------------------------------------------------------------- declarations


class Function(Node, frozen=True):
    """A named function in any spelling, hoisted where it stands. `body` None declares only (the checker refuses
    it)."""

    name: str
    params: tuple[Param, ...]
    body: Block
    exported: bool = False
    returns: TypeRef | None = None


class Handler(Node, frozen=True):
    """Code that an event runs; also a function of that name. Spellings: `when name(a):` (`event` equals `name`),
    `on_start { }` in a plugin (name `on_start`, event `start`), `on x { }`, `on event "x":`, `on memory event "x":`
    (`source` is `memory`). `on_run` has the event None: it is the entry point."""

    name: str
    event: str | None
    params: tuple[Param, ...]
    body: Block
    source: str | None = None


class When(Node, frozen=True):
    """`when condition:`: at top level checked once when reached and, while resident, at each change of its signals;
    inside code it is an `if`."""

    condition: Expr
    body: Block


class Timer(Node, frozen=True):
    """`every 5 minutes:`. `text` is the schedule as written behind and with the word `every`;
    `schedules.parse_schedule` reads it."""

    text: str
    slots: tuple[Slot, ...]
    body: Block


class Entry(Node, frozen=True):
    """`key: value` with an optional block, where it is data: a field of a declaration, a key of a record, an item's
    head. Neither value nor body present means null. `quoted` says that the key was a string."""

    key: str
    value: EntryValue | None
    body: Block | None = None
    quoted: bool = False


class Item(Node, frozen=True):
    """`- ..` or `1. ..`: a statement or entry, and the deeper lines that belong to it. In a code block a numbered
    line is unwrapped to its statement."""

    content: Stmt | None
    body: Block | None = None
    number: int | None = None


class Section(Node, frozen=True):
    """`name { .. }`: its entries and nested sections form a dict bound to `name`; everything else in it runs or
    registers in order. `label` is a second word or string behind the name."""

    name: str
    label: str | None
    body: Block


class Trigger(Node, frozen=True):
    """When a template does its work: on a schedule (as text), at an event, or both, while `guard` holds."""

    schedule: str | None
    event: str | None
    guard: Expr | None


class Feedback(Node, frozen=True):
    """What a template expects back (`expect`, a text such as `reply from user within 2h`) and what it does when no
    answer arrives in time."""

    expect: Expr | None
    no_response: Block | None


class Template(Node, frozen=True):
    """The keys of a template, in the order of its work: on each trigger whose guard holds, retrieve entries, run one
    AI call over them (`goal`, `model`, `constraints`), bind `output`, run the actions, store, then wait for the
    feedback. `retrieve` and `store` are the entries of `memory:`."""

    trigger: Trigger | None
    retrieve: tuple[Entry, ...]
    store: tuple[Entry, ...]
    goal: Expr | None
    model: Expr | None
    constraints: tuple[Expr, ...]
    output: str | None
    actions: tuple[Stmt, ...]
    feedback: Feedback | None


class Plugin(Node, frozen=True):
    """`plugin p { .. }`, `plugin "p":`, `agent a { .. }`. `config` and `state` are the values of those fields or None,
    a sub-block of that name arrives as a `DictExpr` too. `fields` are the other entries, in order; `sections` the
    unknown sub-sections, kept as data; `statements` what else stood in the body and runs when the declaration is
    reached; `template` the keys of a template, where it has any."""

    kind: Literal["plugin", "agent"]
    name: str
    fields: tuple[Entry, ...]
    config: Expr | None
    state: Expr | None
    handlers: tuple[Handler, ...]
    functions: tuple[Function, ...]
    timers: tuple[Timer, ...]
    sections: tuple[Section, ...]
    statements: tuple[Stmt, ...]
    template: Template | None = None


class ExposeCommand(Node, frozen=True):
    """`expose_command "word" -> handler`."""

    word: str
    handler: str


class Command(Node, frozen=True):
    """`command: "word"` with a body. `inputs` are parameters of the body, `outputs` names of its results."""

    word: str
    inputs: tuple[Param, ...]
    outputs: tuple[str, ...]
    body: Block


class Goal(Node, frozen=True):
    """A goal. All parts may be raw text (`Text`). With a body the goal is active while the body runs."""

    title: Expr
    priority: Expr | None
    deadline: Expr | None
    metrics: Expr | None
    body: Block | None = None


class HeaderFlag(Node, frozen=True):
    """`consciousness: enabled`, `memory: persistent`, `identity: "X"`, `agent: on`, `agents: [a]`, `local_ai: on
    model: "m"`, `model: "m"`. `options` are the keys behind the value (`model`, `specialization`). A `Call` as
    value of `memory` is evaluated into the variable `memory_scope`."""

    key: str
    value: EntryValue | None
    options: tuple[SlotKey, ...] = ()


class PluginLine(Node, frozen=True):
    """`plugin: name.function arg*`, `plugin: name word`, `plugin: tool arg*`, `plugin: f(x)` and `meta: tool mode`.
    `target` is the dotted name or the call; the result goes to `$response` and `$last_output`."""

    target: Expr
    args: tuple[Slot, ...]
    text: str


# ---------------------------------------------------------------- intent blocks


class Meta(Node, frozen=True):
    """`meta:` or `meta { .. }`. The entries of intent blocks have their deeper lines as their value."""

    entries: tuple[Entry, ...]


class Policy(Node, frozen=True):
    """`policy:` or `policy { .. }`: read before anything runs, wherever it stands."""

    entries: tuple[Entry, ...]


class Require(Node, frozen=True):
    """`require:` or `require { .. }`: checked before the first statement."""

    entries: tuple[Entry, ...]


class WorkflowStep(Node, frozen=True):
    """One step; a bare `Name` or `Field` is called with the result before it, a call is made as written."""

    call: Expr
    alias: str | None
    retry: Expr | None
    timeout: Expr | None
    requires: Expr | None
    condition: Expr | None


class Workflow(Node, frozen=True):
    """`workflow:` or `workflow name { .. }`. `output` as a symbol names what the last result is bound to; `entries` are
    other keys, which mean nothing."""

    name: str | None
    input: Expr | None
    output: Expr | None
    steps: tuple[WorkflowStep, ...]
    entries: tuple[Entry, ...] = ()


class ParallelBranch(Node, frozen=True):
    """One branch of `parallel:`; without a name its result is dropped."""

    name: str | None
    value: Expr


class Parallel(Node, frozen=True):
    """`parallel:`."""

    branches: tuple[ParallelBranch, ...]


class Transaction(Node, frozen=True):
    """`transaction:` or `transaction { .. }`; dash items arrive as plain statements."""

    body: Block


class ErrorRule(Node, frozen=True):
    """One rule of `on_error:`. `types` are error names (none for all), `pattern` a substring of the message."""

    types: tuple[str, ...]
    pattern: str | None
    actions: tuple[Stmt, ...]
    retry: Expr | None
    then: Literal["continue", "stop", "rollback"] | None


class OnError(Node, frozen=True):
    """`on_error:`."""

    rules: tuple[ErrorRule, ...]


class PluginContract(Node, frozen=True):
    """`plugin_contract:` or `plugin_contract name { .. }`."""

    name: str | None
    entries: tuple[Entry, ...]


class ManifestStep(Node, frozen=True):
    """One record of a manifest that does something. `action` is its first key and `subject` the value of it; `using`
    the call that does it, `params` its arguments, `output` the name of its result. `condition` decides between `then`
    and `otherwise`; a loop binds `names` to the elements of `iterable` and runs `do`; `log` is a message. `others` are
    keys that only say something. Texts that stand for expressions are parsed here already."""

    action: str
    subject: Expr | None
    using: Expr | None
    params: Expr | None
    output: str | None
    condition: Expr | None
    then: tuple[ManifestStep, ...]
    otherwise: tuple[ManifestStep, ...]
    names: tuple[str, ...]
    iterable: Expr | None
    do: tuple[ManifestStep, ...]
    log: Expr | None
    others: tuple[Entry, ...]


class Manifest(Node, frozen=True):
    """`steps:` and its like: dash records of which at least one is a step. `data` is the whole as `manifest()` reads
    it, with calls as text; `steps` are the records that are steps, in order."""

    key: str
    data: Expr
    steps: tuple[ManifestStep, ...]


class Module(Node, frozen=True):
    """A whole script. `name` is what diagnostics and tracebacks call the file; `source` is its text, for source
    lines."""

    name: str
    source: str
    body: tuple[Stmt, ...]
    version: int = VERSION


Expr: TypeAlias = Union[  # noqa: UP007  (the runtime value is read by msgspec before all names exist)
    Null, Bool, Number, TimeAgo, Text, TextTemplate, Regex, Name, Path, Field, Index, Slice, Call, MethodCall, New,
    Unary, Binary, Logic, Compare, PostfixTest, Conditional, Range, Await, PostStep, ListExpr, TupleExpr, DictExpr,
    Comprehension, Lambda, IfExpr, VerbPhrase,
]  # fmt: skip
EntryValue: TypeAlias = Union[  # noqa: UP007
    Null, Bool, Number, TimeAgo, Text, TextTemplate, Regex, Name, Path, Field, Index, Slice, Call, MethodCall, New,
    Unary, Binary, Logic, Compare, PostfixTest, Conditional, Range, Await, PostStep, ListExpr, TupleExpr, DictExpr,
    Comprehension, Lambda, IfExpr, VerbPhrase, TextPhrase, BareComparison,
]  # fmt: skip
Slot: TypeAlias = Union[SlotExpr, SlotWord, SlotPrep, SlotKey, SlotGuard, SlotArrow]  # noqa: UP007
Stmt: TypeAlias = Union[  # noqa: UP007
    ExprStmt, Assign, ArrowStmt, CallStmt, If, For, While, Match, Try, Throw, Return, Break, Continue, Wait,
    AwaitValues, AwaitEvent, VerbStmt, Message, Use, FromImport, Export, Define, Function, Handler, When, Timer, Entry,
    Item, Section, Plugin, ExposeCommand, Command, Goal, HeaderFlag, PluginLine, Meta, Policy, Require,
    Workflow, Parallel, Transaction, OnError, PluginContract, Manifest,
]  # fmt: skip
