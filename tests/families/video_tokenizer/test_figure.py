import numpy as np

from cosmos_lidar.families.video_tokenizer.figure import beside


def test_input_reconstruction_and_four_times_the_difference():
    frame, decoded = np.full((40, 56, 3), 100, np.uint8), np.full((40, 56, 3), 90, np.uint8)
    decoded[-1, -1] = 0
    image = beside(frame, decoded)
    assert image.shape == (40, 3 * 56, 3)
    assert (image[-2, [20, 56 + 20, 2 * 56 + 20]] == [[100], [90], [40]]).all()  # below the captions
    assert (image[-1, -1] == 255).all()
