"""What becomes of an option that is changed on resume: all of them, of every family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.recipes import dit, lidar_tokenizer, lidargen, video_tokenizer
from cosmos_lidar.training.config import EFFECTIVE, FIXED, NEW_DATA, QUIET, START
from cosmos_lidar.training.overrides import apply_overrides, describe, save_config, set_option
from cosmos_lidar.training.resume_options import (
    as_done,
    find_changes,
    refuse_changes,
    restarts_data,
    worth_telling,
)

RECIPES = {module.FAMILY.name: module.FAMILY for module in (dit, lidar_tokenizer, lidargen, video_tokenizer)}


def another(value: Any) -> Any:
    """Return a value of the same type that differs."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [*value, *value[:1]]
    return 1 if value is None else value + 1


def kinds(family: str, folder: Path) -> dict[str, str]:
    """Return what a change of every option does, found by changing every one."""
    run = next(iter(RECIPES[family].recipes.values()))()
    save_config(run, folder / "config.yaml")
    changed = replace(run)
    for key, value, _ in list(describe(run)):
        try:
            set_option(changed, key, another(value))
        except UserError:  # a choice
            continue
    return {change.key: change.kind for change in find_changes(changed, folder / "config.yaml")}


@pytest.mark.parametrize("family", RECIPES)
def test_every_option_of_every_family(family: str, tmp_path: Path) -> None:
    found = kinds(family, tmp_path)
    sections: dict[str, set[str]] = {}
    for key, kind in found.items():
        sections.setdefault(key.partition(".")[0], set()).add(kind)
    for name in ("optim", "parallel", "kernels", "guard"):
        assert sections.get(name, {EFFECTIVE}) == {EFFECTIVE}
    assert sections["log"] == {QUIET}
    trainer = {key: kind for key, kind in found.items() if key.startswith("trainer.") and kind != QUIET}
    assert trainer.pop("trainer.seed") == NEW_DATA
    assert trainer.pop("trainer.checkpoint_trained_only") == FIXED
    assert set(trainer.values()) == {EFFECTIVE}
    assert "trainer.accumulate" in trainer
    data = {key for key, kind in found.items() if key.startswith("data.") and kind != NEW_DATA}
    assert data <= {"data.val_split", "data.val_batch_size", "data.workers", "data.bad_sample_budget",
                    "data.tokenizers.cache", "data.trust_sample_loaders"}  # fmt: skip
    assert {found[key] for key in data} == {EFFECTIVE}
    assert {key for key, kind in found.items() if kind == START} <= {"model.checkpoint", "model.jit_ckpt_pth"}
    effective = [key for key, kind in found.items() if key.startswith("model.") and kind == EFFECTIVE]
    assert all(key.startswith(("model.ema.", "model.loss.", "model.noise.")) for key in effective)
    assert {kind for key, kind in found.items() if "." not in key and key != "recipe"} == {FIXED}


def test_options_of_the_file_are_compared_as_values(tmp_path: Path) -> None:
    run = apply_overrides(dit.debug(), ["optim.lr=1e-5", "optim.betas=[0.9,0.99]", f"data.path={tmp_path}"])
    save_config(run, tmp_path / "config.yaml")
    assert find_changes(run, tmp_path / "config.yaml") == []
    text = (tmp_path / "config.yaml").read_text()
    (tmp_path / "older.yaml").write_text(text.replace("  eps:", "  gone_since_then:").replace("seed: ", "sown: "))
    assert find_changes(replace(run), tmp_path / "older.yaml") == []
    moved = apply_overrides(run, [f"data.path={tmp_path}/x/.."])
    assert find_changes(moved, tmp_path / "config.yaml") == []
    changed = apply_overrides(run, ["optim.lr=0.002", "optim.clip_norm=0", "log.name=x"])
    found = find_changes(changed, tmp_path / "config.yaml")
    assert [str(change) for change in worth_telling(found)] == [
        "optim.lr: 1e-05 -> 0.002", f"optim.clip_norm: {run.optim.clip_norm} -> 0.0",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["model.n_views=5"], r"model.n_views: \d -> 5: cannot change after the start of a run.*iter_5.*resume=none"),
        (["model.lora.rank=4", "synthetic_clips=5"], r"model.lora.rank: 0 -> 4, synthetic_clips: \d+ -> 5: cannot"),
        (["model.checkpoint=a.pt"], r"model.checkpoint: \"\" -> a.pt: has no effect on resume.*iter_5"),
        (["data.batch_size=7"], r"data.batch_size: \d+ -> 7: the place in the data.*trainer.restart_data=true"),
        (["trainer.seed=5", "data.shuffle=3"], r"data.shuffle: \d+ -> 3, trainer.seed: \d+ -> 5: the place"),
    ],
)
def test_what_cannot_take_effect_is_refused_by_name(options: list[str], message: str, tmp_path: Path) -> None:
    run = dit.debug()
    save_config(run, tmp_path / "config.yaml")
    changed = apply_overrides(run, options)
    with pytest.raises(UserError, match=message):
        refuse_changes(changed, find_changes(changed, tmp_path / "config.yaml"), Path("iter_5"))


def test_a_new_shuffle_has_to_be_asked_for(tmp_path: Path) -> None:
    run = dit.debug()
    save_config(run, tmp_path / "config.yaml")
    changed = apply_overrides(run, ["data.batch_size=7", "trainer.restart_data=true"])
    changes = find_changes(changed, tmp_path / "config.yaml")
    refuse_changes(changed, changes, Path())
    assert restarts_data(changes)
    asked = apply_overrides(run, ["trainer.restart_data=true", "data.workers=1"])  # nothing of it needs one
    assert not restarts_data(find_changes(asked, tmp_path / "config.yaml"))


def test_the_weights_that_a_run_started_from_stay_in_its_record(tmp_path: Path) -> None:
    run = apply_overrides(dit.debug(), ["model.checkpoint=start.pt"])
    save_config(run, tmp_path / "config.yaml")
    gone = apply_overrides(run, ["model.checkpoint="])  # the file is not there any more
    changes = find_changes(gone, tmp_path / "config.yaml")
    refuse_changes(gone, changes, Path())
    assert as_done(gone, changes).model.checkpoint == "start.pt"
    # with checkpoints of trained parameters alone the frozen ones are read again, from wherever they are now
    elsewhere = apply_overrides(run, ["model.checkpoint=moved.pt", "trainer.checkpoint_trained_only=true"])
    only = [change for change in find_changes(elsewhere, tmp_path / "config.yaml") if change.kind == START]
    refuse_changes(elsewhere, only, Path())
    assert as_done(elsewhere, only).model.checkpoint == "moved.pt"
