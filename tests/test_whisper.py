"""Whisper's weights in our encoder: against transformers' own encoder, and between the kinds of files; what does not fit."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from synthetic import speech_like, tiny_encoder, toy_corpus
from test_training import config_of, run_of
from torch import Tensor
from whispers import (
    BLOCKS,
    HEADS,
    WIDTH,
    ct2_folder,
    hub_config,
    hub_folder,
    model_bin,
    quantised,
    small_config,
    small_encoder,
    variables,
    whisper_weights,
)

from asr_core import CheckpointError, checkpoint, origin, whisper
from asr_core.features import WHISPER, FeatureConfig, LogMel
from asr_core.models import WhisperCTC, WhisperCTCConfig, build_encoder
from asr_core.models.whisper_ctc import positions
from asr_core.origin import NOTICE_FILE
from asr_core.sharing import card
from asr_core.training.config import PRESETS
from asr_core.whisper import SIZES, Size

DECODER = {  # as small as it can be
    "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 8, "vocab_size": 11, "pad_token_id": 0,
    "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1, "max_target_positions": 4,
}  # fmt: skip
THEIR_TYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def pretrained(encoder: WhisperCTC) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in encoder.state_dict().items() if name.split(".")[0] in encoder.pretrained}


def loaded(source: str) -> WhisperCTC:
    encoder = small_encoder()
    whisper.load(encoder, WHISPER, source)
    return encoder


def after_the_blocks(encoder: WhisperCTC, features: Tensor) -> Tensor:
    """features (T, M) -> (T / 2, D), before the head's norm."""
    caught = []
    hook = encoder.blocks[-1].register_forward_hook(lambda _, __, output: caught.append(output[0]))
    with torch.no_grad():
        encoder(features.T[None, None], torch.tensor([len(features)]))
    hook.remove()
    return caught[0]


# What transformers makes of the same features


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers is not installed: there is no Whisper to compare with")


def their_whisper(transformers, size: Size | None = None):
    """With random numbers everywhere, its norms, too, which are made as ones and zeros."""
    width, heads, blocks = (size.width, size.heads, size.blocks) if size else (WIDTH, HEADS, BLOCKS)
    config = transformers.WhisperConfig(
        d_model=width, encoder_layers=blocks, encoder_attention_heads=heads, encoder_ffn_dim=4 * width, **DECODER
    )
    torch.manual_seed(0)
    model = transformers.WhisperForConditionalGeneration(config).eval()
    for name, parameter in model.named_parameters():
        if "embed_positions" not in name:
            parameter.data = torch.randn_like(parameter) * (0.3 if parameter.ndim == 1 else parameter[0].numel() ** -0.5)
    return model


def before_their_norm(transformers, model, features: Tensor) -> Tensor:
    """features (T, M), T even -> (T / 2, D). Theirs takes as many frames as it has positions: it gets others."""
    config = transformers.WhisperConfig(**{**model.config.to_dict(), "max_source_positions": len(features) // 2})
    encoder = transformers.WhisperModel(config).encoder.eval()
    weights = {name: tensor for name, tensor in model.model.encoder.state_dict().items() if "embed_positions" not in name}
    assert encoder.load_state_dict(weights, strict=False).missing_keys == ["embed_positions.weight"]
    caught = []
    encoder.layer_norm.register_forward_hook(lambda _, inputs, __: caught.append(inputs[0][0]))
    with torch.no_grad():
        encoder(features.T[None])
    return caught[0]


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0, 5.0, 12.3])
def test_the_blocks_say_what_those_of_transformers_say(transformers, tmp_path, seconds):
    model = their_whisper(transformers)
    model.save_pretrained(tmp_path)
    features = LogMel(WHISPER)(torch.from_numpy(speech_like(seconds)))  # (T, M)
    features = features[: len(features) // 2 * 2]
    theirs = before_their_norm(transformers, model, features)
    ours = after_the_blocks(loaded(f"hf:{tmp_path}"), features)
    assert ours.shape == theirs.shape == (len(features) // 2, WIDTH)
    assert float(theirs.std()) > 0.5
    assert torch.allclose(ours, theirs, atol=1e-4)


def test_so_do_they_at_the_size_of_tiny_and_in_thirty_seconds(transformers, tmp_path):
    model = their_whisper(transformers, SIZES["tiny"])
    model.model.save_pretrained(tmp_path)  # without its output layer, as some publish it: other names
    encoder = WhisperCTC(WhisperCTCConfig(width=384, heads=6, blocks=4)).eval()
    whisper.load(encoder, WHISPER, f"hf:{tmp_path}")
    features = LogMel(WHISPER)(torch.from_numpy(speech_like(30.0)))[:3_000]
    theirs = before_their_norm(transformers, model, features)
    assert torch.allclose(after_the_blocks(encoder, features), theirs, atol=1e-4)


def test_our_positions_are_the_sinusoids_that_a_whisper_holds(transformers):
    for width in (16, 384, 512, 768):
        config = transformers.WhisperConfig(
            d_model=width, encoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2
        )
        stored = transformers.WhisperModel(config).encoder.embed_positions.weight
        assert stored.shape == (1_500, width)
        assert torch.allclose(positions(1_500, width, stored), stored, atol=5e-4)  # an angle of 1,500 in float32


def test_the_sizes_named_are_those_of_the_presets_and_the_presets_hear_as_whisper_does():
    found = {
        name: Size(each.features.n_mels, each.encoder["width"], each.encoder["heads"], each.encoder["blocks"])
        for name, each in PRESETS.items()
        if each.encoder["name"] == "whisper_ctc"
    }
    assert found == SIZES
    assert all(PRESETS[name].features == WHISPER for name in SIZES)


def test_what_any_preset_trains_may_be_loaded_again():
    for name, preset in PRESETS.items():
        with torch.device("meta"):
            assert build_encoder(preset.encoder).parameter_count <= checkpoint.MOST_PARAMETERS, name


# One Whisper in two kinds of files


@pytest.mark.parametrize("kind", ["float32", "float16", "bfloat16", "int8", "int8_float16", "int8_bfloat16", "int16"])
def test_both_kinds_of_files_give_the_same_weights(tmp_path, kind):
    weights = whisper_weights()
    whole, _, rest = kind.partition("_")
    floats = THEIR_TYPES[rest or (whole if whole in THEIR_TYPES else "float32")]
    exact = pretrained(loaded(f"hf:{hub_folder(tmp_path / 'hub', weights)}"))
    rounded = {name: tensor.to(floats) for name, tensor in weights.items()}
    expected = pretrained(loaded(f"hf:{hub_folder(tmp_path / 'rounded', rounded)}"))
    found = pretrained(loaded(f"ct2:{ct2_folder(tmp_path / 'ct2', model_bin(quantised(variables(weights), kind)))}"))
    assert found.keys() == expected.keys() and len(found) == 4 + 12 * BLOCKS
    for name, tensor in found.items():
        if whole in THEIR_TYPES or tensor.ndim == 1:
            assert torch.equal(tensor, expected[name]), name
            continue
        rows = exact[name].flatten(1) if whole == "int8" else exact[name].reshape(1, -1)
        step = rows.abs().amax(1) / (127 if whole == "int8" else 1_024)  # (R,) of one whole number
        off = (tensor - exact[name]).reshape(len(rows), -1).abs().amax(1)  # (R,)
        assert bool((off <= 0.5001 * step).all()) and bool((off > 0).any()), name


def test_the_key_has_no_bias_and_the_others_have_theirs(tmp_path):
    weights = whisper_weights()
    for source in (f"hf:{hub_folder(tmp_path / 'hub')}", f"ct2:{ct2_folder(tmp_path / 'ct2')}"):
        bias = loaded(source).blocks[1].query_key_value.bias
        assert torch.equal(bias[:WIDTH], weights["model.encoder.layers.1.self_attn.q_proj.bias"])
        assert not bias[WIDTH : 2 * WIDTH].any()
        assert torch.equal(bias[2 * WIDTH :], weights["model.encoder.layers.1.self_attn.v_proj.bias"])


def test_the_head_keeps_its_fresh_weights(tmp_path):
    fresh = small_encoder().state_dict()
    found = loaded(f"ct2:{ct2_folder(tmp_path / 'ct2')}").state_dict()
    changed = {name for name in fresh if not torch.equal(found[name], fresh[name])}
    assert changed == {name for name in fresh if name.split(".")[0] in WhisperCTC.pretrained}


def test_a_variable_that_is_stored_once_under_two_names_is_read_under_both(tmp_path):
    """As CTranslate2's converter leaves out what is equal; and with it its scales."""
    weights = whisper_weights()
    for kind in ("weight", "bias"):
        weights[f"model.encoder.layers.1.fc1.{kind}"] = weights[f"model.encoder.layers.0.fc1.{kind}"]
    expected = pretrained(loaded(f"ct2:{ct2_folder(tmp_path / 'whole', model_bin(quantised(variables(weights), 'int8')))}"))
    made = quantised(variables(weights), "int8")
    aliases = []
    for kind in ("weight", "bias"):
        aliases.append((f"encoder/layer_1/ffn/linear_0/{kind}", f"encoder/layer_0/ffn/linear_0/{kind}"))
        del made[aliases[-1][0]]
    del made["encoder/layer_1/ffn/linear_0/weight_scale"]
    found = pretrained(loaded(f"ct2:{ct2_folder(tmp_path / 'aliased', model_bin(made, aliases=aliases))}"))
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert torch.equal(found["blocks.0.expand.weight"], found["blocks.1.expand.weight"])


# What does not fit


def test_another_size_is_told_with_both_and_what_to_choose(tmp_path):
    base = WhisperCTC(WhisperCTCConfig(width=64, heads=8, blocks=1, phone_block=1))
    base.config = WhisperCTCConfig()  # says base, and takes no time to make
    sizes = {"d_model": 384, "encoder_layers": 4, "encoder_attention_heads": 6}
    tiny = f"hf:{hub_folder(tmp_path / 'tiny', **sizes)}"
    with pytest.raises(
        CheckpointError, match="has 4 blocks of 384 with 6 heads, and the preset's encoder 6 blocks of 512"
    ) as told:
        whisper.load(base, WHISPER, tiny)
    assert str(told.value).endswith("Choose --preset tiny or hf:openai/whisper-base.en.")
    large = f"hf:{hub_folder(tmp_path / 'large', num_mel_bins=128, d_model=1280, encoder_layers=32)}"
    with pytest.raises(
        CheckpointError, match="listens to 128 mel bins, as large-v3 does, and the preset's encoder to 80.*whisper-base"
    ):
        whisper.load(base, WHISPER, large)
    with pytest.raises(CheckpointError, match="preset's encoder 2 blocks of 16 with 2 heads. Choose --preset tiny."):
        whisper.load(small_encoder(), WHISPER, tiny)
    with pytest.raises(CheckpointError, match="2 blocks of 16 with 1 heads"):
        whisper.load(
            small_encoder(), WHISPER, f"ct2:{ct2_folder(tmp_path / 'heads', model_bin(variables(whisper_weights(), 1)))}"
        )


def test_another_encoder_and_other_features_are_told(tmp_path):
    source = f"ct2:{ct2_folder(tmp_path / 'ct2')}"
    with pytest.raises(CheckpointError, match="is a Whisper, and this preset trains no such encoder. Choose --preset base."):
        whisper.load(tiny_encoder("attention_unet"), WHISPER, source)
    with pytest.raises(CheckpointError, match="hears with Whisper's features, and this training with others"):
        whisper.load(small_encoder(), FeatureConfig(), source)


def without(name: str):
    weights = whisper_weights()
    del weights[name]
    return weights


def with_changed(name: str, change):
    weights = whisper_weights()
    weights[name] = change(weights[name])
    return weights


NORM = "model.encoder.layers.1.final_layer_norm.weight"
WRONG = {
    "another kind of model": (
        lambda f: hub_folder(f, model_type="wav2vec2"),
        "is a 'wav2vec2' model; a training starts from",
    ),
    "no kind at all": (lambda f: hub_folder(f, model_type=None), "is a None model"),
    "a width in words": (lambda f: hub_folder(f, d_model="16"), "not that of a Whisper: width is '16'"),
    "no blocks": (lambda f: hub_folder(f, encoder_layers=0), "not that of a Whisper: blocks is 0"),
    "a tensor less": (lambda f: hub_folder(f, without(NORM)), f"not a whole Whisper: '{NORM}' is not there"),
    "a shorter tensor": (lambda f: hub_folder(f, with_changed(NORM, lambda x: x[1:])), r"has shape \(15,\); shape \(16,\)"),
    "whole numbers": (lambda f: hub_folder(f, with_changed(NORM, lambda x: x.int())), "is I32; what is read is F16"),
    "NaN": (lambda f: hub_folder(f, with_changed(NORM, lambda x: x * float("nan"))), "holds NaN or infinite values"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_whisper_is_told_and_the_encoder_stays_as_it_was(tmp_path, wrong):
    change, telling = WRONG[wrong]
    encoder, before = small_encoder(), small_encoder().state_dict()
    with pytest.raises(CheckpointError, match=telling) as refused:
        whisper.load(encoder, WHISPER, f"hf:{change(tmp_path / 'evil')}")
    assert "evil" in str(refused.value) and str(refused.value).endswith(".") and "\n" not in str(refused.value)
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


# As a checkpoint, it is told before anything large is fetched

VERBS = {
    "transcribe": ["clip.wav", "--checkpoint", "{}"],
    "align": ["clip.wav", "a text", "--checkpoint", "{}"],
    "evaluate": ["manifest.tsv", "--checkpoint", "{}"],
    "tune": ["manifest.tsv", "--checkpoint", "{}"],
    "benchmark": ["--smoke", "--checkpoint", "{}"],
    "compress": ["{}", "out"],
    "export-onnx": ["{}", "out.onnx"],
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("kind", ["hf", "ct2"])
def test_no_verb_takes_it_for_a_checkpoint(run, tmp_path, monkeypatch, verb, kind):
    monkeypatch.setitem(sys.modules, "transformers", None)  # which nobody needs to be told so
    monkeypatch.setitem(SIZES, "base", Size(80, WIDTH, HEADS, BLOCKS))
    folder = (hub_folder if kind == "hf" else ct2_folder)(tmp_path / "small")
    (folder / "model.safetensors").unlink(missing_ok=True)
    source = f"{kind}:{folder}"
    code, out, err = run(verb, *(each.format(source) for each in VERBS[verb]))
    assert (code, out) == (2, "")
    assert err == (
        f"{source} is a Whisper: it has no CTC head, so it does not say which letter is in which frame. Train one on its "
        f"encoder: python train.py --preset base --init-from {source} --data manifest.tsv\n"
    )


@pytest.mark.parametrize("verb", ["evaluate", "tune"])
def test_verbs_that_need_a_checkpoint_of_ours_say_so_of_anothers(run, verb):
    code, _, err = run(verb, "manifest.tsv", "--checkpoint", "torchaudio:WAV2VEC2_ASR_BASE_960H")
    assert code == 2 and err.endswith(
        "is a model of another library, and this needs a checkpoint of ours: a folder or Hub id.\n"
    )


@pytest.fixture
def process(online, tmp_path):
    """Runs code in a process of its own, which may reach the Hub on this machine alone -> what it prints."""

    def run(code: str) -> str:
        tests = Path(__file__).parent
        told = {"HF_ENDPOINT": online.address, "HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "0"}
        told["PYTHONPATH"] = os.pathsep.join(map(str, (tests.parent, tests)))
        return subprocess.run([sys.executable, "-c", code], env=os.environ | told, capture_output=True, text=True).stdout

    run.models = online.models
    return run


def fetched(folder: Path) -> dict[str, set[str]]:
    """Model -> its files in the Hub's cache."""
    snapshots = list((folder / "cache").rglob("snapshots"))
    return {each.parent.name.split("--")[-1]: {path.name for path in each.glob("*/*")} for each in snapshots}


def attempt(calls: str) -> str:
    return f"""
from asr_core import adapters, whisper
from asr_core.checkpoint import CheckpointError
from test_whisper import loaded
for call in {calls}:
    try:
        print(eval(call))
    except CheckpointError as error:
        print(error)
"""


def test_the_hub_is_asked_for_config_json_alone(process, tmp_path):
    folder = hub_folder(tmp_path / "small", d_model=512, encoder_layers=6, encoder_attention_heads=8)
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    process.models["openai/whisper-base.en"] = files
    process.models["somebody/bert"] = files | {"config.json": b'{"model_type": "bert"}'}
    sources = ["hf:openai/whisper-base.en", "openai/whisper-base.en", "hf:somebody/bert"]
    told = process(attempt([f"adapters.load({source!r})" for source in sources])).splitlines()
    assert told[0] == (
        "hf:openai/whisper-base.en is a Whisper: it has no CTC head, so it does not say which letter is in which frame. "
        "Train one on its encoder: python train.py --preset base --init-from hf:openai/whisper-base.en --data manifest.tsv"
    )
    assert told[1].endswith("It is of transformers, whose models are named hf:ORG/NAME or hf:FOLDER.")
    assert told[2] == "somebody/bert is a bert model, which has no CTC head."
    assert fetched(tmp_path) == {"whisper-base.en": {"config.json"}, "bert": {"config.json"}}


def test_of_the_hub_only_what_is_read_is_fetched(process, tmp_path):
    folder = hub_folder(tmp_path / "small")
    files = {file.name: file.read_bytes() for file in folder.iterdir()}
    process.models["openai/deeper"] = files | {"config.json": hub_config(encoder_layers=3)}
    process.models["openai/small"] = files | {"pytorch_model.bin": b"a pickle", "vocab.json": b"{}"}
    told = process(attempt([f"float(loaded('hf:openai/{name}').conv1.bias.sum())" for name in ("deeper", "small")]))
    refused, read = told.splitlines()
    assert refused.startswith("hf:openai/deeper has 3 blocks of 16")
    assert float(read) == pytest.approx(float(whisper_weights()["model.encoder.conv1.bias"].sum()), abs=1e-6)
    assert fetched(tmp_path) == {"deeper": {"config.json"}, "small": {"config.json", "model.safetensors"}}


# A training that begins with it


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "clips").mkdir()
    return toy_corpus(tmp_path / "clips", 6)


def training():
    return small_config(config_of("attention_unet", epochs=1, augmentation=PRESETS["tiny"].augmentation))


@pytest.mark.parametrize("kind", ["hf", "ct2"])
def test_a_training_begins_with_it_and_its_checkpoints_tell_so(corpus, tmp_path, kind):
    folder = (hub_folder if kind == "hf" else ct2_folder)(tmp_path / "whisper-small.en")
    run = run_of(training(), corpus, tmp_path / "run", init_from=f"{kind}:{folder}")
    expected = pretrained(loaded(f"{kind}:{folder}"))
    assert all(torch.equal(run.encoder.state_dict()[name], tensor) for name, tensor in expected.items())
    assert all(torch.equal(run.averaged.state_dict()[name], tensor) for name, tensor in expected.items())
    assert run.run(max_minutes=0.0) is False
    assert run_of(training(), corpus, tmp_path / "run").run()  # named or not, it is told where the training began
    made = tmp_path / "run" / "best"
    assert checkpoint.load(made).training["init_from"] == f"{kind}:whisper-small.en"
    assert str(tmp_path) not in (made / "config.json").read_text()
    assert "Copyright (c) 2022 OpenAI" in (made / NOTICE_FILE).read_text()
    assert f"from the weights of `{kind}:whisper-small.en` on" in card(checkpoint.load(made), "somebody/small")


def test_what_goes_on_from_such_a_checkpoint_tells_both_and_keeps_the_notice(corpus, tmp_path, run):
    ct2_folder(tmp_path / "small")
    assert run_of(training(), corpus, tmp_path / "first", init_from=f"ct2:{tmp_path / 'small'}").run()
    assert run_of(training(), corpus, tmp_path / "second", init_from=str(tmp_path / "first" / "best")).run()
    assert checkpoint.load(tmp_path / "second" / "last").training["init_from"] == "ct2:small, then best"
    assert (tmp_path / "second" / "last" / NOTICE_FILE).exists()
    assert run("compress", tmp_path / "second" / "last", tmp_path / "small 8 bits")[0] == 0
    assert (tmp_path / "small 8 bits" / NOTICE_FILE).exists()


def test_a_training_from_nothing_or_from_a_strange_table_tells_nothing(corpus, tmp_path):
    assert run_of(training(), corpus, tmp_path / "run").run()
    made = checkpoint.load(tmp_path / "run" / "best")
    assert made.training["init_from"] == "" and not (tmp_path / "run" / "best" / NOTICE_FILE).exists()
    for strange in (7, ["hf:x"], "hf:" + "x" * 1_000, "hf:x\n# Mine"):
        model = replace(made, training={**made.training, "init_from": strange})
        model.save(tmp_path / "strange")
        assert not (tmp_path / "strange" / NOTICE_FILE).exists() and "from the weights" not in card(model, "a/b")


def test_however_often_a_training_goes_on_the_first_weights_are_told(tmp_path):
    (tmp_path / ("x" * 250)).mkdir()
    told = origin.begun_with("hf:openai/whisper-base.en", {})
    for number in range(9):
        source = str(tmp_path / ("x" * 250)) if number % 2 else f"somebody/part{number}"
        told = origin.begun_with(source, {"init_from": told})
    assert told == f"hf:openai/whisper-base.en, then somebody/part6, then {'x' * 100}, then somebody/part8"
    assert NOTICE_FILE in origin.notices({"init_from": told})
    (tmp_path / "a\nb\udcff").mkdir()
    assert origin.begun_with(f"ct2:{tmp_path}/a\nb\udcff", {}) == "ct2:a?b?"
    (tmp_path / "hf:x").mkdir()
    assert origin.begun_with(str(tmp_path / "hf:x"), {}) == "hf:x"
