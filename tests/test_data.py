"""The index of a corpus, and the phones of its words. test_batches.py has what is made of it."""

from pathlib import Path

import pytest
import soundfile as sf
from synthetic import RATE, speech_like, toy_corpus, write_manifest

from asr_core.data.librispeech import librispeech_subsets
from asr_core.data.utterances import (
    DataError,
    Utterance,
    read_librispeech,
    read_manifest,
    read_speakers,
    read_utterances,
    split_speakers,
)
from asr_core.phones import PHONE_BLANK, PHONES, pronounce

HEADER = "path\tspeaker\tsplit\tduration_s\ttext\n"


@pytest.fixture
def manifest(tmp_path):
    """Writes its argument below the header of a manifest."""

    def write(rows: str, header: str = HEADER) -> Path:
        path = tmp_path / "manifest.tsv"
        path.write_text(header + rows, encoding="utf-8")
        return path

    return write


def test_a_manifest_is_read_row_by_row(manifest):
    path = manifest('a/one.wav\tann\ttrain\t1.5\t IT\u2019S  Me \nb/two.flac\tbob\tvalid\t2\tsay "hi"\n')
    one, two = read_manifest(path)
    assert one == Utterance("a/one", path.parent / "a/one.wav", "it's me", 1.5, "ann")
    assert two == Utterance("b/two", path.parent / "b/two.flac", 'say "hi"', 2.0, "bob")  # quotes quote nothing
    assert read_manifest(path, "valid") == read_utterances(path, "valid") == [two]


def test_other_columns_and_their_order_do_not_matter(manifest):
    path = manifest("hi\tx\t1\tann\ttrain\ta.wav\n", "text\tlicence\tduration_s\tspeaker\tsplit\tpath\n")
    assert [(u.text, u.speaker, u.id) for u in read_manifest(path)] == [("hi", "ann", "a")]


def test_missing_columns_are_named(manifest):
    with pytest.raises(DataError, match="manifest.tsv.*lacks the columns speaker, duration_s"):
        read_manifest(manifest("a.wav\ttrain\thi\n", "path\tsplit\ttext\n"))


@pytest.mark.parametrize("seconds", ["long", "", "nan", "inf", "-1"])
def test_a_bad_duration_is_named_with_its_line(manifest, seconds):
    path = manifest(f"a.wav\tann\ttrain\t1\thi\nb.wav\tann\ttrain\t{seconds}\thi\n")
    with pytest.raises(DataError, match=f"line 3.*duration_s.*{seconds}"):
        read_manifest(path)


def test_the_line_is_that_of_the_file_blank_lines_included(manifest):
    with pytest.raises(DataError, match="line 4"):
        read_manifest(manifest("a.wav\tann\ttrain\t1\thi\n\nb.wav\tann\ttrain\tlong\thi\n"))


def test_a_row_cut_short_is_named_and_not_lost(manifest):
    with pytest.raises(DataError, match="line 3"):
        read_manifest(manifest("a.wav\tann\ttrain\t1\thi\nb.wav\tann\n"), "train")


@pytest.mark.parametrize("nothing", ["", "."])
def test_a_row_without_a_path_is_named(manifest, nothing):
    with pytest.raises(DataError, match="line 2"):
        read_manifest(manifest(f"{nothing}\tann\ttrain\t1\thi\n"))


def test_a_manifest_saved_with_a_byte_order_mark_is_read(manifest):
    assert len(read_manifest(manifest("a.wav\tann\ttrain\t1\thi\n", "\ufeff" + HEADER))) == 1


@pytest.mark.parametrize("text", ["hi there", "hi\u2028there", "hi\x85there"])
@pytest.mark.parametrize("line_ends", ["\n", "\r\n"])
def test_only_line_ends_end_a_row(manifest, text, line_ends):
    # Python's splitlines() would also break at U+2028 and U+0085, and lose the rest of the sentence.
    rows = f"a.wav\tann\ttrain\t1\t{text}\nb.wav\tann\ttrain\t1\tbye\n"
    path = manifest(rows.replace("\n", line_ends), HEADER.replace("\n", line_ends))
    assert [u.text for u in read_manifest(path)] == ["hi there", "bye"]


def test_a_missing_split_is_named(manifest):
    with pytest.raises(DataError, match="no rows of split 'test'"):
        read_manifest(manifest("a.wav\tann\ttrain\t1\thi\n"), "test")
    with pytest.raises(DataError, match="no rows"):
        read_manifest(manifest(""))


def test_what_is_not_a_manifest_is_refused(tmp_path):
    (tmp_path / "clip.wav").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="clip.wav is not a manifest: it is not UTF-8"):
        read_utterances(tmp_path / "clip.wav")
    with pytest.raises(DataError, match="no file or folder .*gone.tsv"):
        read_utterances(tmp_path / "gone.tsv")


@pytest.fixture
def librispeech(tmp_path):
    """ROOT/LibriSpeech/test-clean with two speakers, three utterances and one file gone."""
    subset = tmp_path / "LibriSpeech" / "test-clean"
    chapters = {"84/121": ["84-121-0000 GO", "84-121-0001 DON'T  GO"], "7/3": ["7-3-0000 HERE", "7-3-0001 GONE"]}
    for chapter, lines in chapters.items():
        (subset / chapter).mkdir(parents=True)
        (subset / chapter / f"{chapter.replace('/', '-')}.trans.txt").write_text("\n".join(lines) + "\n")
        for line in lines:
            if not line.endswith("GONE"):
                sf.write(subset / chapter / f"{line.split()[0]}.flac", speech_like(0.5 * len(line.split())), RATE)
    return tmp_path


def test_a_librispeech_tree_is_read_with_durations_from_the_headers(librispeech):
    utterances = read_librispeech(librispeech / "LibriSpeech" / "test-clean")
    assert [(u.id, u.speaker, u.text, u.duration_s) for u in utterances] == [
        ("7-3-0000", "7", "here", 1.0),
        ("7-3-0001", "7", "gone", 0.0),  # kept, so that decoding it says what is wrong
        ("84-121-0000", "84", "go", 1.0),
        ("84-121-0001", "84", "don't go", 1.5),
    ]
    assert utterances == read_utterances(librispeech) == librispeech_subsets(librispeech, ["test-clean"], download=False)


def test_a_missing_subset_is_refused_with_the_option_that_fetches_it(librispeech):
    with pytest.raises(DataError, match="train-clean-100.*--download"):
        librispeech_subsets(librispeech, ["test-clean", "train-clean-100"], download=False)


def test_a_folder_without_transcripts_is_refused(tmp_path):
    with pytest.raises(DataError, match="no LibriSpeech transcripts"):
        read_utterances(tmp_path)


def test_transcripts_and_speakers_that_are_not_text_are_refused(librispeech):
    path = next(librispeech.rglob("*.trans.txt"))
    path.write_bytes(b"84-121-0000 CAF\xc9\n")
    with pytest.raises(DataError, match=path.name):
        read_librispeech(librispeech)
    with pytest.raises(DataError, match=path.name):
        read_speakers(path)


def test_speakers_are_split_and_none_is_lost(tmp_path):
    (tmp_path / "speakers.txt").write_text("ann\ncid\n")
    utterances = [Utterance(str(n), Path("x"), "hi", 1.0, who) for n, who in enumerate(["ann", "bob", "ann", "dan"])]
    inside, outside = split_speakers(utterances, read_speakers(tmp_path / "speakers.txt"))
    assert ([u.id for u in inside], [u.id for u in outside]) == (["0", "2"], ["1", "3"])
    with pytest.raises(DataError, match="one speaker id a line"):
        read_speakers(tmp_path / "gone.txt")


def test_hello_world_has_its_phones():
    assert [PHONES[phone] for phone in pronounce("hello world")] == ["HH", "AH", "L", "OW", "W", "ER", "L", "D"]
    assert PHONE_BLANK == len(PHONES) == 39


@pytest.mark.parametrize("text", ["hello xqzzt", "xqzzt", ""])
def test_a_sentence_with_an_unknown_word_has_no_phones(text):
    assert pronounce(text) == []


def test_a_manifest_written_from_a_corpus_finds_its_files(tmp_path):
    corpus = toy_corpus(tmp_path, 2)
    read = read_manifest(write_manifest(tmp_path / "m.tsv", [(utterance, "train") for utterance in corpus]))
    assert [(u.id, u.path, u.text) for u in read] == [(u.id, u.path, u.text) for u in corpus]
