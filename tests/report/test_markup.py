"""Nothing that a user wrote becomes markup."""

from __future__ import annotations

from regrow.report.markup import Markup, element, joined


def test_strings_are_escaped_everywhere_and_markup_once() -> None:
    inner = element("b", "<i>&")
    assert inner == "<b>&lt;i&gt;&amp;</b>"
    assert element("p", inner, '"', title='"><script>') == (
        '<p title="&quot;&gt;&lt;script&gt;"><b>&lt;i&gt;&amp;</b>&quot;</p>'
    )


def test_what_is_computed_from_markup_is_text_again() -> None:
    assert not isinstance(element("b", "x") + "<i>", Markup)
    assert joined("a" + element("b")) == "a&lt;b&gt;&lt;/b&gt;"


def test_void_elements_have_no_end() -> None:
    assert element("img", src="a", alt="b") == '<img src="a" alt="b">'
