"""The alignment view as a Gradio component. Its value is one or two Lanes; all that it shows is set as text, never HTML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from asr_core.viewer.payload import Lane, payload
from asr_core.viewer.sound_files import sound_file

STATIC = Path(__file__).parent / "static"

# Runs once, when the page mounts the component; later values arrive through watch().
ON_LOAD = """/* events: 'convention' 'part' */
const folder = (window.gradio_config?.root ?? '').replace(/\\/$/, '') + '/gradio_api/file=STATIC/';
if (!document.querySelector(`link[href="${folder}alignment_view.css"]`)) {
  const link = Object.assign(document.createElement('link'), {rel: 'stylesheet', href: folder + 'alignment_view.css'});
  document.head.append(link);
}
import(folder + 'alignment_view.mjs').then(({mount}) => {
  const view = mount(element.querySelector('.ctc-lens'), trigger);
  view.show(props.value);
  watch('value', () => view.show(props.value));
});
""".replace("STATIC", STATIC.as_posix())


class AlignmentView(gr.HTML):
    """Spectrogram, paths, merges, letters and words of one or two readings of a recording, on one time axis."""

    def __init__(self, value: Sequence[Lane] | None = None, **options: Any) -> None:
        gr.set_static_paths([STATIC])
        super().__init__(
            value=value,
            html_template='<div class="ctc-lens"></div>',  # static: Gradio would run what is interpolated into it
            js_on_load=ON_LOAD,
            apply_default_css=False,
            **options,
        )

    def postprocess(self, value: Sequence[Lane] | None) -> dict | None:
        """Lanes -> payload, with the sound as a cached WAV file that the browser fetches by its URL."""
        if not value:
            return None
        sound = value[0].reading.sound
        if not sound.is_heard:
            return {**payload(*value), "audio": None}
        path = sound_file(sound, self.GRADIO_CACHE)
        audio = FileData(path=path, mime_type="audio/wav", meta={"_type": "gradio.FileData"})
        return {**payload(*value), "audio": audio.model_dump()}

    def preprocess(self, payload: dict | None) -> None:
        """The view is an output only."""
        return None

    def api_info(self) -> dict[str, Any]:
        return {"type": "object", "description": "the alignment view's payload (asr_core/viewer/payload.py)"}
