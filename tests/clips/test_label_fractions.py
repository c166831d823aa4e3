"""Which sweeps keep their labels: published lists and rules."""

from __future__ import annotations

import pytest

from cosmos_lidar.clips.label_fractions import SweepName, labeled_sweeps, published_frames, published_ratios
from cosmos_lidar.clips.splits import published_split
from cosmos_lidar.errors import UserError


def test_published_lists_have_the_published_numbers_of_frames():
    """Of also.md: 9560, 4779, 1912, 188, 17 and 1 of the 19130 frames of the training sequences."""
    counts = {ratio: published_frames("semantickitti", ratio) for ratio in published_ratios("semantickitti")}
    assert {ratio: sum(map(len, found.values())) for ratio, found in counts.items()} == {
        2: 9560, 4: 4779, 10: 1912, 100: 188, 1000: 17, 10000: 1,
    }  # fmt: skip
    assert {13, 1564, 1643, 2989} == counts[1000]["00"]
    assert set(counts[2]) == set(published_split("semantickitti", "train"))


def test_frames_of_semantickitti_go_by_the_names_of_their_files():
    sweeps = [SweepName("00", f"{1563 + place:06d}", place) for place in range(3)]
    assert labeled_sweeps("semantickitti", sweeps, 1000) == [False, True, False]
    with pytest.raises(UserError, match="skip ratio 3 of semantickitti; valid: 1, 2, 4, 10, 100, 1000, 10000"):
        labeled_sweeps("semantickitti", sweeps, 3)
    with pytest.raises(UserError, match="none of the 2 sweeps"):
        labeled_sweeps("semantickitti", sweeps[::2], 1000)


def test_every_scene_of_nuscenes_and_every_sweep_of_others():
    names = published_split("nuscenes", "parametrizing")
    sweeps = [SweepName(name, str(number), number) for name in names for number in range(2)]
    for ratio, count in ((1, 600), (2, 300), (10, 60), (100, 6), (1000, 1)):
        kept = labeled_sweeps("nuscenes", sweeps, ratio)
        scenes = {sweep.clip_id for sweep, keep in zip(sweeps, kept, strict=True) if keep}
        assert (len(scenes), sum(kept)) == (count, 2 * count)
        assert ratio != 2 or names[1] in scenes and names[0] not in scenes
    assert scenes == {"scene-0392"}
    clips = [SweepName(name, "", number) for name in "ab" for number in range(3)]
    assert labeled_sweeps("semanticposs", clips, 2) == [True, False, True] * 2
    with pytest.raises(UserError, match="expected at least 1"):
        labeled_sweeps("semanticposs", clips, 0)
