import json
from pathlib import Path

import pytest

from cosmos_lidar.cli import main
from tests.commands.conftest import with_a_damaged_clip


def test_evaluate_writes_table_and_json(release: Path, jit_pair: list[str], tmp_path: Path, capsys):
    output = tmp_path / "deep" / "results.json"
    assert main(["evaluate", "--data", str(release), *jit_pair, "--max_frames", "2", "--output", str(output)]) == 0
    text, document = capsys.readouterr().out, json.loads(output.read_text())
    assert set(document["clips"]) == {"a1", "b2"}
    pooled = document["pooled"]
    assert f"{pooled['published']['rmse_m']:.4f}" in text
    assert document["protocol"]["hash"] in text
    assert pooled["frames"] == 4
    assert pooled["published"]["pixels"] == sum(clip["published"]["pixels"] for clip in document["clips"].values())
    assert pooled["chamfer"]["mean_m"] > 0
    interval = document["intervals_95_percent"]["rmse_m"]
    assert interval["low"] <= pooled["published"]["rmse_m"] <= interval["high"]
    assert len(document["tokenizer"]["weights_sha256"]) == 64


def test_protocol_hash_changes_with_what_the_numbers_depend_on(release: Path, tmp_path: Path):
    def protocol_hash(*options: str) -> str:
        command = ["evaluate", "--data", str(release), "--baseline", "resize", "--chamfer", "0", "--max_clips", "1"]
        assert main([*command, *options, "--output", str(tmp_path / "results.json")]) == 0
        return json.loads((tmp_path / "results.json").read_text())["protocol"]["hash"]

    plain = protocol_hash()
    assert protocol_hash("--min_range", "5", "--batch_size", "2") == plain
    changed = [["--mask", "decoded"], ["--max_range", "80"], ["--padding", "published"], ["--max_frames", "2"]]
    assert len({plain, *(protocol_hash(*options) for options in changed)}) == 5


def test_evaluate_agrees_with_autoencode(release: Path, jit_pair: list[str], tmp_path: Path):
    common = ["--data", str(release), *jit_pair, "--clip", "b2", "--max_frames", "2"]
    assert main(["autoencode", *common, "--output_root", str(tmp_path), "--vis_pcd", "0"]) == 0
    assert main(["evaluate", *common, "--output", str(tmp_path / "results.json")]) == 0
    one = json.loads((tmp_path / "metrics" / "b2.json").read_text())
    many = json.loads((tmp_path / "results.json").read_text())
    assert one["metrics"]["published"] == many["clips"]["b2"]["published"] == many["pooled"]["published"]
    assert one["protocol"] == many["protocol"]


def test_any_file_of_the_same_weights_gives_the_same_numbers(
    release: Path, jit_pair: list[str], tokenizer_folder: Path, tmp_path: Path
):
    results, output = [], tmp_path / "r.json"
    for options in (jit_pair, ["--checkpoint", str(tokenizer_folder / "small_ema.jit")]):
        assert main(["evaluate", "--data", str(release), *options, "--max_clips", "1", "--output", str(output)]) == 0
        results.append(json.loads(output.read_text()))
    assert results[0]["pooled"]["published"] == results[1]["pooled"]["published"]
    assert results[0]["tokenizer"]["weights_sha256"] == results[1]["tokenizer"]["weights_sha256"]


def test_baselines_and_split(release: Path, tmp_path: Path):
    split = tmp_path / "val.lst"
    split.write_text("a1.tar\n\n")
    results = {}
    for baseline in ("identity", "resize"):
        output = tmp_path / f"{baseline}.json"
        command = ["evaluate", "--data", str(release), "--baseline", baseline, "--split", str(split), "--chamfer", "0"]
        assert main([*command, "--output", str(output)]) == 0
        results[baseline] = json.loads(output.read_text())
    assert list(results["identity"]["clips"]) == ["a1"]
    assert results["identity"]["pooled"]["published"]["rmse_m"] < 1e-4
    assert results["resize"]["pooled"]["published"]["rmse_m"] > 1
    assert results["resize"]["pooled"]["chamfer"] is None


def test_prepared_shards_give_the_numbers_of_the_clips(release: Path, tmp_path: Path, capsys):
    shards = tmp_path / "shards"
    assert main(["prepare", str(release), str(shards), "--split", "0.5,0.5,0"]) == 0
    common = ["evaluate", "--baseline", "resize", "--output"]
    assert main([*common, str(tmp_path / "clips.json"), "--data", str(release)]) == 0
    assert main([*common, str(tmp_path / "shards.json"), "--data", str(shards)]) == 0
    assert main([*common, str(tmp_path / "val.json"), "--data", str(shards), "--split", "val"]) == 0
    clips, both, val = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("clips", "shards", "val"))
    assert set(both["clips"]) == {"a1", "b2"}
    assert len(val["clips"]) == 1
    assert both["protocol"]["hash"] == clips["protocol"]["hash"]
    for clip_id, metrics in both["clips"].items():
        assert metrics["published"]["pixels"] == clips["clips"][clip_id]["published"]["pixels"]
        assert metrics["published"]["rmse_m"] == pytest.approx(clips["clips"][clip_id]["published"]["rmse_m"], rel=1e-3)
    capsys.readouterr()
    assert main([*common, str(tmp_path / "x.json"), "--data", str(shards), "--split", "holiday"]) == 2
    assert "no split 'holiday'" in capsys.readouterr().err


def test_an_odd_clip_is_counted_and_is_in_no_number(release: Path, jit_pair: list[str], tmp_path: Path, capsys):
    drives, output = with_a_damaged_clip(release, tmp_path / "drives"), tmp_path / "results.json"
    command = ["evaluate", *jit_pair, "--max_frames", "1", "--chamfer", "0", "--output", str(output)]
    assert main([*command, "--data", str(drives)]) == 1
    assert "1 of 2 clips; 1 skipped: a1" in capsys.readouterr().out
    found = json.loads(output.read_text())
    assert list(found["skipped"]) == ["a1"]
    assert main([*command, "--data", str(release), "--clip", "b2"]) == 0
    whole = json.loads(output.read_text())
    for part in (lambda document: document["clips"]["b2"], lambda document: document["pooled"]):
        assert part(found)["published"] == part(whole)["published"]
        assert part(found)["frames"] == part(whole)["frames"] == 1
    assert "skipped" not in whole
    assert main([*command, "--data", str(drives), "--clip", "a1"]) == 2
