"""Checks that the frozen dataclasses of settings share: a checkpoint's config may come from anywhere."""

from __future__ import annotations


def require_whole(settings: object, *names: str, least: int = 1, most: int = 1_000_000) -> None:
    """Raise ValueError unless each named field is a whole number from `least` to `most`."""
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError(f"{name} is {value!r}; it must be a whole number from {least} to {most}.")


def require_number(settings: object, *names: str, least: float, most: float) -> None:
    """Raise ValueError unless each named field is a number from `least` to `most`."""
    for name in names:
        value = getattr(settings, name)
        if not isinstance(value, int | float) or not least <= value <= most:
            raise ValueError(f"{name} is {value!r}; it must be a number from {least:g} to {most:g}.")
