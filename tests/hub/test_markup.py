"""HTML from parts: what is text stays text."""

from __future__ import annotations

from hub.markup import Markup, joined, tag


def test_text_is_escaped_wherever_it_goes_in() -> None:
    assert tag("p", "<b>&'\"") == "<p>&lt;b&gt;&amp;&#x27;&quot;</p>"
    assert tag("a", "x", href='"><script>') == '<a href="&quot;&gt;&lt;script&gt;">x</a>'
    assert joined(["<i>", [None, 3, 0.5]]) == "&lt;i&gt;30.5"


def test_what_a_tag_returned_goes_in_as_it_is() -> None:
    assert tag("p", tag("b", "<"), [tag("i", 1)]) == "<p><b>&lt;</b><i>1</i></p>"
    assert isinstance(tag("p"), Markup)


def test_text_taken_out_of_markup_is_text_again() -> None:
    assert joined(tag("b", "x")[:3]) == "&lt;b&gt;"
    assert joined(tag("b", "x") + "<") == "&lt;b&gt;x&lt;/b&gt;&lt;"


def test_attributes_lose_their_underscores_and_may_be_left_out() -> None:
    assert tag("td", class_="fit", data_key="k", hidden=True, lang=None, open=False) == (
        '<td class="fit" data-key="k" hidden></td>'
    )
    assert tag("br") == "<br>"
