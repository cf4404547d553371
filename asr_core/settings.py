"""Checks that the frozen dataclasses of settings share: a checkpoint's config may come from anywhere."""

from __future__ import annotations

import reprlib


def require_whole(settings: object, *names: str, least: int = 1, most: int) -> None:
    """Raise ValueError unless each named field is a whole number from `least` to `most`."""
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name} is {reprlib.repr(value)}; it must be a whole number from {least:,} to {most:,}.")


def require_number(settings: object, *names: str, least: float, most: float) -> None:
    """Raise ValueError unless each named field is a number from `least` to `most`."""
    for name in names:
        value = getattr(settings, name)
        if not _is_number(value, least, most):
            raise ValueError(f"{name} is {reprlib.repr(value)}; it must be a number from {least:g} to {most:g}.")


def require_numbers(settings: object, name: str, count: int, least: float, most: float) -> None:
    """Raise ValueError unless the field is a list of that many numbers from `least` to `most`."""
    values = getattr(settings, name)
    listed = isinstance(values, list | tuple) and len(values) == count
    if not listed or not all(_is_number(each, least, most) for each in values):
        raise ValueError(f"{name} is {reprlib.repr(values)}; it must be {count:,} numbers from {least:g} to {most:g}.")


def _is_number(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def require_text(value: object, what: str, most: int) -> None:
    """Raise ValueError unless it is 1 to `most` characters that UTF-8 can write: JSON may hold half of one."""
    if not isinstance(value, str) or not 0 < len(value) <= most or any("\ud800" <= sign <= "\udfff" for sign in value):
        raise ValueError(f"{what} is {reprlib.repr(value)}; it must be text of 1 to {most:,} characters.")
