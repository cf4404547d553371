"""Readers of files that may hold anything: they read, or raise an error of their own, and never another."""

import json
import struct

import numpy as np
import pytest
from fuzz import SEEDS, TARGETS, batch, feed_batch, folder
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from whispers import entry, model_bin, variables, whisper_weights

SEED_FILES = sorted(SEEDS.glob("*/*"))


@st.composite
def mutated(draw, good: bytes) -> bytes:
    """A few flipped bits, cuts, insertions and pieces that are put elsewhere."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        how = draw(st.sampled_from(["flip", "cut", "insert", "splice", "overwrite"]))
        at = draw(st.integers(0, max(0, min(len(data) - 1, draw(st.sampled_from([30, 300, 10**9]))))))  # headers come first
        if how == "flip" and data:
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif how == "cut":
            del data[at : at + draw(st.sampled_from([1, 8, len(data)]))]
        elif how == "insert":
            data[at:at] = draw(st.binary(min_size=1, max_size=8))
        else:
            start = draw(st.integers(0, max(0, len(data) - 1)))
            piece = data[start : start + draw(st.integers(1, 64))]
            data[at : at + len(piece) * (how == "overwrite")] = piece
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_good_file_is_read(name):
    TARGETS[name].feed(TARGETS[name].good())


@pytest.mark.parametrize("name", TARGETS)
def test_a_file_that_was_changed_a_little_is_read_or_refused(name):
    target = TARGETS[name]

    @settings(max_examples=150)
    @given(mutated(target.good()))
    def feed(data):
        target.feed(data)

    feed()


@pytest.mark.parametrize("path", SEED_FILES, ids=[f"{path.parent.name}-{path.name}" for path in SEED_FILES])
def test_what_was_once_a_bug_is_read_or_refused(path):
    TARGETS[path.parent.name].feed(path.read_bytes())


numbers = st.integers() | st.integers(-2, 300) | st.floats() | st.sampled_from([2**31, 2**63, 2**64, 10**400, 1e308])
json_values = st.recursive(
    st.none() | st.booleans() | numbers | st.text(max_size=8) | st.sampled_from(["\ud800", "attention_unet", "deepspeech2"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def places(value: object, way: tuple = ()) -> list[tuple]:
    """The way to every value inside, and to itself."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [way, *(place for key, each in inner for place in places(each, (*way, key)))]


def changed(draw, whole: object) -> object:
    """With another value somewhere, or without it."""
    whole = {"": json.loads(json.dumps(whole))}
    *way, last = draw(st.sampled_from(places(whole)[1:]))
    inner = whole
    for key in way:
        inner = inner[key]
    if len(way) and draw(st.integers(0, 4)) == 0:
        del inner[last]
    else:
        inner[last] = draw(json_values)
    return whole[""]


@pytest.mark.parametrize("name", ["config", "whisper-config"])
def test_a_configuration_with_any_value_anywhere_is_used_or_refused(name):
    good = json.loads(TARGETS[name].good())

    @settings(max_examples=250)
    @given(st.data())
    def feed(data):
        config = good
        for _ in range(data.draw(st.integers(1, 2))):
            config = changed(data.draw, config)
            assume(isinstance(config, dict))
        TARGETS[name].feed(json.dumps(config).encode())

    feed()


@pytest.mark.parametrize("name", ["weights", "words", "replay", "safetensors", "whisper-weights"])
def test_a_safetensors_file_with_any_header_is_used_or_refused(name):
    good = TARGETS[name].good()
    (length,) = struct.unpack("<Q", good[:8])
    header, rest = json.loads(good[8 : 8 + length]), good[8 + length :]

    @settings(max_examples=100)
    @given(st.data())
    def feed(data):
        values = header
        if "replay" in header.get("__metadata__", {}) and data.draw(st.booleans()):
            told = changed(data.draw, json.loads(header["__metadata__"]["replay"]))
            values = {**header, "__metadata__": {"replay": json.dumps(told)}}
        else:
            values = changed(data.draw, header)
        text = json.dumps(values).encode()
        TARGETS[name].feed(struct.pack("<Q", len(text)) + text + rest)

    feed()


four_bytes = st.integers(0, 2**32 - 1) | st.integers(0, 99)
any_claim = st.fixed_dictionaries(
    {},
    optional={
        "rank": st.integers(0, 255),
        "dimensions": st.lists(four_bytes, max_size=5).map(tuple),
        "type": st.integers(0, 255) | st.integers(0, 6),
        "size": four_bytes,
    },
)


@settings(max_examples=250)
@given(st.data())
def test_a_model_bin_that_claims_anything_is_used_or_refused(data):
    made = variables(whisper_weights())
    names = st.sampled_from([*sorted(made), "nothing"]) | st.binary(max_size=9)
    wrong = data.draw(st.dictionaries(st.sampled_from(sorted(made)), st.tuples(names, any_claim), max_size=2))
    entries = [entry(wrong[n][0], array, **wrong[n][1]) if n in wrong else entry(n, array) for n, array in made.items()]
    options = {"count": four_bytes, "alias_count": four_bytes, "version": four_bytes, "revision": four_bytes}
    given = data.draw(st.fixed_dictionaries({}, optional=options))
    TARGETS["ctranslate2"].feed(
        model_bin(entries=entries, aliases=data.draw(st.lists(st.tuples(names, names), max_size=3)), **given)
    )


any_array = arrays.arrays(
    arrays.scalar_dtypes() | arrays.array_dtypes(max_size=2),
    arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=6),
)
any_lengths = arrays.arrays(np.int64, st.integers(1, 6), elements=st.integers(-3, 10) | st.integers(-(2**63), 2**63 - 1))


@settings(max_examples=250)
@given(
    st.dictionaries(
        st.sampled_from([*sorted(batch()), "loss", "durations", "step", "sample_rate"]), any_array | any_lengths, max_size=3
    )
)
def test_a_batch_of_any_arrays_is_diagnosed_or_refused(changes):
    path = folder() / "arrays.npz"
    np.savez(path, **(batch() | changes))
    feed_batch("npz")(path.read_bytes())


@settings(max_examples=150)
@given(
    st.lists(st.lists(st.text(st.characters(exclude_characters="\t\n"), max_size=12), min_size=4, max_size=8), max_size=4)
)
def test_a_manifest_of_any_words_is_read_or_refused(rows):
    lines = ["path\tspeaker\tsplit\tduration_s\ttext", *("\t".join(row) for row in rows)]
    TARGETS["manifest"].feed("\n".join(lines).encode(errors="surrogatepass"))
