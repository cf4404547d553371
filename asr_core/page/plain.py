"""Anybody's text inside Markdown, as text."""

from __future__ import annotations

import re


def plain(text: str) -> str:
    """Every sign that Markdown, HTML or TeX could take for its own becomes a character reference, which is always text."""
    return re.sub(r"[!-/:-@\[-`{-~]", lambda sign: f"&#{ord(sign[0])};", " ".join(text.split()))
