"""The alignment view in a Jupyter notebook: a frame of its own, which can touch nothing else of the page."""

from __future__ import annotations

from html import escape

from asr_core.viewer.offline import replay
from asr_core.viewer.payload import Lane


class NotebookView:
    """What Transcription.show() returns. Notebooks display an object by its _repr_html_."""

    def __init__(self, *lanes: Lane) -> None:
        self.height = 780 if len(lanes) == 1 else 960
        self.page = replay(*lanes)

    def _repr_html_(self) -> str:
        frame = f'style="border: 0; height: {self.height}px; width: 100%" sandbox="allow-scripts allow-downloads"'
        return f'<iframe title="CTC Lens" srcdoc="{escape(self.page)}" {frame}></iframe>'
