"""Anybody's text inside Markdown."""

from html import unescape

from hypothesis import given
from hypothesis import strategies as st

from asr_core.page.plain import plain


@given(st.text())
def test_nothing_is_left_that_markdown_html_or_tex_could_read(text):
    shown = plain(text)
    assert not set(shown) & set("<>*_[]()`$|\\~\"'!:/.-+")
    assert unescape(shown) == " ".join(text.split()) or not text.isprintable()
