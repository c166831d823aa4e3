from __future__ import annotations

import numpy as np
import pytest

from cosmos_lidar.clips.readers.ouster.metadata import parse_metadata
from cosmos_lidar.clips.readers.ouster.profiles import PacketFormat
from cosmos_lidar.errors import DataError
from tests.clips.readers.ouster.recordings import LAYOUTS, START_NS, fields, metadata, packets, times_ns


@pytest.mark.parametrize("profile", LAYOUTS)
def test_packets_are_decoded(profile):
    layout, made = PacketFormat(parse_metadata(metadata(profile))), packets(profile, 1, 65_000)
    assert {len(packet) for packet in made} == {layout.size}
    assert layout.frame_number(made[0]) == 65_000
    assert layout.times_ns(made[0]) == (times_ns(1)[0], times_ns(1)[15])
    frame = layout.decode(np.array([list(packet) for packet in reversed(made)], np.uint8))
    assert np.array_equal(frame.times_ns, times_ns(1))
    assert {name: image.tolist() for name, image in frame.fields.items()} == {
        name: image.tolist() for name, image in fields(profile, 1).items()
    }


def test_packets_may_come_some_at_a_time():
    layout = PacketFormat(parse_metadata(metadata("LEGACY")))
    made = np.array([list(packet) for packet in packets("LEGACY", 1, 5)], np.uint8)
    whole, parts = layout.decode(made), layout.decode(made[first : first + 3] for first in range(0, len(made), 3))
    assert np.array_equal(whole.times_ns, parts.times_ns)
    assert all(np.array_equal(whole.fields[name], parts.fields[name]) for name in whole.fields)


def test_the_size_of_the_published_packets():
    text = metadata(beam_altitude_angles=list(range(128, 0, -1)), beam_azimuth_angles=[0.0] * 128,
                    pixels_per_column=128, pixel_shift_by_row=[0] * 128)  # fmt: skip
    assert PacketFormat(parse_metadata(text)).size == 8448


@pytest.mark.parametrize("profile", ["RNG15_RFL8_NIR8", "LEGACY"])
def test_columns_that_are_not_valid_or_of_no_such_number_are_left_out(profile):
    layout = PacketFormat(parse_metadata(metadata(profile)))
    (packet, *_) = packets(profile, 0, 5)
    data = np.array([list(packet)], np.uint8)
    second = layout.head + layout.column_size
    data[0, layout.head + 8 : layout.head + 10] = 255  # measured column 65535
    if profile == "LEGACY":
        data[0, second + layout.column_size - 4] = 0
    else:
        data[0, second + 10] = 0
    frame = layout.decode(data)
    assert frame.times_ns[:3].tolist() == [0, 0, times_ns(0)[2]]
    assert not frame.fields["RANGE"][:, :2].any()
    assert frame.fields["RANGE"][:, 2].any()
    assert frame.times_ns[2] >= START_NS


def test_an_unknown_profile_is_refused():
    with pytest.raises(DataError, match=r"profile 'RNG99' .*key udp_profile_lidar.*LEGACY"):
        PacketFormat(parse_metadata(metadata(udp_profile_lidar="RNG99")))
