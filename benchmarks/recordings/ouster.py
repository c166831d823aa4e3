"""An Ouster capture of a sensor of 128 x 1024, profile RNG15_RFL8_NIR8, packets of 16 columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recordings.street import Street, write_bytes
from tests.clips.readers.ouster.recordings import PORT, START_NS, datagram, metadata, pcap

PROFILE, PER_PACKET = "RNG15_RFL8_NIR8", 16
STEP_M = 0.008  # of ranges in this profile


def write(root: Path, street: Street) -> Path:
    """Write a pcap with its metadata; every beam looks along the middle of its columns."""
    sensor = street.sensor("pandar128")
    rows, columns = sensor.rows, round(1024 * street.share)
    text = metadata(
        PROFILE, beam_altitude_angles=np.degrees(sensor.row_elevations_rad).tolist(), beam_azimuth_angles=[0.0] * rows,
        columns_per_frame=columns, columns_per_packet=PER_PACKET, pixels_per_column=rows,
        pixel_shift_by_row=[0] * rows, lidar_mode=f"{columns}x10",
    )  # fmt: skip
    packets = []
    for frame, sweep in enumerate(street.sweeps(sensor)):
        kept = np.linspace(0, sensor.columns, columns, endpoint=False).astype(int)
        packets += _packets(sweep.range_m[:, kept], sweep.intensity[:, kept], frame)
    ip = [piece for key, payload in enumerate(packets) for piece in datagram(payload, PORT, 1480, key)]
    write_bytes(root / "drives" / "street.json", text.encode())
    write_bytes(root / "drives" / "street.pcap", pcap(ip))
    return root / "drives"


def _packets(range_m: np.ndarray, intensity: np.ndarray, frame: int) -> list[bytes]:
    """Return the packets of a frame: a head of 32 bytes, columns, a foot of 32."""
    rows, columns = range_m.shape
    pixel = np.dtype([("range", "<u2"), ("reflectivity", "u1"), ("near_infrared", "u1")])
    column = np.dtype([("time_ns", "<u8"), ("number", "<u2"), ("status", "<u2"), ("pixels", pixel, rows)])
    values = np.zeros(columns, column)
    values["time_ns"] = START_NS + (frame * columns + np.arange(columns)) * (100_000_000 // columns)
    values["number"], values["status"] = np.arange(columns), 1
    values["pixels"]["range"] = np.rint(range_m.T / STEP_M).astype(int) & 0x7FFF
    values["pixels"]["reflectivity"] = np.rint(intensity.T * 255)
    head = np.array([1, 700 + frame], "<u2").tobytes().ljust(32, b"\0")
    return [head + values[at : at + PER_PACKET].tobytes() + bytes(32) for at in range(0, columns, PER_PACKET)]
