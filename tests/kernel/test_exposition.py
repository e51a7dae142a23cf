"""The text format: what Prometheus' own client library writes and reads."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from kernel.exposition import head, number, series
from kernel.metrics import Metrics, Values, counted, gauged


def parsed(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_the_text_says_what_the_client_library_would_say() -> None:
    metrics = Metrics()
    requests = metrics.counter("aetherra_requests_total", "Requests", ("route", "status"))
    took = metrics.histogram("aetherra_took_seconds", "Time\nto answer", ("route",))
    metrics.histogram("aetherra_plain_seconds", "A backslash \\ here", buckets=(0.5, 2)).observe(0.7)
    metrics.gauge("aetherra_open", "Open").set(-2.5)
    metrics.counter("aetherra_none_total", "Never counted", ("why",))
    for n in range(20):
        requests.labels(f'/a/"{n}"\\\n', 200).inc(n + 1)
        took.labels(f"/a/{n}").observe(n / 7)
    ours, theirs = metrics.expose(), generate_latest(metrics._registry)
    assert parsed(ours) == parsed(theirs)
    comments = [line for line in ours.splitlines() if line.startswith(b"#")]
    assert comments == [line for line in theirs.splitlines() if line.startswith(b"#") and b"_created" not in line]


@given(st.text(max_size=40), st.floats())
def test_no_label_value_and_no_number_breaks_a_line(value: str, figure: float) -> None:
    text = head("aetherra_x", "gauge", value) + series("aetherra_x", {"a": value, "b": "c"}) + number(figure) + "\n"
    assert len(text.split("\n")) == 4
    ((key, read),) = parsed(text.encode("utf-8", "surrogatepass")).items() if "\r" not in value else (((0, 0), 0.0),)
    if key != (0, 0):
        assert key == ("aetherra_x", (("a", value), ("b", "c")))
        assert read == figure or (math.isnan(read) and math.isnan(figure))


def test_a_reading_is_taken_at_each_scrape_and_written_with_its_labels() -> None:
    figures = {"a": 1, "b": 2}
    metrics = Metrics()
    metrics.read(
        lambda: figures,
        (
            counted("aetherra_seen_total", "Seen", lambda f: f, ("name",)),
            gauged("aetherra_sum", "Sum", lambda f: sum(f.values())),
            gauged("aetherra_pairs", "Pairs", lambda f: {(k, str(v)): v for k, v in f.items()}, ("name", "as")),
        ),
    )
    assert metrics.expose().decode().splitlines() == [
        "# HELP aetherra_seen_total Seen",
        "# TYPE aetherra_seen_total counter",
        'aetherra_seen_total{name="a"} 1.0',
        'aetherra_seen_total{name="b"} 2.0',
        "# HELP aetherra_sum Sum",
        "# TYPE aetherra_sum gauge",
        "aetherra_sum 3.0",
        "# HELP aetherra_pairs Pairs",
        "# TYPE aetherra_pairs gauge",
        'aetherra_pairs{as="1",name="a"} 1.0',
        'aetherra_pairs{as="2",name="b"} 2.0',
    ]
    figures["a"] = 5
    assert b"\naetherra_sum 7.0\n" in metrics.expose()
    assert metrics.expose("aetherra_su").count(b"\n") == 3


@pytest.mark.parametrize("wrong", [lambda _: 1 / 0, lambda _: "text", lambda _: {("a", "b"): 1}, lambda _: exit(3)])
def test_a_reading_that_fails_costs_its_own_metric_and_is_counted(wrong: object) -> None:
    metrics = Metrics()
    metrics.read(
        lambda: None,
        (
            gauged("aetherra_broken", "Broken", wrong, ("name",)),  # type: ignore[arg-type]
            gauged("aetherra_sound", "Sound", lambda _: 1),
        ),
    )
    for count in (1.0, 2.0):
        text = metrics.expose().decode()
        assert "aetherra_broken " not in text
        assert "\naetherra_sound 1.0\n" in text
        assert f'aetherra_metrics_read_errors_total{{metric="aetherra_broken"}} {count}' in text


def test_a_reading_has_no_more_series_than_any_metric() -> None:
    def many(_: None) -> Values:
        return {str(n): n for n in range(10)}

    metrics = Metrics(max_series=3)
    metrics.read(lambda: None, (gauged("aetherra_many", "Many", many, ("n",)),))
    text = metrics.expose().decode()
    assert text.count("\naetherra_many{") == 3
    assert 'aetherra_metrics_series_dropped_total{metric="aetherra_many"} 1.0' in text
