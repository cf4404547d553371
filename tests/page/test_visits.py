"""Who closes the page leaves nothing behind: no file, no state, nothing that is read for them."""

import gc
from pathlib import Path

import numpy as np
import soundfile as sf
from actions import server_files, upload, visitor, wait_until
from synthetic import RATE, speech_like

from asr_core.viewer import sound_files


def test_a_closed_page_leaves_neither_files_nor_state(browser, url, page, tmp_path, monkeypatch):
    monkeypatch.setattr(sound_files, "GRACE_S", 0.0)
    spoken = tmp_path / "my own words.wav"
    sf.write(spoken, np.tile(speech_like(1.0, 77), 3), RATE)
    before, sessions = server_files(), set(page.app.state_holder.session_data)
    with visitor(browser, url) as tab:
        upload(tab, spoken)
        with tab.expect_download():
            tab.get_by_role("button", name="JSON", exact=True).click()
        kinds = sorted(path.suffix for path in server_files() - before)
        assert kinds == [".json", ".wav", ".wav"], "the upload, the view's sound, the download"
    wait_until(lambda: not set(page.app.state_holder.session_data) - sessions, "Gradio keeps what the visit's page knew")
    gc.collect()
    with visitor(browser, url) as tab:  # the next one's view clears away what the last one's has let go
        tab.get_by_role("button", name="the floors were").click()
        tab.wait_for_selector(".ctc-lens .word")
        left = [path for path in server_files() - before if path.suffix == ".json" or path.name == spoken.name]
        assert left == []
        assert len([path for path in server_files() - before if len(path.stem) == 32]) <= 1, "the sound of who is here"


def test_the_sound_of_a_view_is_written_once_and_goes_with_it(transcriber, tmp_path, monkeypatch):
    monkeypatch.setattr(sound_files, "GRACE_S", 0.0)
    sounds = [transcriber.transcribe((RATE, speech_like(1.0, seed)), "greedy").sound for seed in (1, 2)]
    first = Path(sound_files.sound_file(sounds[0], str(tmp_path)))
    assert sound_files.sound_file(sounds[0], str(tmp_path)) == str(first)
    assert np.allclose(sf.read(first)[0], sounds[0].samples[:], atol=1 / 32_768)
    del sounds[0]
    gc.collect()
    assert first.exists(), "a browser may be fetching it"
    second = Path(sound_files.sound_file(sounds[0], str(tmp_path)))
    assert second.exists() and not first.exists()
