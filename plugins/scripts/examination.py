"""What `aether doctor` is told of scripts: whether the language works, and what they run in."""

from __future__ import annotations

from collections.abc import Iterator

from kernel import Config, Finding

PROBE = 'log "ready"\n'


def look(config: Config) -> Iterator[Finding]:
    """Parse and compile a line, as the compile worker would."""
    try:
        # Loads the parser, which the hub itself never does.
        import aether_lang

        aether_lang.compile(aether_lang.parse(PROBE))
    except Exception as error:
        found = f"a line of a script does not compile: {type(error).__name__}: {error}"
        yield Finding("language", "fail", found, "install the package and its dependencies anew")
    else:
        yield Finding("language", "ok", "a script compiles")
