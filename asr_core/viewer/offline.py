"""The alignment view as one HTML file: opened by a double-click, with no network, it shows, plays and explains a result."""

from __future__ import annotations

import base64
import io
import json
import re
from html import escape
from pathlib import Path

import soundfile as sf

from asr_core.sound import Part, Sound
from asr_core.viewer.payload import Lane, payload

STATIC = Path(__file__).parent / "static"

# In the order of their imports: a file opened from disk cannot import others, so the modules become one.
MODULES = (
    "tracks",
    "payload",
    "rules",
    "elements",
    "rows",
    "tiles",
    "draw",
    "player",
    "details",
    "help",
    "minimap",
    "text_layer",
    "toolbar",
)
MODULES += ("gestures", "alignment_view")

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline';
 style-src 'unsafe-inline'; connect-src data:; img-src data: blob:">
<title>{title}</title>
<style>
body {{ margin: 0 auto; max-width: 1200px; padding: 16px; }}
body.dark {{ background: #0b0d14; color: #e8eaf0; }}
h1 {{ font: 600 20px system-ui, sans-serif; }}
{style}
</style>
<body>
<h1>{title}</h1>
<div class="ctc-lens"></div>
<script type="application/json" id="payload">{payload}</script>
<script type="module">
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = () => document.body.classList.toggle("dark", dark.matches);
dark.addEventListener("change", follow);
follow();
{script}
mount(document.querySelector(".ctc-lens")).show(JSON.parse(document.getElementById("payload").textContent));
</script>
</body>
</html>
"""


def replay(*lanes: Lane) -> str:
    """One or two readings of a recording -> the HTML of a page that needs nothing else. The sound is in it as FLAC."""
    sound = lanes[0].reading.sound
    audio = {"url": _flac(sound)} if sound.is_heard else None
    content = json.dumps({**payload(*lanes), "audio": audio}).replace("<", "\\u003c")  # no text can end the script
    return PAGE.format(
        title=escape(f"CTC Lens: {lanes[0].reading.text[:60] or 'a recording'}{_which(sound.part)}"),
        style=(STATIC / "alignment_view.css").read_text(encoding="utf-8"),
        payload=content,
        script="\n".join(map(_module, MODULES)),
    )


def _flac(sound: Sound) -> str:
    """As a data URL."""
    flac = io.BytesIO()
    sf.write(flac, sound.samples[:], sound.sample_rate, subtype="PCM_16", format="FLAC")
    return "data:audio/flac;base64," + base64.b64encode(flac.getvalue()).decode()


def _which(part: Part) -> str:
    return f" (part {part.number} of {part.count})" if part.count > 1 else ""


def _module(name: str) -> str:
    """A module's text without its imports and exports."""
    text = (STATIC / f"{name}.mjs").read_text(encoding="utf-8")
    text = re.sub(r"^import .*?;$", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^export ", "", text, flags=re.MULTILINE)
