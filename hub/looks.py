"""What the page at `/` is made of: rows, tables and figures as HTML, each a pure function of what it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec

from hub.markup import Markup, joined, tag
from kernel import Event, iso

REASON_CHARS: Final = 400
DATA_CHARS: Final = 150
VALUE_CHARS: Final = 100
WORD_CHARS: Final = 36
"""A value without a blank: as long as an id. What is longer is a hash, of which the beginning will do."""

STATE_OF: Final[Mapping[str, str]] = {
    **dict.fromkeys(("active", "completed", "ready"), "good"),
    **dict.fromkeys(("failed", "refused", "not ready"), "bad"),
    **dict.fromkeys(("waiting", "pending", "running", "cancelled", "degraded"), "waiting"),
}
"""How a status looks; the word itself is always there."""


def section(title: str, body: Markup) -> Markup:
    """Return a part of the page under its heading."""
    word = title.lower().replace(" ", "-")
    return tag("section", tag("h2", title, id=f"{word}-title"), body, id=word, aria_labelledby=f"{word}-title")


def notice(text: str) -> Markup:
    """Return a sentence in the place of what is not there."""
    return tag("p", clipped(text[:1].upper() + text[1:], REASON_CHARS), class_="quiet")


def table(caption: str, head: Iterable[tuple[str, str]], rows: Iterable[Markup]) -> Markup:
    """Return a table; each column has a heading and a class."""
    columns = [tag("th", name, scope="col", class_=kind or None) for name, kind in head]
    return tag("table", tag("caption", caption), tag("thead", tag("tr", columns)), tag("tbody", *rows))


def pill(status: str) -> Markup:
    """Return a status, coloured by what it means."""
    return tag("span", status, class_="pill", data_state=STATE_OF.get(status))


def link(text: str, base: str, name: str, *, linked: bool) -> Markup:
    """Return a name as a link to what the API tells about it, where that route is there."""
    return tag("a", text, href=base + quote(name, safe="")) if linked else tag("span", text)


def plugin_row(module: Mapping[str, Any], linked: bool) -> Markup:
    """Return one plugin: what it is and does, and why it is not active or its last edit was not taken."""
    name = module["name"]
    reason = module["reason"]
    return tag(
        "tr",
        tag(
            "th",
            link(name, "/api/plugins/", name, linked=linked),
            tag("span", " ", module.get("version"), class_="quiet"),
            tag("span", clipped(reason, REASON_CHARS), class_="why") if reason else None,
            tag("span", clipped(module.get("description") or "", REASON_CHARS), class_="note"),
            scope="row",
        ),
        tag("td", pill(module["status"]), class_="fit"),
        *(tag("td", number(module.get(key)), class_=kind) for key, kind in PLUGIN_FIGURES),
        data_key=name,
    )


PLUGIN_FIGURES: Final = (("generation", "number wide"), ("calls", "number"), ("errors", "number"))


def job_row(job: Mapping[str, Any], linked: bool, *, watched: bool) -> Markup:
    """Return one execution: its script, state and length, and why it did not complete.

    One that is `watched` and under way lets the page look again soon.
    """
    error = job["error"]
    why = error.get("message") if isinstance(error, dict) else None
    return tag(
        "tr",
        tag(
            "th",
            link(job["name"], "/api/jobs/", job["id"], linked=linked),
            tag("span", clipped(str(why), REASON_CHARS), class_="why") if why else None,
            scope="row",
        ),
        tag("td", pill(job["state"]), class_="fit"),
        tag("td", moment(job["started_at"] or job["created_at"]), class_="fit wide"),
        tag("td", number(job["duration_s"], digits=3), class_="number"),
        data_key=job["id"],
        data_busy=watched and job["state"] in ("pending", "running"),
    )


def event_row(event: Event) -> Markup:
    """Return one event: when, what, and the beginning of its data."""
    return tag(
        "tr",
        tag("td", moment(iso(event.time), day=False), class_="fit"),
        tag("td", tag("span", event.topic), tag("span", *brief(event.data), class_="data")),
        data_key=event.seq,
    )


def brief(data: Any) -> Iterable[Markup]:
    """Return the beginning of an event's data: of an object its names and values, each on its own cut to a length."""
    if not isinstance(data, dict):
        yield joined(clipped(_json(data), DATA_CHARS))
        return
    room = DATA_CHARS
    for name, value in data.items():
        text = _json(value)
        text = clipped(text, VALUE_CHARS if " " in text else WORD_CHARS)
        shown = clipped(str(name), WORD_CHARS)
        room -= len(shown) + len(text) + 2
        if room < 0:
            yield joined("…")
            return
        yield joined((tag("span", shown, class_="key"), " ", text, "  "))


def _json(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return msgspec.json.encode(value).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        return "(what JSON cannot carry)"


def health_of(reasons: Mapping[str, str | None]) -> Markup:
    """Return what does not work, with the reasons, and then what does."""
    broken = [(name, reason) for name, reason in reasons.items() if reason is not None]
    told = [tag("li", tag("b", name), ": ", clipped(reason, REASON_CHARS), data_key=name) for name, reason in broken]
    good = [tag("li", pill_of_component(name), data_key=name) for name, reason in reasons.items() if reason is None]
    return joined(
        (
            tag("ul", told, class_="reasons") if told else None,
            tag("p", "What works:" if told else "Every component works:", class_="quiet hidden"),
            tag("ul", good, class_="chips"),
        )
    )


def pill_of_component(name: str) -> Markup:
    """Return a component that works."""
    return tag("span", name, tag("span", " works", class_="hidden"), class_="pill", data_state="good")


def figures(rows: Iterable[tuple[str, Any]]) -> Markup:
    """Return a list of named figures."""
    return tag("dl", [(tag("dt", name), tag("dd", number(value))) for name, value in rows])


def figure_groups(
    status: Mapping[str, Any], bus: Mapping[str, Any], store: Mapping[str, Any]
) -> Iterable[tuple[str, list[tuple[str, Any]]]]:
    """Return the figures in groups, each as (name, value)."""
    reported, scheduler, reloads = status["reported"], status["scheduler"], status["hmr"]
    lanes, pools = scheduler["lanes"].values(), status["workers"].values()
    yield (
        "Requests",
        [
            ("answered", reported.get("requests_handled")),
            ("under way", reported.get("requests_in_flight")),
            ("open connections", reported.get("connections_open")),
            ("open streams", reported.get("streams_open")),
        ],
    )
    yield (
        "Events",
        [(name, bus[name]) for name in ("published", "delivered", "dropped", "pending", "subscribers")],
    )
    yield (
        "Scheduler",
        [
            ("tasks ended", scheduler["tasks_processed"]),
            ("running", sum(lane["running"] for lane in lanes)),
            ("waiting", sum(lane["queued"] for lane in lanes)),
            ("mean latency, ms", float(scheduler["avg_task_latency_ms"])),
        ],
    )
    yield (
        "Store",
        [
            ("writes", store["writes"]),
            ("waiting", store["queue"]),
            ("commit p50, ms", float(store["commit_p50_ms"])),
            ("commit p95, ms", float(store["commit_p95_ms"])),
        ],
    )
    yield (
        "Workers",
        [
            ("processes", sum(pool["alive"] for pool in pools)),
            ("idle", sum(pool["idle"] for pool in pools)),
            ("jobs done", sum(pool["jobs_total"] for pool in pools)),
        ],
    )
    yield ("Reloads", [(name, reloads[key]) for name, key in RELOAD_FIGURES])


RELOAD_FIGURES: Final = (("attempts", "attempts"), ("succeeded", "success"), ("rolled back", "rollback"))


def number(value: float | None, *, digits: int = 1) -> str:
    """Return a figure with its thousands apart, or a dash for one that is not there."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.{digits}f}"


def moment(at: str, *, day: bool = True) -> Markup:
    """Return a time of the API's form, to the second; without the day where that is plain."""
    return tag("time", at[11:19] if not day else f"{at[:10]} {at[11:19]}", datetime=at, title=at)


def span(seconds: float) -> str:
    """Return how long something lasted, in its two largest units."""
    whole = int(seconds)
    units = (("d", whole // 86_400), ("h", whole // 3_600 % 24), ("min", whole // 60 % 60), ("s", whole % 60))
    from_first = next((n for n, (_, count) in enumerate(units) if count), len(units) - 1)
    return " ".join(f"{count} {unit}" for unit, count in units[from_first : from_first + 2])


def clipped(text: str, most: int) -> str:
    """Return text, or its beginning with an ellipsis."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
