"""Posteriors of anybody's model in the page: what is shown and said of them, and every way in which a file can be wrong."""

import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from actions import (
    EXAMPLES,
    drop_posteriors,
    explained,
    frames_of,
    heard,
    open_tab,
    said,
    server_files,
    type_reference,
    visitor,
    wait_to_hear,
    wait_until,
    words_of,
)
from safetensors.numpy import save_file

from asr_core import align, posteriors
from asr_core.export import export_lanes
from asr_core.page import own_posteriors
from asr_core.viewer.payload import Lane, reference_lanes

CLIP = EXAMPLES[1]
PIECES = ("<blk>", "▁he", "llo", "▁w", "or", "ld", "▁")
PATH = [0, 1, 1, 2, 0, 0, 3, 4, 5, 0]  # "hello world"


@pytest.fixture(scope="module")
def reading(transcriber):
    return transcriber.transcribe(CLIP.path, "greedy")


@pytest.fixture(scope="module")
def arrays(reading) -> dict[str, np.ndarray]:
    """As a toolkit whose model ends in a softmax saves them."""
    emission, sound = reading.emission, reading.sound
    labels = [label.upper() for label in emission.alphabet.labels]
    return {
        "log_probs": emission.log_probs.exp().numpy(), "labels": np.array(labels),
        "blank": np.array(emission.alphabet.blank), "frame_duration_s": np.array(emission.frame_s),
        "audio": sound.samples[:], "sample_rate": np.array(sound.sample_rate),
    }  # fmt: skip


@pytest.fixture
def clip(arrays, tmp_path) -> Path:
    np.savez(tmp_path / "clip.npz", **arrays)
    return tmp_path / "clip.npz"


@pytest.fixture
def pieces(tmp_path) -> Path:
    """Logits of pieces of words, without the sound, as safetensors has them."""
    logits = np.random.default_rng(0).standard_normal((len(PATH), len(PIECES))).astype(np.float32)
    logits[np.arange(len(PATH)), PATH] += 9
    about = {"labels": json.dumps(PIECES), "blank": "0", "frame_duration_s": "0.08"}
    save_file({"log_probs": logits}, tmp_path / "pieces.safetensors", about)
    return tmp_path / "pieces.safetensors"


def drop(tab, path: Path) -> None:
    drop_posteriors(tab, path)
    tab.locator("#said").filter(has_text=f"{path.stem}: ").wait_for()
    tab.wait_for_selector(".ctc-lens .word")


def test_a_file_is_shown_aligned_and_taken_away_as_the_library_reads_it(tab, clip, reading):
    tab.get_by_label("Letters alone").click()
    drop(tab, clip)
    expected = posteriors.load(clip).read()
    assert said(tab) == (
        f"clip: {len(reading.path)} frames of 40 ms, 29 tokens. These were probabilities; their logarithm was taken. "
        "The page's language model spells with other tokens, so that a beam search goes without it."
    )
    assert expected.text == reading.text.upper()
    wait_to_hear(tab, expected.text)
    assert words_of(tab) == [word.label for word in expected.words]
    assert (frames_of(tab), explained(tab)) == (len(reading.path), reading.tokens[0].first)
    assert f"score {expected.tokens[0].score:.0%}".replace("%", " %") in tab.locator(".ctc-lens .details").inner_text()
    tab.locator(".ctc-lens .word").nth(1).click()
    tab.wait_for_function("window.plays.length === 1")
    assert tab.evaluate("window.plays[0][0]") == pytest.approx(reading.words[1].start_s, abs=1e-6)

    type_reference(tab, CLIP.text)
    tab.wait_for_selector(".ctc-lens .title")
    reference = align(expected, CLIP.text)
    assert f"CTC loss over all paths {reference.loss:.2f} nats" in tab.locator(".ctc-lens .notes").inner_text()
    assert words_of(tab, 1) == CLIP.text.upper().split()
    formats = {"SRT": "srt", "VTT": "vtt", "CTM": "ctm", "TextGrid": "textgrid", "JSON": "json"}
    for button, format in formats.items():
        with tab.expect_download() as download:
            tab.get_by_role("button", name=button, exact=True).click()
        name, content = export_lanes(reference_lanes(reference), format)
        assert (download.value.suggested_filename, download.value.path().read_text()) == (name, content)

    open_tab(tab, "Learn")
    tab.locator("#lesson").get_by_text("1 of 6").wait_for()
    open_tab(tab, "Break it")  # the page's own model hears its sound
    tab.locator("#broken").get_by_text("Healthy: 1 utterance, nothing found.").wait_for()


def test_pieces_of_words_without_a_sound_are_shown_by_both_decoders(tab, pieces):
    drop(tab, pieces)
    expected = [posteriors.load(pieces).read(decoder) for decoder in ("greedy", "beam")]
    assert "These were logits; log_softmax was applied. There is no audio in the file" in said(tab)
    assert tab.locator(".ctc-lens .title strong").all_inner_texts() == ["letters alone", "beam search"]
    assert [words_of(tab, lane) for lane in (0, 1)] == [[word.label for word in each.words] for each in expected]
    wait_to_hear(tab, "hello world")
    assert tab.get_by_role("button", name="Play the recording").is_disabled()
    assert "spectrogram" not in tab.locator(".ctc-lens .gutter").inner_text()
    tab.get_by_label("Letters alone").click()
    tab.wait_for_function("document.querySelectorAll('.ctc-lens .words').length === 1")
    type_reference(tab, "hello he")
    tab.wait_for_selector(".ctc-lens .title")
    assert words_of(tab, 1) == ["hello", "he"]
    type_reference(tab, "hello 2")
    tab.get_by_text("The model's alphabet lacks “2”").first.wait_for()
    for button in ("JSON, emission", "Offline page"):
        with tab.expect_download() as download:
            tab.get_by_role("button", name=button, exact=True).click()
        assert "hello" in download.value.path().read_text()
    open_tab(tab, "Learn")
    for step in range(1, 7):
        tab.locator("#lesson").get_by_text(f"{step} of 6").wait_for()
        tab.get_by_role("button", name="Next", exact=True).click() if step < 6 else None
    open_tab(tab, "Break it")
    tab.locator("#broken").get_by_text("made with the sound, and this reading came without it").wait_for()


def test_a_sentence_that_zeros_forbid_is_told_so_and_an_earlier_one_leaves_the_view(tab, tmp_path):
    run = "z<img/src=x/onerror=window.sprung=1>"
    labels = np.array([*"abcdefghijklmnopqrstuvwxy", run, " ", "_"])
    said_in_it = [27 if letter == "_" else labels.tolist().index(letter) for letter in "al_l is wel_l"]
    one_hot = np.eye(28, dtype=np.float32)[said_in_it]
    np.savez(tmp_path / "sure.npz", log_probs=one_hot, labels=labels, blank=27, frame_duration_s=0.04)
    drop(tab, tmp_path / "sure.npz")
    titles = tab.locator(".ctc-lens .title strong")
    for wrong, told in {
        "all is wall": "“a” (character 9 of the text, in “wall”) cannot be placed: its probability is zero in every frame",
        "all is wéll": "The model's alphabet lacks “é”. Nearest spelling: all is well",
        "": "There is nothing to align: the text is empty.",
        "all is well " * 9: "The text is too long for the audio",
        f"all is {run}": f"“{run}” (character 8 of the text, in “{run}”) cannot be placed",
    }.items():
        type_reference(tab, "all is well")
        tab.get_by_text("CTC loss over all paths 0.00 nats").wait_for()
        assert titles.all_inner_texts() == ["heard", "reference"] and words_of(tab, 1) == ["all", "is", "well"]
        type_reference(tab, wrong)
        tab.get_by_text(told).first.wait_for()
        tab.get_by_text("CTC loss over all paths").wait_for(state="detached")
        assert titles.all_inner_texts() == ["letters alone", "beam search"], "what was heard, as it was before"
        assert "Error" not in tab.locator(".ctc-lens").inner_text()
        with tab.expect_download() as download:
            tab.get_by_role("button", name="CTM", exact=True).click()
        assert download.value.suggested_filename == "transcript.spike.ctm"
    assert tab.locator("img[src=x]").count() == 0 and tab.evaluate("() => window.sprung") is None


def test_a_recording_and_a_file_take_each_others_place(tab, clip, pieces, transcriber):
    tab.get_by_label("Letters alone").click()
    drop(tab, pieces)
    tab.get_by_role("button", name="the floors were").click()
    tab.wait_for_function("document.querySelector('.ctc-lens .summary').textContent.startsWith('111 ')")
    wait_to_hear(tab, transcriber.transcribe(CLIP.path, "greedy").text)
    tab.locator("#own input[type=file]").wait_for(state="attached")
    tab.wait_for_function("document.querySelector('#said div.prose').innerText.trim() === ''")
    drop(tab, clip)
    wait_to_hear(tab, transcriber.transcribe(CLIP.path, "greedy").text.upper())
    tab.get_by_role("button", name="Record", exact=True).wait_for()  # where the example was
    drop(tab, pieces)
    wait_to_hear(tab, "hello world")
    tab.wait_for_function("document.querySelector('.ctc-lens .summary').textContent.startsWith('10 ')")
    tab.locator("#own").get_by_label("Clear").click()
    tab.wait_for_selector(".ctc-lens .empty", state="visible")
    wait_to_hear(tab, "")
    tab.wait_for_function("document.querySelector('#said div.prose').innerText.trim() === ''")


WRONG = {  # name of the file, what is changed in it -> what is said of it
    "on-its-side": (lambda a: {"log_probs": a["log_probs"].T}, "29 labels: it lies on its side. Save log_probs.T."),
    "no-such-blank": (lambda a: {"blank": np.array(29)}, "blank is 29, and the tokens are 0 to 28."),
    "few-labels": (lambda a: {"labels": a["labels"][:-1]}, "There are 28 labels for 29 tokens; expected one for each."),
    "nan": (lambda a: {"log_probs": a["log_probs"] * np.nan}, "log_probs holds NaN or +inf in 111 of 111 frames."),
    "sums": (lambda a: {"log_probs": a["log_probs"] * 0.7}, "sum to 0.7 to 0.7 and not to 1."),
    "half": (lambda a: {"frame_duration_s": np.array(0.02)}, "111 frames of 0.02 s are 2.22 s, but the audio lasts"),
    "silent": (lambda a: {"audio": np.zeros_like(a["audio"])}, "is silent"),
    "objects": (lambda a: {"labels": a["labels"].astype(object)}, "holds Python objects, which are never unpickled."),
    "hour": (
        lambda a: {"log_probs": np.tile(a["log_probs"], (800, 1))},
        "are 59 minutes; 30 are the most that is read",
    ),
    "large": (lambda a: {"audio": np.zeros(2**24 + 2**23, np.float32)}, "64 MB are the most. Save one recording a file."),
}


def test_each_wrong_file_gets_its_own_sentence_and_the_next_one_is_read(tab, arrays, clip, tmp_path):
    drop(tab, clip)
    for name, (change, telling) in WRONG.items():
        np.savez_compressed(tmp_path / f"{name}.npz", **arrays | change(arrays))
        drop_posteriors(tab, tmp_path / f"{name}.npz")
        tab.locator("#said").get_by_text(telling).wait_for()
        assert said(tab).startswith("This file cannot be shown.")
        tab.wait_for_selector(".ctc-lens .empty", state="visible")  # what was there before is not its
        wait_to_hear(tab, "")
    drop(tab, clip)
    assert "Traceback" not in tab.content()


def test_nothing_in_a_file_is_run(tab, arrays, tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.mkdir, (tmp_path / "sprung",))

    run = "<img src=x onerror=window.sprung=1>"
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Trap()))
    (tmp_path / "torch.pt").write_bytes(pickle.dumps(Trap()))
    np.savez(tmp_path / "names.npz", **{run: np.zeros(1), "**b**": np.zeros(1)})
    for name, telling in {
        "pickle.npz": "is damaged, or holds Python objects", "torch.pt": "torch.pt is neither .npz", "names.npz": run,
    }.items():  # fmt: skip
        drop_posteriors(tab, tmp_path / name)
        tab.locator("#said").get_by_text(telling).wait_for()
    labels = np.array([run, "[x](javascript:window.sprung=1)", "<script>window.sprung=1</script>", *arrays["labels"][3:]])
    np.savez(tmp_path / "strange.npz", **arrays | {"labels": labels, "blank": np.array(28)})
    drop(tab, tmp_path / "strange.npz")
    type_reference(tab, run)
    tab.get_by_text("The model's alphabet lacks").first.wait_for()
    assert not (tmp_path / "sprung").exists() and tab.evaluate("() => window.sprung") is None
    for forbidden in ("img[src=x]", "a[href^=javascript]", ".ctc-lens script", "#said b"):
        assert tab.locator(forbidden).count() == 0, forbidden


def test_the_file_goes_with_its_visitor(browser, url, clip):
    def there() -> list[Path]:
        return [path for path in server_files() if path.name == "goes.npz"]

    with visitor(browser, url) as tab:
        drop(tab, clip.rename(clip.with_name("goes.npz")))
        assert len(there()) == 1
    wait_until(lambda: not there())


def test_of_the_pages_own_alphabet_the_language_model_mends_the_words(tab, arrays, tmp_path, transcriber):
    labels = np.array(transcriber.model.alphabet.labels)
    np.savez(tmp_path / "own.npz", **arrays | {"labels": labels})
    drop(tab, tmp_path / "own.npz")
    assert "language model" not in said(tab)
    assert tab.locator(".ctc-lens .title strong").all_inner_texts() == ["letters alone", "with a language model"]
    heard = transcriber.transcribe(CLIP.path, "greedy")
    without_phones = replace(heard.emission, phones=None)  # of which such a file knows nothing
    wait_to_hear(tab, transcriber.read(without_phones, heard.sound, "beam").text)


def test_the_page_says_what_a_file_holds():
    names = set(re.findall(r"`(\w+)`", own_posteriors.WORDS))
    assert names >= {*posteriors.REQUIRED, *posteriors.OPTIONAL}


def test_a_long_reading_without_its_sound_is_cut_into_parts(tab, tmp_path):
    path = np.tile(PATH, 400)  # 320 s
    log_probs = np.full((len(path), len(PIECES)), -20.0, np.float32)
    log_probs[np.arange(len(path)), path] = 0
    np.savez(tmp_path / "long.npz", log_probs=log_probs, labels=np.array(PIECES), blank=0, frame_duration_s=0.08)
    tab.get_by_label("Letters alone").click()
    drop(tab, tmp_path / "long.npz")
    tab.locator(".ctc-lens .parts").get_by_text("part 1 of 2").wait_for()
    assert len(heard(tab).split()) == 800
    tab.get_by_role("button", name="Next part").click()
    tab.locator(".ctc-lens .parts").get_by_text("part 2 of 2").wait_for()
    with tab.expect_download() as download:
        tab.get_by_role("button", name="CTM", exact=True).click()
    whole = [Lane("", posteriors.load(tmp_path / "long.npz").read())]
    assert download.value.path().read_text() == export_lanes(whole, "ctm")[1]
