"""The WAV file that a browser fetches of a Sound: written once, and deleted when nobody holds the sound any more."""

from __future__ import annotations

import contextlib
import io
import secrets
import threading
import time
import weakref
from collections import deque
from pathlib import Path

import soundfile as sf
from gradio.processing_utils import save_bytes_to_cache

from asr_core.sound import Sound

GRACE_S = 60.0  # in which a browser has fetched it; captions that are spoken hold their sound no longer than they need

_written: weakref.WeakKeyDictionary[Sound, str] = weakref.WeakKeyDictionary()
_let_go: deque[tuple[float, str]] = deque()  # (when, path)
_lock = threading.Lock()


def sound_file(sound: Sound, cache: str) -> str:
    """The path of the sound as 16-bit WAV in Gradio's cache, under a name that nobody can guess."""
    with _lock:
        while _let_go and _let_go[0][0] < time.monotonic() - GRACE_S:
            _delete(Path(_let_go.popleft()[1]))
        if sound in _written and Path(_written[sound]).exists():  # Gradio clears its cache now and then
            return _written[sound]
        wav = io.BytesIO()
        sf.write(wav, sound.samples[:], sound.sample_rate, subtype="PCM_16", format="WAV")
        path = _written[sound] = save_bytes_to_cache(wav.getvalue(), f"{secrets.token_hex(16)}.wav", cache)
        weakref.finalize(sound, lambda: _let_go.append((time.monotonic(), path)))
        return path


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        path.parent.rmdir()  # Gradio gave it a folder of its own
