"""What the server holds of a visit, and the end of it: when the page is closed, nothing of anybody's speech stays behind.

What is left by somebody of whose leaving nobody hears, as a program without a connection, Gradio deletes after an hour.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import gradio as gr


class Visits:
    """The files of each visit, uploaded or made for it. Equal files of several visits are one, which the last takes away."""

    def __init__(self, page: gr.Blocks) -> None:
        self.page, self.lock = page, threading.Lock()
        self.files: dict[str, dict[Path, float]] = {}  # of each session: path, and when it was noted

    def note(self, request: gr.Request, path: str) -> str:
        """The path itself."""
        with self.lock:
            self.files.setdefault(request.session_hash, {})[Path(path)] = time.time()
        return path

    def now(self, request: gr.Request, state: gr.State) -> object:
        """What a state of the visit holds at this moment; what an event was given may be older."""
        return self.page.app.state_holder[request.session_hash][state._id]

    def end(self, request: gr.Request) -> None:
        """Deletes the visit's files, and what its page knew."""
        with self.lock:
            mine = self.files.pop(request.session_hash, {})
            others = {path for files in self.files.values() for path in files}
            for path, noted in mine.items():
                if path not in others and path.exists() and path.stat().st_mtime <= noted:  # or it was sent anew
                    path.unlink(missing_ok=True)
        holder = self.page.app.state_holder
        with holder.lock:  # Gradio itself would keep it for another hour
            holder.session_data.pop(request.session_hash, None)
            holder.time_last_used.pop(request.session_hash, None)
