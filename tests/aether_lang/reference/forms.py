"""The forms that drawn expressions have, by the kind of their value. `<kind>` is the place of one of that kind,
`<kind:0>` of a plain one; `<key>` and the names of `SIGNS` are words to draw."""

NUM = "num"
ANY = (NUM, "str", "bool", "nums", "strs", "dict", "rows", "null")
SIGNS = {
    "bit": ("&", "|", "^", "<<", ">>"),
    "cmp": ("<", "<=", ">", ">=", "==", "!=", "is", "is not", "===", "!=="),
    "exponent": ("2", "0", "3", "(-1)", ".5"),
    "count": ("0", "1", "4", "2, 5", "5, 0, -2"),
    "scalar": ("1", "true", "1.5", "null"),
}
SHARED = (
    "(<kind> if <bool> else <kind>)", "(<bool> ? <kind> : <kind>)", "(<null> ?? <kind>)", "(<kind> ?? <kind>)",
    "(<kind> or <kind>)", "(<kind> and <kind>)", "(<kind> || <kind>)", "[<kind>].first", "[<kind>][0]",
    "(x => (<kind>))(1)", "{ k: <kind> }.k", "{ k: <kind> }?.k", "((a, b = <kind>) => b)(1)",
    "(([k, v]) => v)([1, <kind>])", "[1].map(() => (<kind>))[0]", "(await [<kind>])[0]", "(lambda a: a)(<kind>)",
)  # fmt: skip
"""Forms of any kind of value."""
BLOCKS = (
    "(() => { let t = <kind>; return t })()", "(if <bool> { (<kind>) } else { (<kind>) })",
    "(function(a) { return a })(<kind>)",
)  # fmt: skip
"""Those that hold a block, which cannot stand inside a string."""
FORMS: dict[str, tuple[str, ...]] = {
    "num": (
        "(<num> + <num>)", "(<num> + <num>)", "(<num> - <num>)", "(<num> * <num>)", "(<num> / <num>)",
        "(<num> % <num>)", "(-<num>)", "(+<num>)", "(<num> <bit> <num>)", "(~<num>)", "(<num> ** <exponent>)",
        "<nums>.length", "<str>.length", "<nums>[<small>]", "<dict>.<key>", "<nums>.sum()", "<nums>.max()",
        "max(<num>, <num>)", "min([<num>, <num>])", "abs(<num>)", "len(<strs>)", "floor(<num>)",
        "<nums>.reduce((a, x) => a + x, <num>)", "sum(x for x in <nums>)", "<nums>.find(x => x > <num>)",
        "<rows>[0].n", "count(<nums>, x => x > <num>)", "<strs>.index_of(<str>)", "int(<num>)",
        "<dict>.get('<key>', <num>)", "<rows>.sum(r => r.n)", "<nums>.last", "(<num>).clamp(0, 10)",
        "<nums>.average()", "<dict>.values().sum()", "ceil(<num>)", "[new Set(<nums>)][0].size()",
        "Math.max(<num>, <num>)", "avg(<num>, <num>)", "<rows>.max(r => r.n)",
    ),
    "small": (
        "<nums>.length", "(<small:0> + 1)", "len(<str:0>)", "(<small:0> - 1)",
    ),
    "str": (
        "(<str> + <any>)", "(<any> + <str>)", "(<str> * <small:0>)", "str(<any>)", "<str>.upper()", "<str>.lower()",
        "<str>.trim()", "<str>[<small>:]", "<str>[:<small>]", "<str>[<small>]", "<str>.replace(<str>, 'x')",
        "<str>.replace(/[ae]/g, '-')", "<str>.replace(/t/, m => m + '!')", "<strs>.join(<str>)", "<nums>.join('-')",
        "typeof(<any>)", "type(<any>)", "JSON.stringify(<any>)", "<str>.slice(1)", "<str>.charAt(0)",
        "<str>.pad_start(4, '*')", "<str>.repeat(2)", "<str>.substring(1, 2)", "(<num>).toString()",
        "join(<nums>, ' ')", "upper(<str>)", "<strs>.first", "<rows>[0].a",
    ),
    "bool": (
        "(<num> <cmp> <num>)", "(<num> <cmp> <num>)", "(<str> <cmp> <str>)", "(not <any>)", "(!<any>)",
        "(<any> == <any>)", "(<num> in [<num>, <num>])", "(<str> in <str>)", "(<str> in <dict>)",
        "(<strs> in <strs>)", "(<num> < <num> <= <num>)", "(<any> exists)", "(<any> empty)", "(<any> not empty)",
        "(<any> not exists)", "bool(<any>)", "<nums>.any(x => x > <num>)", "<nums>.all(x => x > 0)",
        "<str>.includes(<str>)", "(<nums> < <nums>)", "any(x > 1 for x in <nums>)", "(<bool> && <bool>)",
        "<dict>.has('<key>')", "/[a-e]+/.test(<str>)", "(<nums> == <nums>)", "Array.isArray(<any>)",
        "(<num> not in <nums>)", "(<dict> == <dict>)", "all(<nums>)", "any(<nums>)", "(<bool> == <bool>)",
        "contains(<strs>, <str>)",
    ),
    "nums": (
        "(<nums> + <nums>)", "<nums>.map(x => x * 2)", "<nums>.map((x, i) => x + i)", "<nums>.filter(x => x > <num>)",
        "<nums>[<small>:]", "<nums>[:<small>]", "[x + 1 for x in <nums> if x < <num>]", "[...<nums>, <num>]",
        "<nums>.reverse()", "<nums>.take(2)", "<nums>.skip(1)", "<nums>.unique()", "<nums>.sort_by(x => -x)",
        "sorted(<nums>)", "<dict>.values()", "(<small:0>..<small:0>)", "range(<count>)", "<nums>.union(<nums>)",
        "<strs>.map(s => s.length)", "<nums>.sort_by(x => x % 3, order='desc')", "<nums>.concat(<nums>)",
        "[[1], <nums>].flatten()", "<nums>.difference(<nums>)", "<nums>.intersection(<nums>)",
        "map(<nums>, x => x + <num:0>)", "<rows>.map(r => r.n)", "[k + v for k, v in [[1, 2], [3, <num>]]]",
        "<nums>.slice(0, -1)", "reversed(<nums>)", "[x * <num> for x in [1, 2]]",
        "zip(<nums>, [1, 2]).map(([p, q]) => p + q)", "(<num>, <num>)",
        "<nums>.map(x => { let y = x; y += <num:0>; return y })",
    ),
    "strs": (
        "<str>.split(',')", "<nums>.map(str)", "<dict>.keys()", "[<str>, <str>]", "<strs>.map(s => s + '!')",
        "list(<str>)", "Object.keys(<dict>)", "sorted(<strs>)", "<rows>.map(r => r.a)", "[k for k in <dict>]",
        "<strs>.sort_by(s => s.length)",
    ),
    "dict": (
        "{ ...<dict>, <key>: <num> }", "<dict>.merge(<dict>)", "{ a: <num>, 'b': <num>, <scalar>: 1 }",
        "merge(<dict>, { z: 1 })", "<dict>.map_values(v => v + 1)", "<dict>.filter((k, v) => v > 1)",
        "<dict>.pick(['a', 'n'])", "<dict>.omit(['a'])", "{ (<str>): <num> }", "dict([['a', <num>]])",
    ),
    "rows": (
        "<nums>.map(n => { return { n: n, a: 'r' } })", "<rows>.sort_by('n')", "<rows>.filter(r => r.n > <num>)",
        "filter(<rows>, r => r.a != <str>)", "[{ n: x, a: str(x) } for x in <nums>]",
        "<rows>.sort_by(r => r.a, reverse=true)",
    ),
    "null": (
        "<dict>.missing", "null", "<nums>[99]", "null?.x", "null?.f()",
    ),
}  # fmt: skip
