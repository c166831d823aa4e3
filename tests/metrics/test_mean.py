import math
import pickle

import pytest
import torch

from cosmos_lidar.metrics.mean import MeanOfImages
from cosmos_lidar.metrics.pairs import ImagePair


def difference(made, recorded):
    return (made - recorded).mean((1, 2, 3))


def pair(values, frames=1):
    made = torch.tensor(values, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 2, 2)
    return ImagePair(torch.zeros_like(made), made, frames)


def test_the_mean_weighs_samples_not_batches():
    mean = MeanOfImages(value=difference)
    mean.add(pair([1.0, 2.0, 3.0]))
    mean.add(pair([10.0]))
    assert mean.result() == {"value": 4.0}


def test_frames_of_a_clip_count_as_one_sample():
    mean = MeanOfImages(value=difference)
    mean.add(pair([1.0, 3.0, 5.0, 7.0], frames=2))
    assert (mean.result(), mean.samples) == ({"value": 4.0}, 2)
    mean.add(pair([10.0]))
    assert mean.result()["value"] == pytest.approx(6.0)


def test_what_another_rank_sends_is_merged():
    first, other = MeanOfImages(value=difference), MeanOfImages(value=difference)
    first.add(pair([1.0]))
    other.add(pair([2.0, 6.0]))
    first.merge(pickle.loads(pickle.dumps(other)))
    assert first.result() == {"value": 3.0}
    assert math.isnan(MeanOfImages(value=difference).result()["value"])
