"""Declared Prometheus metrics. The collectors belong to the kernel, so a declaration made again finds its figures.

A metric is either counted where something happens, or read at each scrape from what something counts for itself.

The client library is imported at the first declaration and not before: with the web server it brings along it costs as
much time as the rest of the kernel.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import msgspec

from kernel.errors import BadInput, Conflict
from kernel.exposition import head, number, of_library, series

if TYPE_CHECKING:
    from prometheus_client.metrics import MetricWrapperBase

Kind = Literal["counter", "gauge", "histogram"]

DOCUMENTED = frozenset({"aimos_requests_total", "aimos_active_agents", "aimos_system_health_score"})
"""Names outside our own prefix that a documented API promises."""

DEFAULT_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of a histogram in seconds, unless it names its own."""

DROPPED = "aetherra_metrics_series_dropped_total"
UNREADABLE = "aetherra_metrics_read_errors_total"

log = logging.getLogger("kernel.metrics")

Values = float | Mapping[str, float] | Mapping[tuple[str, ...], float]
"""What a reading gives: a number, or numbers by the value of the label, or by the values of the labels."""

_NAME = re.compile(r"aetherra_[a-z0-9_]+")
_LABEL = re.compile(r"[a-z][a-z0-9_]*")
_OTHER = "other"

_F = TypeVar("_F", bound="_Family")
S = TypeVar("S")


class Declared(msgspec.Struct, frozen=True):
    """A metric as it was declared."""

    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()


class Reading(Declared, Generic[S], frozen=True):
    """A counter or gauge whose values are taken at each scrape out of figures of the type S."""

    pick: Callable[[S], Values] = lambda _: 0.0


def counted(name: str, help: str, pick: Callable[[S], Values], labels: Sequence[str] = ()) -> Reading[S]:
    """Return the reading of a figure that only grows."""
    return Reading("counter", name, help, tuple(labels), pick)


def gauged(name: str, help: str, pick: Callable[[S], Values], labels: Sequence[str] = ()) -> Reading[S]:
    """Return the reading of a figure that goes up and down."""
    return Reading("gauge", name, help, tuple(labels), pick)


class _Family:
    """One declared metric; `labels` picks a series of it. Beyond the bound a new series is counted as `other`."""

    kind: Kind

    def __init__(self, name: str, collector: Any, limit: int, on_dropped: Callable[[str], None]) -> None:
        self.name = name
        """The declared name."""
        self._collector = collector
        self._limit = limit
        self._on_dropped = on_dropped
        self._series: dict[tuple[str, ...], Any] = {}
        self._names: tuple[str, ...] = tuple(collector._labelnames)
        self._bind(collector, {})

    def _bind(self, collector: Any, labels: dict[str, str]) -> None:
        raise NotImplementedError

    def _samples(self) -> str:
        raise NotImplementedError

    def text(self) -> Iterator[str]:
        """Yield its samples; without labels it is its own only series."""
        if not self._names:
            yield self._samples()
        for one in self._series.values():
            yield one._samples()

    def labels(self: _F, *values: object, **named: object) -> _F:
        """Return the series with these label values, by position or by name, all of them."""
        if named:
            values = values + tuple(named[name] for name in self._names[len(values) :] if name in named)
        key = tuple(map(str, values))
        if (known := self._series.get(key)) is not None:
            return known  # type: ignore[no-any-return]
        if len(key) != len(self._names) or not set(named) <= set(self._names):
            raise BadInput(f"metric {self.name!r} has the labels {self._names}, got {key} {tuple(named)}")
        if len(self._series) >= self._limit:
            self._on_dropped(self.name)
            key = (_OTHER,) * len(self._names)
            if (known := self._series.get(key)) is not None:
                return known  # type: ignore[no-any-return]
        made = object.__new__(type(self))
        made.name = self.name
        made._bind(self._collector.labels(*key), dict(zip(self._names, key, strict=True)))
        self._series[key] = made
        return made


class _Single(_Family):
    """A metric with one value in each series."""

    def _bind(self, collector: Any, labels: dict[str, str]) -> None:
        self._before = series(self.name, labels)
        # The series itself has its values only once all its labels are given.
        self._value: Any = getattr(collector, "_value", None)

    @property
    def value(self) -> float:
        """The figure so far; 0 where labels are still to be given."""
        return self._value.get() if self._value is not None else 0.0

    def _samples(self) -> str:
        return f"{self._before}{number(self.value)}\n" if self._value is not None else ""


class Counter(_Single):
    """A figure that only grows: `inc(amount=1)`."""

    kind = "counter"
    inc: Callable[..., None]

    def _bind(self, collector: Any, labels: dict[str, str]) -> None:
        super()._bind(collector, labels)
        self.inc = collector.inc


class Gauge(_Single):
    """A figure that goes up and down: `set(value)`, `inc(amount=1)`, `dec(amount=1)`."""

    kind = "gauge"
    set: Callable[[float], None]
    inc: Callable[..., None]
    dec: Callable[..., None]

    def _bind(self, collector: Any, labels: dict[str, str]) -> None:
        super()._bind(collector, labels)
        self.set, self.inc, self.dec = collector.set, collector.inc, collector.dec


class Histogram(_Family):
    """A distribution: `observe(value)`."""

    kind = "histogram"
    observe: Callable[[float], None]

    def _bind(self, collector: Any, labels: dict[str, str]) -> None:
        self.observe = collector.observe
        self._sum = getattr(collector, "_sum", None)
        self._buckets: tuple[tuple[str, Any], ...] = ()
        if self._sum is not None:
            bounds = zip(collector._upper_bounds, collector._buckets, strict=True)
            self._buckets = tuple(
                (series(f"{self.name}_bucket", {**labels, "le": number(bound)}), value) for bound, value in bounds
            )
        self._ends = series(f"{self.name}_count", labels), series(f"{self.name}_sum", labels)

    def _samples(self) -> str:
        if self._sum is None:
            return ""
        lines, count = [], 0.0
        for before, value in self._buckets:
            count += value.get()
            lines.append(f"{before}{number(count)}\n")
        lines.append(f"{self._ends[0]}{number(count)}\n{self._ends[1]}{number(self._sum.get())}\n")
        return "".join(lines)


class Metrics:
    """The declared metrics of one kernel, in a registry of its own.

    `max_series` bounds the label combinations of each metric; what goes beyond is counted under the label value `other`
    and in `aetherra_metrics_series_dropped_total`.
    """

    def __init__(self, *, max_series: int = 1_000) -> None:
        self._max_series = max_series
        self._registry: Any = None
        self._families: dict[str, tuple[tuple[Any, ...], _Family]] = {}
        self._help: dict[str, str] = {}
        self._read: list[tuple[Callable[[], Any], Sequence[Reading[Any]]]] = []
        self._sources: list[Callable[[], Iterable[Reading[None]]]] = []
        self._standard: list[Any] = []
        self._failing: set[str] = set()

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

    def read(self, figures: Callable[[], S], readings: Sequence[Reading[S]]) -> None:
        """Expose what something counts for itself: `figures` is called at each scrape, once for all its readings.

        It runs on the loop's thread, so it looks up and sums, and does no work.
        """
        for reading in readings:
            check_names(reading.name, reading.labels)
            self.check_free(reading.name)
        self._read.append((figures, tuple(readings)))

    def check_free(self, name: str) -> None:
        """Raise `Conflict` when a metric of this name is counted here already, or read from the kernel."""
        if name in self._families or any(reading.name == name for reading in self._readings()):
            raise Conflict(f"there is a metric {name!r} already; choose another name")

    def read_from(self, source: Callable[[], Iterable[Reading[None]]]) -> None:
        """Expose the gauges that `source` names at each scrape, each read then; one that is declared is left out."""
        self._sources.append(source)

    def standard(self) -> None:
        """Expose the client library's own figures of this process and interpreter: `process_*` and `python_*`."""
        import prometheus_client

        made = (prometheus_client.ProcessCollector, prometheus_client.PlatformCollector, prometheus_client.GCCollector)
        self._standard = [collector(registry=prometheus_client.CollectorRegistry()) for collector in made]

    def declared(self) -> list[Declared]:
        """Return every metric declared so far, by name, aside from the library's own."""
        stateful = [
            Declared(family.kind, name, self._help[name], shape[1]) for name, (shape, family) in self._families.items()
        ]
        return sorted([*stateful, *self._readings()], key=lambda metric: metric.name)

    def expose(self, family: str = "") -> bytes:
        """Return the figures in Prometheus' text format 0.0.4, under exactly the declared names.

        With `family` only the metrics whose names begin with it.
        """
        # Read first: a reading that fails is counted, and so may declare a metric.
        lines = list(self._taken(family))
        for name, (_, known) in self._families.items():
            if name.startswith(family):
                lines.append(head(name, known.kind, self._help[name]))
                lines += known.text()
        if not family:
            for collector in self._standard:
                lines += of_library(collector.collect())
        return "".join(lines).encode()

    # Readings ----------------------------------------------------------------------------------------------------

    def _readings(self) -> Iterator[Reading[Any]]:
        for _, readings in self._read:
            yield from readings

    def _taken(self, prefix: str) -> Iterator[str]:
        for figures, readings in self._read:
            wanted = [reading for reading in readings if reading.name.startswith(prefix)]
            if wanted:
                with self._contained(wanted[0].name):
                    given = figures()
                    for reading in wanted:
                        with self._contained(reading.name):
                            yield self._written(reading, reading.pick(given))
        for source in self._sources:
            for reading in source():
                if reading.name.startswith(prefix):
                    with self._contained(reading.name):
                        yield self._written(reading, reading.pick(None))

    @contextmanager
    def _contained(self, name: str) -> Iterator[None]:
        """Let what fails within cost its own metric; log it at its first time, and count it."""
        try:
            yield
        except (Exception, SystemExit, KeyboardInterrupt):
            if name not in self._failing:
                self._failing.add(name)
                log.exception("reading the metric %s failed", name)
            help = "Metrics that could not be read at a scrape, and were left out of it"
            self.counter(UNREADABLE, help, ("metric",)).labels(name).inc()
        else:
            self._failing.discard(name)

    def _written(self, reading: Reading[Any], values: Values) -> str:
        by_labels: Mapping[Any, float] = values if isinstance(values, Mapping) else {(): values}
        lines = [head(reading.name, reading.kind, reading.help)]
        for key, value in by_labels.items():
            if len(lines) > self._max_series:
                self._dropped(reading.name)
                break
            given = (key,) if isinstance(key, str) else key
            before = series(reading.name, dict(zip(reading.labels, given, strict=True)))
            lines.append(f"{before}{number(value)}\n")
        return "".join(lines)

    # Declaring ---------------------------------------------------------------------------------------------------

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
        check_names(name, labels)
        self.check_free(name)
        for other in (name.removesuffix("_total"), f"{name}_total"):
            if other != name and other in self._families and "counter" in (kind.kind, self._families[other][0][0]):
                raise Conflict(f"metric {name!r} would be written under the same name as {other!r}")
        family = kind(name, self._collector(kind, name, help, labels, buckets), self._max_series, self._dropped)
        self._families[name] = (shape, family)
        self._help[name] = help
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


def check_names(name: str, labels: Sequence[str]) -> None:
    """Raise `BadInput` for a name or a label that no metric may have."""
    if name not in DOCUMENTED and not _NAME.fullmatch(name):
        raise BadInput(f"a metric's name begins with aetherra_ and is lower case, digits and _; got {name!r}")
    for label in labels:
        if not _LABEL.fullmatch(label) or label == "le":
            raise BadInput(f"a label of {name!r} is lower case, digits and _, and not le; got {label!r}")


def _words(shape: tuple[Any, ...]) -> str:
    kind, labels, buckets = shape
    text = f"a {kind} with labels ({', '.join(labels)})" if labels else f"a {kind} without labels"
    return text if buckets is None else f"{text} and buckets {', '.join(f'{bound:g}' for bound in buckets)}"
