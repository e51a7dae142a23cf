"""What is known of the places of a script before the formatter prints it: what its tree says (`Facts`), and what its
lines say (`Outline`)."""

from __future__ import annotations

from itertools import pairwise

from . import nodes
from .layout import Block, Line
from .parser import Reading
from .walking import children
from .words import VERBS

_OPERAND_ENDS = frozenset(
    {
        "NAME", "VAR", "STRING", "NUMBER", "UNITNUM", "PERCENT", "CONST", "REGEX", "PATH", "TEMPLATE", "CLOCK", "WORD",
        "RPAR", "RBRA", "RBRACE", "STEP", "POSTFIX", "BLOCK", "HYPHWORD",
    }
)  # fmt: skip
_OPENS = frozenset({"LPAR", "CPAR", "LLPAR", "LBRA", "IBRA", "LBRACE"})
_CLOSES = frozenset({"RPAR", "RBRA", "RBRACE"})


class Facts:
    """What the tree says about places of the text: where a text begins and ends (`texts`), of these the `prose` that
    wants quotes and the `raws` that do in an item; the one-word `titles` of goals; where items and parameters begin;
    the names that are `bound` anywhere."""

    def __init__(self) -> None:
        self.texts: dict[int, int] = {}
        self.prose: set[int] = set()
        self.raws: set[int] = set()
        self.titles: set[int] = set()
        self.items: set[int] = set()
        self.params: set[int] = set()
        self.bound: set[str] = set()


class Outline:
    """What the lines say about places of the text: which statement begins where, who owns which block, the role of
    each token, and where the words of a phrase stand whose text counts."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self.last: dict[int, Line] = {}
        self.blocks: dict[int, Block] = {}
        self.owners: dict[int, tuple[Line, bool]] = {}
        self.roles: dict[int, str] = {}
        self.unary: set[int] = set()
        self.loose: set[int] = set()
        self.comparisons: set[int] = set()


# ---------------------------------------------------------------- what the tree says


def gather(reading: Reading) -> Facts:
    """Goes once over the tree."""
    facts = Facts()
    text = reading.source.text
    places = [token.span.start for token in reading.tokens if token.text]
    following = dict(pairwise(places))
    work: list[nodes.Node] = [reading.module]
    while work:
        node = work.pop()
        _note(facts, node, text, following)
        work += children(node)
    return facts


def _note(facts: Facts, node: nodes.Node, text: str, following: dict[int, int]) -> None:
    start = node.span.start
    match node:
        case nodes.TextPhrase():
            facts.texts[start] = start + len(node.text)
        case nodes.Text(raw=True):
            _note_text(facts, node, text, following)
        case nodes.Text(value=value):
            # A call in a manifest, which `manifest()` shows as text; no quotes stand there, and no key or operator.
            if not value.isidentifier() and any(map(str.isalnum, value)) and text.startswith(value, start):
                facts.texts.setdefault(start, start + len(value))
        case nodes.Timer():
            facts.texts[start] = start + len(node.text)
        case nodes.Item():
            facts.items.add(start)
            content = node.content
            alone = node.body is None and type(content) is nodes.Entry and not content.key and content.body is None
            phrase = content.value if alone else None  # type: ignore[union-attr]
            if type(phrase) is nodes.TextPhrase:
                facts.prose.add(phrase.span.start)
        case nodes.Goal(title=nodes.Text(raw=True)):
            facts.prose.add(node.title.span.start)
        case nodes.Goal(title=nodes.Name(role="symbol", sigil=False)):
            facts.titles.add(node.title.span.start)
        case nodes.Param():
            facts.params.add(start)
            facts.bound.update((node.name, *node.names))
        case nodes.Assign(target=nodes.Name(name=name)) | nodes.SlotArrow(target=nodes.Name(name=name)):
            facts.bound.add(name)
        case nodes.ArrowStmt(target=nodes.Name(name=name)):
            facts.bound.add(name)
        case nodes.For() | nodes.FromImport():
            facts.bound.update(node.names)
        case nodes.Function() | nodes.Handler() | nodes.Use() | nodes.Section() | nodes.Plugin() | nodes.Define():
            facts.bound.add(node.name)
        case _:
            pass


def _note_text(facts: Facts, node: nodes.Text, text: str, following: dict[int, int]) -> None:
    """Where the text of a raw `Text` stands: at its place, or behind the first word there."""
    start, value = node.span.start, node.value
    if not value or text.startswith("|", start):
        return
    if text.startswith(value, start):
        facts.texts.setdefault(start, start + len(value))
        facts.raws.add(start)
        return
    behind = following.get(start)
    if behind is None:
        return
    word, _, rest = value.partition(" ")
    for wanted in (value, rest if text.startswith(word, start) else ""):
        if wanted and text.startswith(wanted, behind):
            facts.texts.setdefault(behind, behind + len(wanted))
            return


# ---------------------------------------------------------------- what the lines say


def survey(root: Block) -> Outline:
    """Goes once over the blocks as they were laid out, and once over them as they were shaped."""
    outline = Outline()
    work = [root]
    while work:
        block = work.pop()
        for line in block.lines:
            start = line.tokens[0].span.start
            outline.lines[start] = line
            outline.last[line.tokens[-1].span.start] = line
            for body, inner in ((line.body, False), (line.item_body, True)):
                if body is not None:
                    outline.owners[id(body)] = (line, inner)
                    work.append(body)
            for token in line.tokens:
                if token.type == "BLOCK":
                    outline.blocks[token.span.start] = token.data
                    work.append(token.data)
    work = [root]
    while work:
        for line in work.pop().lines:
            work += _roles(outline, line)
    return outline


def _roles(outline: Outline, line: Line) -> list[Block]:
    """Notes the roles of the tokens of a line. Gives the blocks in it."""
    blocks: list[Block] = []
    roles, before = outline.roles, ["", ""]
    depth = 0
    loose = False
    for token in line.out:
        type, start = token.type, token.span.start
        if type == "BLOCK":
            blocks.append(token.data)
        elif type in ("VERB", "PHRASE"):
            base = token.data[0] if isinstance(token.data, tuple) else None
            loose = base != "" and (base not in VERBS or VERBS[base].kind != "core")
        elif type in ("GUARD", "ARROW"):
            loose = loose and type == "ARROW"
        elif type in _CLOSES:
            depth -= 1
        elif loose and not depth and token.text:
            outline.loose.add(start)
        if type in _OPENS:
            depth += 1
        if token.text and type != "BLOCK":
            if (type == "LPAR" and before == ["FN", "NAME"]) or (type == "LLPAR" and before[1] == "ANONFN"):
                type = "CPAR"
            elif type in ("MINUS", "PLUS", "TILDE", "NOT") and before[1] not in _OPERAND_ENDS:
                outline.unary.add(start)
            elif type == "KEY" and token.data and (token.data.block in ("data", "declaration") or token.data.item):
                type = "DATAKEY"
            elif type == "CMPOP":
                outline.comparisons.add(line.tokens[-1].span.start)
            roles[start] = type
        before = [before[1], token.type]
    return blocks
