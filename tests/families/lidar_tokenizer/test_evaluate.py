from dataclasses import replace

import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.families.lidar_tokenizer.autoencode import AutoencodeOptions, autoencode_clip
from cosmos_lidar.families.lidar_tokenizer.evaluate import Identity, Resize, build_baseline, evaluate_clips
from cosmos_lidar.metrics.lidar import RangeErrors
from cosmos_lidar.sensors import uniform_sensor
from cosmos_lidar.sensors.sensor import RangeMapFormat


def test_evaluation_pools_pixels_not_clips(small_sensor, make_clip):
    sensor = replace(small_sensor, format=RangeMapFormat(max_range_m=60.0))
    clips = [make_clip(sensor, 1, "a"), make_clip(sensor, 4, "b")]
    evaluation = evaluate_clips(Resize(), clips, AutoencodeOptions(format=sensor.format), chamfer=True)
    direct = RangeErrors(AutoencodeOptions(format=sensor.format).range_protocol())
    for clip in clips:
        for frame in autoencode_clip(Resize(), clip, AutoencodeOptions(format=sensor.format)):
            direct.add(frame.reference_m, frame.decoded_m)
    np.testing.assert_allclose(evaluation.pooled.errors.state(), direct.state(), rtol=1e-12)
    assert set(evaluation.clips) == {"a", "b"}
    assert set(evaluation.intervals) == {"rmse_m", "mae_m", "relative"}
    assert evaluation.pooled.frames == evaluation.pooled.to_dict()["chamfer"]["frames"] == 5


def test_identity_reproduces_everything(small_sensor, make_clip):
    clips = [make_clip(small_sensor, 2)]
    document = evaluate_clips(Identity(), clips, AutoencodeOptions(format=small_sensor.format)).to_dict()["pooled"]
    assert document["published"]["rmse_m"] < 1e-5
    assert document["chamfer"]["mean_m"] < 1e-5
    assert (document["ray_drop"]["precision"], document["ray_drop"]["recall"]) == (1.0, 1.0)


def test_mean_baseline_is_the_mean_of_the_images(small_sensor, make_clip):
    options = AutoencodeOptions(format=small_sensor.format, batch_size=2)
    clip = make_clip(small_sensor, 3)
    network = build_baseline("mean", [clip], options)
    frames = list(autoencode_clip(network, clip, options))
    mean = np.mean([np.clip(frame.reference_m, 5, 100) for frame in frames], axis=0)
    for frame in frames:
        np.testing.assert_allclose(frame.decoded_m, mean, atol=1e-4)


def test_different_sensors_are_not_pooled(small_sensor, make_clip):
    clips = [make_clip(small_sensor, 1, "a"), make_clip(uniform_sensor(8, 64, name="other"), 1, "b")]
    with pytest.raises(UserError, match="clip a is of sensor small, clip b of other"):
        evaluate_clips(Identity(), clips, AutoencodeOptions())
    with pytest.raises(UserError, match="no clips to evaluate"):
        evaluate_clips(Identity(), [], AutoencodeOptions())
