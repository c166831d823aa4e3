"""The refactoring gate: two revisions that compute the same are equal, one changed number is a difference."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "benchmarks"))

from revisions import observed, probes  # noqa: E402
from same_numbers import compare  # noqa: E402


def git(*words: str, **environment: str) -> str:
    program = ["git", "-C", str(ROOT), *words]
    done = subprocess.run(program, capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def revision_with(path: str, old: str, new: str, folder: Path) -> str:
    """Return a revision like HEAD but for one text in one file; neither branch nor working tree is touched."""
    text = git("show", f"HEAD:{path}")
    assert text.count(old) == 1
    changed = folder / "changed"
    changed.write_text(text.replace(old, new) + "\n")
    index = {"GIT_INDEX_FILE": str(folder / "index")}
    git("read-tree", "HEAD", **index)
    git("update-index", "--cacheinfo", f"100644,{git('hash-object', '-w', str(changed))},{path}", **index)
    names = {f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return git("commit-tree", git("write-tree", **index), "-p", "HEAD", "-m", "changed", **names)


def test_a_changed_default_is_found_and_all_else_is_equal(tmp_path: Path):
    changed = revision_with("recipes/dit.py", "lr=2e-3", "lr=3e-3", tmp_path)
    program = [sys.executable, str(ROOT / "benchmarks" / "same_numbers.py"), "HEAD", changed]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    options = ["--only", "configs", "--families", "dit,lidargen"]
    done = subprocess.run([*program, *options], capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 1, done.stderr
    rows = dict(re.findall(r"\| configs \| (\w+) \| (\w+) \|", done.stdout))
    assert rows == {"dit": "DIFFERENT", "lidargen": "equal"}
    assert "debug optim.lr: 0.002 -> 0.003" in done.stdout
    assert str(tmp_path) not in git("worktree", "list")


def test_unknown_revisions_and_parts_are_refused():
    program = [sys.executable, str(ROOT / "benchmarks" / "same_numbers.py")]
    unknown = subprocess.run([*program, "HEAD", "nothing", "--only", "configs"], capture_output=True, text=True)
    assert unknown.returncode != 0
    assert "nothing" in unknown.stderr
    part = subprocess.run([*program, "HEAD", "HEAD", "--only", "loss"], capture_output=True, text=True)
    assert part.returncode == 2
    assert "valid: configs, synth, losses" in part.stderr


def test_what_counts_as_different():
    row = compare("losses", "dit", {"step 1 loss": "0.25", "step 2 loss": "0.5"}, {"step 1 loss": "0.25"})
    assert (row.result, row.notes) == ("DIFFERENT", ["step 2 loss: 0.5 -> absent"])
    row = compare("losses", "dit", {"loss": "0.25"}, {"loss": "0.25", "accuracy": "1"})
    assert (row.result, row.notes) == ("equal", ["new accuracy: 1"])
    assert compare("losses", "dit", {"loss": "0.25"}, {"loss": "0.25000000000000006"}).result == "DIFFERENT"
    assert compare("losses", "dit", {}, {}).result == "FAILED"  # a command that wrote nothing is no proof
    assert compare("losses", "dit", {}, {"loss": "1"}).result == "new"


def test_times_do_not_count_but_contents_do(tmp_path: Path):
    (tmp_path / "a" / "x").mkdir(parents=True)
    (tmp_path / "a" / "x" / "report.json").write_text('{"total_seconds": 1.5, "mae_m": 0.5, "clips": [{"n": 1}]}')
    (tmp_path / "a" / "index.uuid").write_text("random")
    for moment in (1, 2):
        with tarfile.open(tmp_path / "a" / f"{moment}.tar", "w") as tar:
            (tmp_path / "note").write_text("same")
            os.utime(tmp_path / "note", (moment, moment))
            tar.add(tmp_path / "note", "note")
    seen = observed.files(tmp_path / "a")
    assert sorted(seen) == ["1.tar note", "2.tar note", "x/report.json clips.0.n", "x/report.json mae_m"]
    assert seen["1.tar note"] == seen["2.tar note"]
    (tmp_path / "metrics.csv").write_text("step,loss,data_s,val/loss\n1,0.5,3.25,\n1,,,0.75\n")
    assert observed.metrics(tmp_path / "metrics.csv") == {"step 1 loss": "0.5", "val 1 val/loss": "0.75"}


def test_probes_bring_what_they_need():
    every = probes.probes(["dit", "lidar_tokenizer", "lidargen", "video_tokenizer"])
    names = [probe.name for probe in every]
    assert len(set(names)) == len(names)
    for probe in every:
        assert all(names.index(need) < names.index(probe.name) for need in probe.needs), probe.name
    assert not [probe for probe in probes.probes(["dit"]) if "lidargen" in probe.name or "tokenizer" in probe.name]
    chosen = probes.with_needs(every, [probe for probe in every if probe.name == "generate-lidar heun"])
    assert {"3 drives with cameras", "latents", "lidargen on latents"} < {probe.name for probe in chosen}


@pytest.mark.parametrize("part", probes.PARTS)
def test_every_part_has_probes(part: str):
    families = ["dit", "lidar_tokenizer", "lidargen", "video_tokenizer"]
    from revisions.crossings import crossings

    found = crossings(families) if part == "resume" else [p for p in probes.probes(families) if p.part == part]
    assert found
