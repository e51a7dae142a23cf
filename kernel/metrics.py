"""Declared Prometheus metrics. The collectors belong to the kernel, so a declaration made again finds its figures.

The client library is imported at the first declaration and not before: with the web server it brings along it costs as
much time as the rest of the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from kernel.errors import BadInput, Conflict

if TYPE_CHECKING:
    from prometheus_client import Metric
    from prometheus_client.metrics import MetricWrapperBase

Kind = Literal["counter", "gauge", "histogram"]

DOCUMENTED = frozenset({"aimos_requests_total", "aimos_active_agents", "aimos_system_health_score"})
"""Names outside our own prefix that a documented API promises."""

DEFAULT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of a histogram in seconds, unless it names its own."""

DROPPED = "aetherra_metrics_series_dropped_total"

_NAME = re.compile(r"aetherra_[a-z0-9_]+")
_LABEL = re.compile(r"[a-z][a-z0-9_]*")
_OTHER = "other"

_F = TypeVar("_F", bound="_Family")


class _Family:
    """One declared metric; `labels` picks a series of it. Beyond the bound a new series is counted as `other`."""

    kind: Kind

    def __init__(self, collector: Any, limit: int, on_dropped: Callable[[str], None]) -> None:
        self._collector = collector
        self._limit = limit
        self._on_dropped = on_dropped
        self._series: dict[tuple[str, ...], Any] = {}
        self._names: tuple[str, ...] = tuple(collector._labelnames)
        self._bind(collector)

    def _bind(self, collector: Any) -> None:
        raise NotImplementedError

    @property
    def name(self) -> str:
        """The declared name."""
        return str(self._collector._original_name)

    def labels(self: _F, *values: object, **named: object) -> _F:
        """Return the series with these label values, by position or by name, all of them."""
        if named:
            values = values + tuple(named[name] for name in self._names[len(values) :] if name in named)
        key = tuple(map(str, values))
        if (series := self._series.get(key)) is not None:
            return series  # type: ignore[no-any-return]
        if len(key) != len(self._names) or not set(named) <= set(self._names):
            raise BadInput(f"metric {self.name!r} has the labels {self._names}, got {key} {tuple(named)}")
        if len(self._series) >= self._limit:
            self._on_dropped(self.name)
            key = (_OTHER,) * len(self._names)
            if (series := self._series.get(key)) is not None:
                return series  # type: ignore[no-any-return]
        made = object.__new__(type(self))
        made._bind(self._collector.labels(*key))
        self._series[key] = made
        return made


class Counter(_Family):
    """A figure that only grows: `inc(amount=1)`."""

    kind = "counter"
    inc: Callable[..., None]

    def _bind(self, collector: Any) -> None:
        self.inc = collector.inc


class Gauge(_Family):
    """A figure that goes up and down: `set(value)`, `inc(amount=1)`, `dec(amount=1)`, `set_function(call)`."""

    kind = "gauge"
    set: Callable[[float], None]
    inc: Callable[..., None]
    dec: Callable[..., None]
    set_function: Callable[[Callable[[], float]], None]

    def _bind(self, collector: Any) -> None:
        self.set, self.inc, self.dec = collector.set, collector.inc, collector.dec
        self.set_function = collector.set_function


class Histogram(_Family):
    """A distribution: `observe(value)`."""

    kind = "histogram"
    observe: Callable[[float], None]

    def _bind(self, collector: Any) -> None:
        self.observe = collector.observe


class Metrics:
    """The declared metrics of one kernel, in a registry of its own.

    `max_series` bounds the label combinations of each metric; what goes beyond is counted under the label value `other`
    and in `aetherra_metrics_series_dropped_total`.
    """

    def __init__(self, *, max_series: int = 1_000) -> None:
        self._max_series = max_series
        self._registry: Any = None
        self._families: dict[str, tuple[tuple[Any, ...], _Family]] = {}

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counter:
        """Return the counter of this name, made at its first declaration."""
        return self._declare(Counter, name, help, labels)

    def gauge(self, name: str, help: str, labels: Sequence[str] = ()) -> Gauge:
        """Return the gauge of this name, made at its first declaration."""
        return self._declare(Gauge, name, help, labels)

    def histogram(
        self, name: str, help: str, labels: Sequence[str] = (), buckets: Sequence[float] = DEFAULT_BUCKETS
    ) -> Histogram:
        """Return the histogram of this name, made at its first declaration; `buckets` are upper bounds."""
        if not buckets or list(buckets) != sorted(set(buckets)):
            raise BadInput(f"the buckets of {name!r} are different numbers in rising order, got {tuple(buckets)}")
        return self._declare(Histogram, name, help, labels, tuple(map(float, buckets)))

    def expose(self) -> bytes:
        """Return all figures in Prometheus' text format 0.0.4, under exactly the declared names."""
        if self._registry is None:
            return b""
        from prometheus_client import generate_latest

        text = generate_latest(_WithoutCreated(self._registry))
        for family in [family for _, family in self._families.values()]:
            if family.kind == "counter" and not family.name.endswith("_total"):
                # The library writes every counter with _total; some documented names are counters without it.
                wanted = family.name.encode()
                text = re.sub(rb"(?m)^((?:# (?:HELP|TYPE) )?)" + wanted + rb"_total(?=[ {])", rb"\1" + wanted, text)
        return text

    def _declare(
        self, kind: type[_F], name: str, help: str, labels: Sequence[str], buckets: tuple[float, ...] | None = None
    ) -> _F:
        shape = (kind.kind, tuple(labels), buckets)
        if (known := self._families.get(name)) is not None:
            if known[0] != shape:
                raise Conflict(
                    f"metric {name!r} is declared twice and differently: {_words(known[0])}, then {_words(shape)}"
                )
            assert isinstance(known[1], kind)
            return known[1]
        if name not in DOCUMENTED and not _NAME.fullmatch(name):
            raise BadInput(f"a metric's name begins with aetherra_ and is lower case, digits and _; got {name!r}")
        for label in labels:
            if not _LABEL.fullmatch(label) or label == "le":
                raise BadInput(f"a label of {name!r} is lower case, digits and _, and not le; got {label!r}")
        for other in (name.removesuffix("_total"), f"{name}_total"):
            if other != name and other in self._families and "counter" in (kind.kind, self._families[other][0][0]):
                raise Conflict(f"metric {name!r} would be written under the same name as {other!r}")
        family = kind(self._collector(kind, name, help, labels, buckets), self._max_series, self._dropped)
        self._families[name] = (shape, family)
        return family

    def _collector(
        self, kind: type[_Family], name: str, help: str, labels: Sequence[str], buckets: tuple[float, ...] | None
    ) -> MetricWrapperBase:
        import prometheus_client

        if self._registry is None:
            self._registry = prometheus_client.CollectorRegistry()
        try:
            if kind is Counter:
                return prometheus_client.Counter(name, help, tuple(labels), registry=self._registry)
            if kind is Gauge:
                return prometheus_client.Gauge(name, help, tuple(labels), registry=self._registry)
            bounds = buckets or DEFAULT_BUCKETS
            return prometheus_client.Histogram(name, help, tuple(labels), registry=self._registry, buckets=bounds)
        except ValueError as error:
            raise Conflict(f"metric {name!r} cannot stand beside those declared before: {error}") from error

    def _dropped(self, name: str) -> None:
        self.counter(DROPPED, "Label combinations beyond max_series, counted as other", ("metric",)).labels(name).inc()


class _WithoutCreated:
    """What a registry collects without the `_created` times, which the text format has no place for."""

    def __init__(self, registry: Any) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        metrics: Iterable[Metric] = self._registry.collect()
        for metric in metrics:
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _words(shape: tuple[Any, ...]) -> str:
    kind, labels, buckets = shape
    text = f"a {kind} with labels ({', '.join(labels)})" if labels else f"a {kind} without labels"
    return text if buckets is None else f"{text} and buckets {', '.join(f'{bound:g}' for bound in buckets)}"
