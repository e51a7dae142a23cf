"""Declared metrics: they outlive a reload, stay bounded, and are written under their own names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kernel.errors import BadInput, Conflict
from kernel.metrics import Metrics


def lines(metrics: Metrics) -> list[str]:
    return metrics.expose().decode().splitlines()


def test_the_same_declaration_again_finds_the_same_figures() -> None:
    metrics = Metrics()
    metrics.counter("aetherra_calls_total", "Calls", ("plugin",)).labels("hello").inc()
    again = metrics.counter("aetherra_calls_total", "Calls", ("plugin",))
    again.labels(plugin="hello").inc(2)
    assert 'aetherra_calls_total{plugin="hello"} 3.0' in lines(metrics)


def test_a_different_declaration_is_an_error_that_names_both() -> None:
    metrics = Metrics()
    metrics.counter("aetherra_calls_total", "Calls", ("plugin",))
    with pytest.raises(Conflict, match=r"a counter with labels \(plugin\), then a gauge without labels"):
        metrics.gauge("aetherra_calls_total", "Calls")
    with pytest.raises(Conflict, match="route"):
        metrics.counter("aetherra_calls_total", "Calls", ("route",))
    metrics.histogram("aetherra_took_seconds", "Took", buckets=(1, 2))
    with pytest.raises(Conflict, match="buckets 1, 2, then"):
        metrics.histogram("aetherra_took_seconds", "Took", buckets=(1, 3))


@pytest.mark.parametrize("name", ["calls_total", "aetherra_Calls", "aetherra_", "aimos_other", "aetherra_a-b"])
def test_a_name_outside_the_rule_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match="aetherra_"):
        Metrics().counter(name, "x")


def test_the_documented_names_are_allowed() -> None:
    metrics = Metrics()
    metrics.gauge("aimos_active_agents", "Number of active agents").set(8)
    assert "aimos_active_agents 8.0" in lines(metrics)


def test_a_counter_is_written_under_exactly_its_name() -> None:
    metrics = Metrics()
    metrics.counter("aetherra_kernel_cycle_count", "Kernel loop cycles").inc(3)
    metrics.counter("aetherra_kernel_cycle_count_of", "Others", ("x",)).labels(
        "aetherra_kernel_cycle_count_total "
    ).inc()
    metrics.counter("aetherra_memory_queries_total", "Queries").inc()
    assert lines(metrics) == [
        "# HELP aetherra_kernel_cycle_count Kernel loop cycles",
        "# TYPE aetherra_kernel_cycle_count counter",
        "aetherra_kernel_cycle_count 3.0",
        "# HELP aetherra_kernel_cycle_count_of Others",
        "# TYPE aetherra_kernel_cycle_count_of counter",
        'aetherra_kernel_cycle_count_of{x="aetherra_kernel_cycle_count_total "} 1.0',
        "# HELP aetherra_memory_queries_total Queries",
        "# TYPE aetherra_memory_queries_total counter",
        "aetherra_memory_queries_total 1.0",
    ]


@pytest.mark.parametrize(("first", "second"), [("aetherra_a", "aetherra_a_total"), ("aetherra_a_total", "aetherra_a")])
def test_two_counters_that_would_share_a_name_are_refused(first: str, second: str) -> None:
    metrics = Metrics()
    metrics.counter(first, "x")
    with pytest.raises(Conflict, match="same name"):
        metrics.counter(second, "x")


def test_series_beyond_the_bound_are_counted_as_other() -> None:
    metrics = Metrics(max_series=2)
    family = metrics.counter("aetherra_calls_total", "Calls", ("path", "code"))
    for path in ("a", "b", "c", "d", "a"):
        family.labels(path, 200).inc()
    text = lines(metrics)
    assert 'aetherra_calls_total{code="200",path="a"} 2.0' in text
    assert 'aetherra_calls_total{code="other",path="other"} 2.0' in text
    assert not any('path="c"' in line for line in text)
    assert 'aetherra_metrics_series_dropped_total{metric="aetherra_calls_total"} 2.0' in text


def test_gauges_and_histograms_measure() -> None:
    metrics = Metrics()
    gauge = metrics.gauge("aetherra_open", "Open")
    gauge.inc(5)
    gauge.dec()
    metrics.histogram("aetherra_took_seconds", "Took", buckets=(0.1, 1)).observe(0.5)
    text = lines(metrics)
    assert "aetherra_open 4.0" in text
    assert 'aetherra_took_seconds_bucket{le="0.1"} 0.0' in text
    assert 'aetherra_took_seconds_bucket{le="1.0"} 1.0' in text
    assert not any("_created" in line for line in text)


@pytest.mark.parametrize("labels", [("le",), ("A",), ("a-b",)])
def test_a_bad_label_is_refused(labels: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="label"):
        Metrics().gauge("aetherra_x", "x", labels)


def test_wrong_label_values_are_refused() -> None:
    family = Metrics().counter("aetherra_calls_total", "Calls", ("a", "b"))
    for values, named in ((("1",), {}), ((), {"a": 1}), (("1",), {"c": 2}), (("1", "2", "3"), {})):
        with pytest.raises(BadInput, match="has the labels"):
            family.labels(*values, **named)


def test_rising_buckets_are_required() -> None:
    with pytest.raises(BadInput, match="rising"):
        Metrics().histogram("aetherra_x", "x", buckets=(2, 1))


def test_two_registries_know_nothing_of_each_other() -> None:
    one, other = Metrics(), Metrics()
    one.counter("aetherra_calls_total", "Calls").inc()
    assert other.expose() == b""


def test_the_client_library_is_imported_with_the_first_declaration_only() -> None:
    program = (
        "import sys; from kernel.metrics import Metrics; m = Metrics(); assert 'prometheus_client' not in sys.modules;"
        "m.counter('aetherra_x', 'x'); assert 'prometheus_client' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
