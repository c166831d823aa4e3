"""A family that is one file outside of the repository's packages: every program takes it, without an edit elsewhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("nemo")

from cosmos_lidar.cli import main
from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes.registry import FOLDERS, family_names, find_family, load_run
from cosmos_lidar.training.run_log import read_metrics
from tests.workers.client import python

EXAMPLE = Path(__file__).parent / "example_family" / "line.py"
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """The file of the family in a folder of its own."""
    (tmp_path / "mine").mkdir()
    return Path(shutil.copy(EXAMPLE, tmp_path / "mine" / "line.py"))


def losses(folder: Path) -> list[float]:
    return [float(row["loss"]) for row in read_metrics(folder / "metrics.csv") if row["loss"]]


def test_a_recipe_file_anywhere_trains_and_resumes(recipe: Path, tmp_path: Path) -> None:
    options = ["recipe=debug", "data.micro_batch_size=8", f"log.root={tmp_path}", "log.tensorboard=false"]
    done = python(recipe, *options, "trainer.max_steps=20", env={"PYTHONPATH": str(ROOT)}, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert main(["train", str(recipe), *options, "+trainer.max_steps=60"]) == 0
    folder = tmp_path / "posttraining" / "line" / "debug"  # group and name: family and recipe
    found = losses(folder)
    assert len(found) == 60
    assert found[-1] < 1e-2 * found[0]


def test_it_is_found_by_name_in_a_folder_of_recipes(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDERS, str(recipe.parent))
    assert "line" in family_names()
    assert main(["train", "line", "--dryrun", "global_batch_size=16", "data.slope=2"]) == 0
    shown = capsys.readouterr().out
    assert "slope: 2.0" in shown
    assert "global_batch_size: 16" in shown
    assert main(["doctor", "line", "micro_batch_size=2", f"log.root={tmp_path}"]) == 0
    assert "parameters" in capsys.readouterr().out
    assert main(["doctor", "line", "model.kind=curved"]) == 2
    assert "model.kind=curved: valid: line, curve (did you mean curve?)" in capsys.readouterr().err
    result = find_family("line").train(find_family("line").choose([f"log.root={tmp_path}", "trainer.max_steps=20"])[0])
    assert (result.step, result.signal, result.exit_status) == (20, 0, 0)
    family, run = load_run(result.folder)
    assert (family.name, run.trainer.max_steps, run.log.group) == ("line", 20, "line")
    assert main(["replay", str(result.folder), "--step", "20"]) == 0
    last = result.folder / "checkpoints" / "iter_000000020"
    assert main(["export", str(last), "--out", str(tmp_path / "out")]) == 0
    assert float((tmp_path / "out" / "line_20.txt").read_text())


def test_what_is_no_recipe_file(tmp_path: Path) -> None:
    (tmp_path / "empty.py").write_text("")
    for name, said in ((tmp_path / "empty.py", "expected a recipe file"), (tmp_path / "none.py", "no such recipe")):
        with pytest.raises(UserError, match=said):
            find_family(str(name))
    with pytest.raises(UserError, match="unknown recipe 'nobody'; valid: also_pretrain, also_semseg, dit, lidar_tok"):
        find_family("nobody")
