"""Which recording each visitor's page wants now: work on another, which was taken away meanwhile, ends."""

from __future__ import annotations

import gradio as gr

from asr_core.transcriber import Progress
from asr_core.viewer.parts import LONGEST_S

MOST_VISITORS = 1_000  # that are remembered


class Unwanted(Exception):
    """Nobody waits for this any more."""


class Wanted:
    def __init__(self) -> None:
        self.paths: dict[str, str | None] = {}  # of each visitor

    def now(self, request: gr.Request, path: str | None) -> None:
        """The recording of a page, or None when there is none any more."""
        self.paths[request.session_hash] = path
        for oldest in list(self.paths)[:-MOST_VISITORS]:
            self.paths.pop(oldest, None)

    def leave(self, request: gr.Request) -> None:
        """The page was closed."""
        self.now(request, None)

    def progress(self, request: gr.Request, path: str | None, bar: gr.Progress) -> Progress:
        """For Transcriber.transcribe: shows how far a long recording is, and raises Unwanted once it is not wanted."""
        session = request.session_hash

        def tell(doing: str, done_s: float, whole_s: float | None) -> None:
            if self.paths.get(session, path) != path:
                raise Unwanted
            if max(done_s, whole_s or 0) > LONGEST_S:
                bar((round(done_s), whole_s and round(whole_s)), desc=doing.capitalize(), unit="s")

        return tell
