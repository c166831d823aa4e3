from __future__ import annotations

import pickle
import random

import numpy as np
import pytest

from cosmos_lidar.clips.readers.ouster.pcap import index_pcap
from cosmos_lidar.errors import DataError
from tests.clips.readers.ouster.recordings import (
    COLUMN_NS,
    COLUMNS,
    FRAMES,
    PORT,
    datagram,
    fields,
    metadata,
    packets,
    pcap,
    times_ns,
    write_pcap,
)  # fmt: skip

PROFILE = "RNG15_RFL8_NIR8"


@pytest.mark.parametrize(
    "options",
    [{}, {"vlan": True}, {"link": 101}, {"link": 113}, {"magic": ">"}],
    ids=["ethernet", "vlan", "ip", "cooked", "big"],
)
def test_captures_of_every_link(options, tmp_path):
    frames = pickle.loads(pickle.dumps(index_pcap(write_pcap(tmp_path / "a.pcap", **options), metadata())))
    assert [span.number for span in frames.spans] == [700, 701, 702]
    for index in range(FRAMES):
        assert np.array_equal(frames(index).fields["RANGE"], fields(PROFILE, index)["RANGE"])
    span = frames.spans[1]
    assert (span.start_ns, span.end_ns) == (times_ns(1)[0], times_ns(1)[-1] + COLUMN_NS)
    assert span.columns == COLUMNS


def test_frame_numbers_start_again_at_0(tmp_path):
    frames = index_pcap(write_pcap(tmp_path / "a.pcap", first=65_534), metadata())
    assert [span.number for span in frames.spans] == [65_534, 65_535, 0]
    assert np.array_equal(frames(2).fields["RANGE"], fields(PROFILE, 2)["RANGE"])


def test_packets_and_fragments_in_any_order(tmp_path):
    parts = [datagram(packet, PORT, 200, frame * 9 + number)
             for frame in range(2) for number, packet in enumerate(packets(PROFILE, frame, 5 + frame))]  # fmt: skip
    order = [piece for pieces in parts for piece in pieces]
    random.Random(0).shuffle(order)
    (tmp_path / "a.pcap").write_bytes(pcap(order))
    frames = index_pcap(tmp_path / "a.pcap", metadata())
    for index in range(2):
        assert np.array_equal(frames(index).fields["RANGE"], fields(PROFILE, index)["RANGE"])


def test_lost_packets_leave_columns_empty(tmp_path):
    made = packets(PROFILE, 0, 5)
    (tmp_path / "a.pcap").write_bytes(pcap([piece for one in made[:2] + made[3:] for piece in datagram(one)]))
    frames = index_pcap(tmp_path / "a.pcap", metadata())
    frame = frames(0)
    assert frames.spans[0].columns == COLUMNS - 16
    assert not frame.fields["RANGE"][:, 32:48].any()
    assert not frame.times_ns[32:48].any()
    assert frame.fields["RANGE"][:, 48:].any()


def test_packets_that_were_cut_are_counted(tmp_path):
    frames = index_pcap(write_pcap(tmp_path / "a.pcap", cut=0), metadata())
    assert frames.packets_cut == 1
    assert frames.spans[0].columns == COLUMNS - 16


def test_the_port_of_the_sensor_chooses_among_several(tmp_path):
    made = [(packet, port) for port in (PORT, 9000) for packet in packets(PROFILE, port == 9000, 5)]
    (tmp_path / "a.pcap").write_bytes(pcap([piece for packet, port in made for piece in datagram(packet, port)]))
    frames = index_pcap(tmp_path / "a.pcap", metadata())
    assert np.array_equal(frames(0).fields["RANGE"], fields(PROFILE, 0)["RANGE"])
    with pytest.raises(DataError, match=r"packets at ports 7502, 9000, the sensor's is 1 .*key udp_port_lidar"):
        index_pcap(tmp_path / "a.pcap", metadata(udp_port_lidar=1))


def test_truncated_files_are_refused(tmp_path):
    path = write_pcap(tmp_path / "a.pcap")
    content = path.read_bytes()
    for length in (0, 3, 20, 24, 30, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=r"a\.pcap"):
            index_pcap(path, metadata())


def test_a_file_that_shrank_is_refused(tmp_path):
    frames = index_pcap(write_pcap(tmp_path / "a.pcap"), metadata())
    (tmp_path / "a.pcap").write_bytes(pcap([]))
    with pytest.raises(DataError, match="changed since"):
        frames(0)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\x0a\x0d\x0d\x0a" + bytes(30), "a pcapng file .*tshark"),
        (b"nothing" * 9, "key magic"),
        (pcap([], link=147), "link type 147"),
        (pcap([]), "UDP packets: none"),
        (pcap(datagram(bytes(100))), "UDP packets: 1 of 100 bytes .*packets of"),
        (pcap([b"\x45" + bytes(5)]), "UDP packets: none"),
        (pcap([bytes(60)]), "UDP packets: none"),
        (pcap([b"\x41" + bytes(60)]), "UDP packets: none"),
        (pcap([])[:-24] + pcap([]) + b"\0" * 8 + b"\xff" * 8, "a record of 4294967295 bytes"),
    ],
)
def test_other_files_are_refused(content, problem, tmp_path):
    (tmp_path / "a.pcap").write_bytes(content)
    with pytest.raises(DataError, match=problem):
        index_pcap(tmp_path / "a.pcap", metadata())
