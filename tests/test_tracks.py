"""Files of words with times: what other libraries write is read as they meant it, and anything else gets a sentence."""

import json
import pickle
import wave
from datetime import timedelta

import pysubs2
import pytest
import srt
import textgrid
import webvtt
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from parsers import in_one_column
from praatio import textgrid as praatio
from praatio.data_classes.interval_tier import IntervalTier
from readings import both, readings, sound_of, spoken

from asr_core import tracks
from asr_core.export import export
from asr_core.tracks import TimedWord, TrackError, load

SOUND = sound_of(10.0)
WORDS = [(0.5, 0.75, "the"), (0.75, 1.25, "cat's"), (2.0, 2.125, "mat")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tracks")


@pytest.fixture
def read(folder):
    """A file of that name and content -> its words, and the note."""

    def read(name: str, content: str | bytes, sound=SOUND):
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        track = load(folder / name, sound)
        assert track.name == name
        return [(word.start_s, word.end_s, word.label) for word in track.words], track.note

    return read


def near(words):
    return [(pytest.approx(start, abs=1e-6), pytest.approx(end, abs=1e-6), label) for start, end, label in words]


# What we write


@pytest.mark.parametrize("kind", ["ctm", "TextGrid", "json"])
@settings(max_examples=25)
@given(transcription=both)
def test_our_own_files_hold_the_words_that_were_heard(folder, kind, transcription):
    path = folder / f"own.{kind}"
    path.write_text(export(transcription, kind.lower()), encoding="utf-8")
    written = (lambda label: " ".join(label.split())) if kind == "json" else in_one_column
    heard = [(word.start_s, written(word.label)) for word in transcription.words if written(word.label)]
    assume(heard)
    words = load(path, transcription.sound).words
    assert [word.label for word in words] == [label for _, label in heard]
    slack = 1e-3 * (len(words) + 1)  # the words past the end share the last milliseconds
    assert [word.start_s for word in words] == pytest.approx([start_s for start_s, _ in heard], abs=slack)


@pytest.mark.parametrize("kind", ["srt", "vtt"])
@settings(max_examples=25)
@given(transcription=readings())
def test_our_own_captions_hold_the_words_that_were_heard(folder, kind, transcription):
    assume(transcription.words)
    path = folder / f"own.{kind}"
    path.write_text(export(transcription, kind), encoding="utf-8")
    track = load(path, transcription.sound)
    assert " ".join(word.label for word in track.words) == transcription.text
    assert ("outer edges" in track.note) == any(" " in word.label for word in track.words)


# What others write

GRID_LABELS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Zl", "Zp", "Zs"]), min_size=1, max_size=8)


@pytest.mark.parametrize("form", ["long_textgrid", "short_textgrid"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@settings(max_examples=20)
@given(labels=st.lists(GRID_LABELS, min_size=1, max_size=6))
def test_a_textgrid_of_praatio_is_read_in_both_forms_and_encodings(folder, form, encoding, labels):
    assume(not any(label.lower() in tracks.SILENT or "\n" in label for label in labels))
    entries = [(i + 0.125, i + 0.75, label) for i, label in enumerate(labels)]
    grid = praatio.Textgrid(0, 9)
    grid.addTier(IntervalTier("phones", [(0, 9, "a very long label of many letters, which are no word")], 0, 9))
    grid.addTier(IntervalTier("words", entries, 0, 9))
    path = folder / "praatio.TextGrid"
    grid.save(str(path), form, includeBlankSpaces=True)
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    track = load(path, SOUND)
    assert [(word.start_s, word.end_s, word.label) for word in track.words] == entries
    assert track.note == "Tier “words” was read, of 2."


def test_a_textgrid_of_the_library_textgrid_is_read(folder, read):
    grid = textgrid.TextGrid(maxTime=9)
    grid.append(textgrid.PointTier("words, as points", maxTime=9))
    grid[0].add(1.0, "x")
    tier = textgrid.IntervalTier("speaker - words", maxTime=9)
    for start, end, label in WORDS:
        tier.add(start, end, label)
    grid.append(tier)
    grid.write(folder / "library.TextGrid")
    words, note = read("library.TextGrid", (folder / "library.TextGrid").read_bytes())
    assert words == WORDS and note == ""


def test_where_no_tier_is_called_words_the_one_that_says_most_is_read_and_named(read):
    tiers = {
        "phones": [(0, 1, "HH AH0 L OW1 W ER1 L D")],
        "noise": [(2, 3, "sil")],
        "utt": [(0, 0.5, "hello"), (0.5, 1, "world")],
    }
    lines = ["ooTextFile", "TextGrid"], ["0", "9", "<exists>", str(len(tiers))]
    text = "\n".join([*(f'"{line}"' for line in lines[0]), *lines[1]])
    for name, entries in tiers.items():
        text += f'\n"IntervalTier"\n"{name}"\n0\n9\n{len(entries)}\n'
        text += "\n".join(f'{start}\n{end}\n"{label}"' for start, end, label in entries)
    words, note = read("utt.TextGrid", text)
    assert [label for _, _, label in words] == ["hello", "world"] and note == "Tier “utt” was read, of 3."


def test_captions_of_srt_pysubs2_and_webvtt_are_read_one_segment_a_caption(folder, read):
    said = [(1.0, 2.5, "<i>the cat</i>\nsat"), (3_601.0, 3_602.25, "hello")]
    expected = [(1.0, 2.5, "the cat sat"), (3_601.0, 3_602.25, "hello")]
    hours = sound_of(3_700.0)
    cues = [srt.Subtitle(i, timedelta(seconds=a), timedelta(seconds=b), text) for i, (a, b, text) in enumerate(said, 1)]
    assert read("library.srt", "\ufeff" + srt.compose(cues, eol="\r\n"), hours)[0] == near(expected)
    file = pysubs2.SSAFile()
    file.events = [pysubs2.SSAEvent(int(a * 1000), int(b * 1000), text.replace("\n", "\\N")) for a, b, text in expected]
    for kind in ("srt", "vtt"):
        assert read(f"library.{kind}", file.to_string(kind), hours)[0] == near(expected)
    written = webvtt.WebVTT()
    for start, end, text in (
        ("00:00:01.000", "00:00:02.500", "<v Ann>a &lt;b&gt; &amp; c"),
        ("01:00.000", "01:01.250", "hello"),
    ):
        written.captions.append(webvtt.Caption(start, end, text))
    words, note = read("captions.vtt", "WEBVTT - title\n\nNOTE a remark\n\n" + written.content.partition("\n\n")[2], hours)
    assert words == near([(1.0, 2.5, "a <b> & c"), (60.0, 61.25, "hello")]) and "outer edges" in note


WHISPER = {"segments": [{"start": 0.5, "end": 1.25, "text": " the cat's", "words": [
    {"word": " the", "start": 0.5, "end": 0.75, "probability": 0.9}, {"word": " cat's", "start": 0.75, "end": 1.25}]},
    {"start": 2.0, "end": 2.125, "text": " mat"}], "text": "the cat's mat"}  # fmt: skip
WHISPERX = {
    "segments": [
        {"start": 0.5, "end": 2.125, "text": "x", "words": [{"word": w, "start": a, "end": b} for a, b, w in WORDS]}
    ],
    "word_segments": [{"word": "2014."}, *({"word": w, "start": a, "end": b, "score": 0.1} for a, b, w in WORDS)],
}
GENTLE = {"transcript": "the cat's mat", "words": [
    *({"alignedWord": w, "word": w, "case": "success", "start": a, "end": b} for a, b, w in WORDS),
    {"word": "zzz", "case": "not-found-in-audio"}]}  # fmt: skip
MFA = {"start": 0, "end": 9, "tiers": {
    "words": {"type": "interval", "entries": [[0, 0.5, ""], *([a, b, w] for a, b, w in WORDS)]},
    "phones": {"type": "interval", "entries": [[0.5, 0.75, "DH AH0 IH1 NG IH1 NG"]]}}}  # fmt: skip
GECKO = {"schemaVersion": "2.0", "monologues": [
    {"speaker": {"id": "A"}, "start": 0.5, "end": 2.2,
     "terms": [{"start": a, "end": b, "text": w, "type": "WORD"} for a, b, w in WORDS]}
]}  # fmt: skip


@pytest.mark.parametrize(
    ("content", "note"),
    [
        ([{"word": w, "start": a, "end": b} for a, b, w in WORDS], ""),
        ([{"label": w, "start_s": a, "end_s": b} for a, b, w in WORDS], ""),
        (WHISPER, ""),
        (WHISPERX, "1 without times were left out."),
        (GENTLE, "1 without times were left out."),
        (MFA, "Tier “words” was read, of 2."),
        (GECKO, ""),
    ],
    ids=["list", "ours", "whisper", "whisperx", "gentle", "mfa", "gecko"],
)
def test_json_of_other_programs_is_read(read, content, note):
    assert read("any.json", json.dumps(content)) == (WORDS, note)


def test_ctm_of_several_recordings_gives_the_one_of_the_sounds_name(read, folder):
    lines = ";; a comment\nother 1 0.1 0.2 no\nMy_Talk A 0.75 0.5 cat's 0.9 lex\nMy_Talk 1 0.50 0.25 the\n"
    named = sound_of(10.0)
    object.__setattr__(named, "name", "my talk.mp3")
    words, note = read("two.ctm", lines, named)
    assert words == WORDS[:2], "in order of time"
    assert note == "The words of “My_Talk” were read, of 2 recordings in the file."
    with pytest.raises(TrackError, match="holds 2 recordings, “other”, “My_Talk”, and none is called “recording”"):
        read("two.ctm", lines)
    assert read("one.ctm", lines.replace("other", "My_Talk"))[0][0] == (0.1, pytest.approx(0.3), "no")


def test_a_part_has_what_is_spoken_in_it_with_the_times_of_the_whole(folder):
    track = tracks.Track("x", tuple(TimedWord(label, start, end) for start, end, label in WORDS), "note")
    assert [word.label for word in track.between(1.0, 2.0).words] == ["cat's"]
    assert [word.label for word in track.between(0, 1.0).words + track.between(1.0, 9).words] == ["the", "cat's", "mat"]


# What nobody should write


def a_wav() -> bytes:
    import io

    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setparams((1, 2, 16_000, 0, "NONE", ""))
        sound.writeframes(b"\x01\x80" * 999)
    return file.getvalue()


LINE = "x 1 0.5 0.25 the\n"
GRID = '"ooTextFile"\n"TextGrid"\n0 9 <exists> 1 "IntervalTier" "words" 0 9 '
BAD = {
    "talk.wav": (a_wav(), "name ends in none of .ctm, .TextGrid"),
    "audio.ctm": (a_wav(), "no text in UTF-8 or UTF-16|holds zeros"),
    "latin.ctm": (LINE.replace("the", "café").encode("latin-1"), "no text in UTF-8 or UTF-16"),
    "zeros.srt": (b"1\n\0\0", "it holds zeros"),
    "pickle.json": (pickle.dumps({"words": []}), "no text in UTF-8"),
    "pickle.ctm": (pickle.dumps({"words": [1]}, 0), "line 1 has 1 columns"),
    "empty.ctm": (b"", "holds no words"),
    "silence.TextGrid": (GRID + '1 0 9 ""', "holds no words"),
    "few.ctm": ("x 1 0.5\n", "line 1 has 3 columns; expected recording, channel, start, duration and word"),
    "clock.ctm": (LINE + "x 1 0:01 0.5 cat\n", "line 2 has “0:01” where seconds are expected"),
    "nan.ctm": ("x 1 nan 0.5 cat\n", "line 1 has “nan” where seconds"),
    "inf.ctm": ("x 1 0 1e999 cat\n", "line 1 has “1e999” where seconds"),
    "backwards.ctm": ("x 1 1.5 -0.5 cat\n", "“cat” at 1.50 s ends at 1.00 s, before it begins"),
    "early.ctm": ("x 1 -1.5 0.5 cat\n", "begins before the recording does"),
    "late.ctm": ("x 1 500 250 the\n", "ends at 750.00 s, and the recording at 10.00 s. Expected the times of this"),
    "far.ctm": ("x 1 1e308 0 the\n", "and the recording at 10.00 s"),
    "long.ctm": (f"x 1 0 1 {'a' * 2_000}\n", "has 2,000 characters"),
    "many.ctm": (LINE * 100_001, "holds 100,001 words, and 100,000 are the most"),
    "huge.ctm": (LINE * 300_000, "it holds 5,100,000 bytes, and at most 5,000,000 make sense"),
    "deep.json": ("[" * 100_000 + "]" * 100_000, "nested too deeply|it is no JSON"),
    "nested.json": ('{"words":[' * 400 + "1" + "]}" * 400, "no words with times|nested too deeply"),
    "broken.json": ('{"words": [', "it is no JSON"),
    "digits.json": ("[" + "9" * 5_000 + "]", "it is no JSON"),
    "number.json": ("7", "no words with times were found"),
    "untimed.json": ('[{"word": "cat"}]', "no words with times were found"),
    "nan.json": ('[{"word": "cat", "start": NaN, "end": 1}]', "word 1 has “nan” where seconds"),
    "big.json": ('[{"word": "cat", "start": 0, "end": 1%s}]' % ("0" * 400), "word 1 has “1000"),
    "true.json": ('[{"word": "cat", "start": true, "end": 2}]', "word 1 has “True” where seconds"),
    "list.json": ('[{"word": "cat", "start": [1], "end": 2}]', "where seconds are expected"),
    "tier.json": ('{"tiers": {"words": {"entries": [[1, 2]]}}}', "its tier “words” is no list of"),
    "notiers.json": ('{"tiers": {}}', "no tier of intervals"),
    "count.TextGrid": (GRID + '1e300 0 1 "a"', "no TextGrid as Praat writes it"),
    "negative.TextGrid": (GRID + '-5 0 1 "a"', "holds no words"),
    "nan.TextGrid": (GRID + 'nan 0 1 "a"', "“nan” where seconds are expected"),
    "short.TextGrid": (GRID + "2 0 1", "no TextGrid as Praat writes it"),
    "other.TextGrid": ('"ooTextFile" "Sound" 1', "no TextGrid as Praat writes it"),
    "points.TextGrid": ('"ooTextFile" "TextGrid" 0 9 1 "TextTier" "words" 0 9 1 0.5 "a"', "no tier of intervals"),
    "clock.srt": ("1\n0:0:1 --> 0:0:2\nhello\n", "line 2 is no time of a caption"),
    "nothing.vtt": ("WEBVTT\n\nNOTE nothing\n", "holds no words"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_gets_a_sentence_that_names_it(read, name):
    content, sentence = BAD[name]
    with pytest.raises(TrackError, match=sentence) as error:
        read(name, content)
    message = str(error.value)
    assert message.startswith(f"{name} cannot be used: ") and message.endswith(".") and "\n" not in message


def test_a_file_that_is_not_there_or_is_a_folder_gets_a_sentence(tmp_path):
    (tmp_path / "folder.ctm").mkdir()
    for name, sentence in (("none.ctm", "No such file"), ("folder.ctm", "not an ordinary file")):
        with pytest.raises(TrackError, match=f"{name} cannot be used: .*{sentence}"):
            load(tmp_path / name, SOUND)


@pytest.mark.parametrize("label", ["<img src=x onerror=alert(1)>", "${alert(1)}", "\u202eabc", "\ud800", "漢"])
def test_any_label_can_be_written_again(read, label):
    words, _ = read("strange.json", json.dumps([{"word": label, "start": 0, "end": 1}]))
    assert words == [(0, 1, label.replace("\ud800", "\ufffd"))]
    words[0][2].encode()


def test_a_word_of_no_length_and_words_that_overlap_are_kept(read):
    words, _ = read("odd.ctm", "x 1 1.0 2.0 b\nx 1 1.5 0 c\nx 1 0.5 3.0 a\n")
    assert words == [(0.5, 3.5, "a"), (1.0, 3.0, "b"), (1.5, 1.5, "c")]


def test_what_is_heard_is_its_own_reference(folder):
    said = spoken("the cat")
    (folder / "same.json").write_text(export(said, "json"))
    assert [word.label for word in load(folder / "same.json", said.sound).words] == ["the", "cat"]
