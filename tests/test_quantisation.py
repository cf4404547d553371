import pytest
import torch
from safetensors.torch import load_file, save_file
from synthetic import tiny_model

from asr_core import checkpoint
from asr_core.checkpoint import WEIGHTS, CheckpointError
from asr_core.quantisation import compress, expand


@pytest.mark.parametrize("shape", [(5, 7), (4, 3, 3, 3), (1, 1)])
@pytest.mark.parametrize("size", [1e-4, 1.0, 300.0])
def test_every_weight_is_kept_to_half_a_step_of_its_row(shape, size):
    weights = size * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    again = expand(compress({"w": weights}))["w"]
    step = weights.flatten(1).abs().amax(1) / 127
    error = (again - weights).flatten(1).abs().amax(1)
    # The scale itself is a float16, which rounds by 2^-11 (more below 6e-5), 127 steps away from zero.
    assert (error <= step * (0.5 + 127 * 2**-11) + 127 * 2**-25).all()


def test_vectors_and_rows_of_zeros_survive():
    tensors = {"bias": torch.tensor([0.5, -2.0]), "w": torch.tensor([[0.0, 0.0], [1.0, -1.0]])}
    again = expand(compress(tensors))
    assert again.keys() == tensors.keys()
    assert torch.equal(again["bias"], tensors["bias"])
    assert torch.equal(again["w"][0], torch.zeros(2)) and torch.allclose(again["w"][1], tensors["w"][1], atol=1e-3)


@pytest.mark.parametrize("name", ["attention_unet", "whisper_ctc", "deepspeech2"])
def test_a_compressed_checkpoint_says_nearly_the_same_in_half_the_space(tmp_path, name):
    model = tiny_model(name)
    model.save(tmp_path / "half")
    model.save(tmp_path / "eighth", compressed=True)
    sizes = [(tmp_path / folder / WEIGHTS).stat().st_size for folder in ("half", "eighth")]
    assert sizes[1] < 0.75 * sizes[0]  # so small an encoder has many vectors
    features = torch.randn(1, 1, model.features.n_mels, 120)
    logits = [
        checkpoint.load(tmp_path / folder).encoder(features, torch.tensor([120])).logits for folder in ("half", "eighth")
    ]
    assert (logits[0] - logits[1]).abs().max() < 0.05 * logits[0].std()


def test_the_command_writes_a_checkpoint_that_loads(run, tmp_path, checkpoint_folder):
    code, said, _ = run("compress", checkpoint_folder, tmp_path / "small")
    assert code == 0 and "MB" in said
    assert checkpoint.load(tmp_path / "small").alphabet == checkpoint.load(checkpoint_folder).alphabet


def test_all_but_the_weights_goes_along_unchanged_and_with_the_card_the_licence(run, tmp_path, checkpoint_folder):
    (checkpoint_folder / "README.md").write_text("---\nlicense: cc-by-4.0\n---\n")
    (checkpoint_folder / "notes.txt").write_text("no file of a checkpoint")
    assert run("compress", checkpoint_folder, tmp_path / "small")[0] == 0
    made, given = (
        {file.name: file.read_bytes() for file in folder.iterdir()} for folder in (tmp_path / "small", checkpoint_folder)
    )
    assert made.keys() == given.keys() - {"notes.txt"}
    assert {name for name in made if made[name] != given[name]} == {WEIGHTS}
    assert checkpoint.load(tmp_path / "small").licence == "cc-by-4.0"


def test_a_checkpoint_is_not_compressed_onto_itself(run, tmp_path, checkpoint_folder):
    before = (checkpoint_folder / WEIGHTS).read_bytes()
    (tmp_path / "link").symlink_to(checkpoint_folder)
    for out in (checkpoint_folder, tmp_path / "link"):
        code, _, said = run("compress", checkpoint_folder, out)
        assert code == 2 and "Name another folder" in said
    assert (checkpoint_folder / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize("how", ["without its scale", "with too few scales"])
def test_eight_bits_that_cannot_be_scaled_are_refused(tmp_path, how):
    tiny_model().save(tmp_path / "spoilt", compressed=True)
    tensors = load_file(tmp_path / "spoilt" / WEIGHTS)
    scale = next(name for name in tensors if name.endswith(".scale"))
    tensors[scale] = tensors[scale][:-1]
    if how == "without its scale":
        del tensors[scale]
    save_file(tensors, tmp_path / "spoilt" / WEIGHTS)
    with pytest.raises(CheckpointError, match=r"in 8 bits and has no scale for each of its (\d+ )?rows\."):
        checkpoint.load(tmp_path / "spoilt")
