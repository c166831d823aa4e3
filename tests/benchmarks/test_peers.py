"""The comparison with peers runs, and names what is not installed; how fast this machine is does not matter."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.workers.client import python

PROGRAM = Path(__file__).parents[2] / "benchmarks" / "peers.py"


def compare(*pairs: str) -> dict:
    done = python(PROGRAM, "--small", "--rounds", "1", "--json", "--pairs", *pairs)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout[done.stdout.index("{") :])


def test_pairs_take_turns():
    result = compare("range_map", "shard", "checkpoint")
    assert [one["name"] for one in result["rows"]] == ["range_map", "shard", "checkpoint"]
    for one in result["rows"]:
        assert one["lowest"] == one["ratio"] == one["highest"] == pytest.approx(one["theirs_s"] / one["ours_s"])
    shard, checkpoint = result["rows"][1:]
    assert shard["share"] == pytest.approx(4 * 16 * 360 * 4 / shard["ours_s"] / result["limits"]["copy"])
    assert (checkpoint["limit"], result["left_out"]) == ("disk", [])


def test_absent_peers_are_named():
    peers = {"sparse_convolution": "spconv", "kitti_scan": "pykitti", "nuscenes_sweep": "nuscenes"}
    absent = [f"{name}: {package} is not installed" for name, package in peers.items() if find_spec(package) is None]
    if not absent:
        pytest.skip("all peers are installed")
    assert compare(*peers)["left_out"] == absent


@pytest.mark.nightly
def test_networks_have_as_many_parameters_as_those_of_diffusers():
    pytest.importorskip("diffusers")
    rows = compare("video_tokenizer", "wan_vae")["rows"]
    assert [one["limit"] for one in rows] == ["matrix products"] * 2
    assert all(one["share"] > 0 for one in rows)
