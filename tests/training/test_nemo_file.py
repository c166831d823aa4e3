"""``save_to`` and ``restore_from`` through NeMo's entry points, for every family; hostile files are refused."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import torch

pytest.importorskip("nemo")

from nemo.core import ModelPT

from cosmos_lidar.errors import DataError, UserError
from cosmos_lidar.files import NEMO_CONFIG, NEMO_WEIGHTS, read_nemo, read_tensors
from cosmos_lidar.recipes.registry import find_family
from cosmos_lidar.training.model import TrainedModel
from cosmos_lidar.training.nemo_file import NemoFile


def model_of(name: str) -> TrainedModel:
    family = find_family(name)
    torch.manual_seed(1)
    import importlib

    model = importlib.import_module(family.job).make_dry_model(family.recipes["debug"]())
    for parameter in model.network.parameters():  # layers that begin with zeros would hide what is not restored
        torch.nn.init.normal_(parameter, std=0.05)
    return model


@pytest.mark.parametrize("name", ["dit", "lidar_tokenizer", "lidargen", "video_tokenizer"])
def test_a_restored_model_computes_the_same(name: str, tmp_path: Path):
    model = model_of(name).eval()
    model.save_to(str(tmp_path / "x.nemo"))
    restored = [
        type(model).restore_from(str(tmp_path / "x.nemo"), map_location=torch.device("cpu")),
        TrainedModel.restore_from(str(tmp_path / "x.nemo"), map_location=torch.device("cpu")),
        ModelPT.restore_from(str(tmp_path / "x.nemo"), save_restore_connector=NemoFile()),
    ]
    batch = model.example_batch(1)
    for other in restored:
        assert type(other) is type(model)
        assert other.run == model.run
        assert not other.training
        wanted, got = model.network.state_dict(), other.network.state_dict()
        assert wanted.keys() == got.keys()
        assert all(torch.equal(wanted[key], got[key]) for key in wanted)
    with torch.no_grad():
        losses = []
        for each in (model, restored[0]):
            torch.manual_seed(0)
            losses.append({key: float(value) for key, value in each.step(batch).items()})
    assert losses[0] == losses[1]
    config = ModelPT.restore_from(str(tmp_path / "x.nemo"), return_config=True, save_restore_connector=NemoFile())
    assert config.run.family == name
    assert read_tensors(tmp_path / "x.nemo", "weights").keys() == wanted.keys()


def pack(path: Path, contents: dict[str, bytes], link: str | None = None) -> Path:
    with tarfile.open(path, "w:") as tar:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        if link:
            member = tarfile.TarInfo(link)
            member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(member)
    return path


def test_hostile_files_are_refused_and_leave_nothing(tmp_path: Path):
    from safetensors.torch import save

    weights, run = save({"a": torch.zeros(1)}), b"target: os.system\nrun: {family: dit}\n"
    trap = tmp_path / "trap"
    tagged = f"target: !!python/object/apply:os.system ['touch {trap}']\n".encode()
    pickled = io.BytesIO()
    torch.save({"a": torch.zeros(1)}, pickled)
    hostile = [
        pack(tmp_path / "target.nemo", {NEMO_CONFIG: run, NEMO_WEIGHTS: weights}),
        pack(tmp_path / "package.nemo", {NEMO_CONFIG: b"target: cosmos_lidar.cli.main\n", NEMO_WEIGHTS: weights}),
        pack(tmp_path / "tag.nemo", {NEMO_CONFIG: tagged, NEMO_WEIGHTS: weights}),
        pack(tmp_path / "pickle.nemo", {NEMO_CONFIG: run, "model_weights.ckpt": pickled.getvalue()}),
        pack(tmp_path / "disguised.nemo", {NEMO_CONFIG: run, NEMO_WEIGHTS: pickled.getvalue()}),
        pack(tmp_path / "path.nemo", {NEMO_CONFIG: run, NEMO_WEIGHTS: weights, "../evil": b"x"}),
        pack(tmp_path / "link.nemo", {NEMO_CONFIG: run}, link=NEMO_WEIGHTS),
        pack(tmp_path / "large.nemo", {NEMO_CONFIG: run + b"#" * (1 << 20), NEMO_WEIGHTS: weights}),
    ]
    (tmp_path / "no.nemo").write_bytes(b"not a tar")
    before = sorted(tmp_path.parent.rglob("*"))
    for path in [*hostile, tmp_path / "no.nemo"]:
        with pytest.raises(DataError, match=r"safe to read|target"):
            TrainedModel.restore_from(str(path))
    assert sorted(tmp_path.parent.rglob("*")) == before
    assert read_nemo(hostile[0])[0]["target"] == "os.system"


def test_data_is_for_the_trainer():
    with pytest.raises(UserError, match="passed to Trainer.fit"):
        model_of("dit").setup_training_data({})


def test_exported_checkpoints_restore_and_start_new_runs(tmp_path: Path):
    from cosmos_lidar.cli import main
    from cosmos_lidar.models.dit import build_dit
    from cosmos_lidar.models.dit.weights import load_dit_weights
    from cosmos_lidar.training.overrides import apply_overrides

    family = find_family("dit")
    options = ["trainer.max_steps=2", "trainer.val_every=0", f"log.root={tmp_path}", "log.tensorboard=false"]
    run = apply_overrides(family.recipes["debug"](), options)
    family.train(run)
    checkpoint = tmp_path / "posttraining" / "diffusion" / "debug" / "checkpoints" / "iter_000000002"
    for out in (["--nemo"], []):
        assert main(["export", str(checkpoint), "--out", str(tmp_path / "out"), *out]) == 0
    model = TrainedModel.restore_from(str(tmp_path / "out" / "iter_000000002.nemo"), map_location=torch.device("cpu"))
    published = read_tensors(tmp_path / "out" / "iter_000000002_ema_model.pt", "weights")
    for key, value in model.network.state_dict().items():
        assert torch.equal(value, published[f"net.{key}"])
    network = build_dit(run.model.name, **run.model.shape())
    load_dit_weights(network, tmp_path / "out" / "iter_000000002.nemo")
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), model.network.parameters(), strict=True))


def test_tokenizers_are_loaded_from_nemo_files(tmp_path: Path):
    from cosmos_lidar.files import write_nemo
    from cosmos_lidar.models.tokenizer import build_tokenizer, load_tokenizer
    from cosmos_lidar.models.tokenizer.pretrained import from_pretrained

    weights = build_tokenizer("CI8x8", channels=32, num_res_blocks=1).state_dict()
    write_nemo(tmp_path / "x.nemo", "run: {}\n", weights)
    for load in (load_tokenizer, from_pretrained):
        loaded = load(str(tmp_path / "x.nemo")).state_dict()
        assert loaded.keys() == weights.keys()
        assert all(torch.equal(loaded[key], weights[key]) for key in weights)
