"""Camera to lidar with the embedded network: generated sweeps beside recorded ones, their rays on the images."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cosmos_lidar.clips import Clip
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.demo.recordings import Recordings
from cosmos_lidar.demo.section import DemoContext, LeftOutError, Section, embedded_model
from cosmos_lidar.errors import DataError
from cosmos_lidar.families.lidargen.figure import three_rows
from cosmos_lidar.families.lidargen.generate import (
    LidarGenerator,
    SamplingOptions,
    clip_frames,
    generate_frames,
    open_generator,
)
from cosmos_lidar.families.lidargen.inputs import Frame
from cosmos_lidar.families.lidargen.outputs import sweep_file
from cosmos_lidar.families.lidargen.views import lidar_image
from cosmos_lidar.files import atomic_write
from cosmos_lidar.metrics.generation import GenerationScores
from cosmos_lidar.models.plan import count_parameters
from cosmos_lidar.sensors import Sensor, load_sensor
from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame
from cosmos_lidar.viz.report import Report
from cosmos_lidar.weights import CONFIG, config_of

TITLE = "Camera to lidar"
SENSOR = "sensor.yaml"
MODEL, LIDAR, IMAGE = "small-lidargen", "small-lidar-tokenizer", "small-image-tokenizer"
_OPTIONS = SamplingOptions(steps=5, sampler="dpm++2m", schedule="flow", condition_sigma=0.01)
_SWEEPS = 3
_SHOWN = {"chamfer_mean_m": "Chamfer m", "jsd": "JSD from above", "ray_drop_f1": "F1 of returns"}


def make_section(recordings: Recordings, context: DemoContext) -> Section:
    """Generate sweeps from the images of a drive and compare them with the recorded ones.

    Raises:
        LeftOutError: no cameras, none that is calibrated, no lidar, or a model is not installed.
    """
    clip, cameras = _calibrated(recordings)
    weights, lidar, image = (embedded_model(name) for name in (MODEL, LIDAR, IMAGE))
    folder = context.out / "camera_to_lidar"
    sensor = _sensor(weights, folder / SENSOR)
    clip = seen_by(clip, sensor)
    generator = open_generator(
        weights, sensor, lidar_tokenizer=lidar, image_tokenizer=image, options=_OPTIONS, views=len(cameras)
    )
    every = max(len(clip) // _SWEEPS, 1)
    frames = clip_frames([clip], generator, cameras)[every // 2 :: every][:_SWEEPS]
    frames = generate_frames(frames, generator, folder)
    if not frames:
        raise LeftOutError("no sweep has an image of every camera near enough in time")
    numbers = _compare(clip, frames, generator, folder)
    layout, network = generator.denoiser.layout, generator.denoiser.network
    sentence = (
        f"The embedded network ({count_parameters(network) / 1e6:.1f} M parameters; the published one has 7,000 M) "
        f"generates sweeps of {sensor.rows} x {sensor.columns} rays from the images of {layout.views} cameras. Below: "
        "where the generated rays end in the images, range maps and points beside the recorded ones."
    )

    def draw(report: Report) -> None:
        caption = "Where the generated rays end in the images, colored by height; range maps; points from behind."
        report.image(_picture(frames[0], generator, folder), caption)
        clouds = [_clouds(frame, f"sweep {n}", generator, folder) for n, frame in enumerate(frames, start=1)]
        report.point_clouds(clouds, "Both panels share one camera.")
        rows = [(name, *(values.get(key) for key in _SHOWN)) for name, values in numbers.items()]
        report.table((f"{len(frames)} sweeps", *_SHOWN.values()), rows)

    return Section(TITLE, sentence, draw, _command(context.data, folder / SENSOR), numbers)


def seen_by(clip: Clip, sensor: Sensor) -> Clip:
    """Return a clip whose main lidar is another: the points of its sweeps in the pixels of that sensor."""
    lidar = clip.lidar
    if lidar.sensor.fingerprint() == sensor.fingerprint():
        return clip

    def read(index: int) -> Sweep:
        return Sweep(points=np.asarray(lidar.points(index), np.float32))

    return clip.with_lidar(sensor=sensor, read=read)


def _sensor(weights: Path, file: Path) -> Sensor:
    """Return the lidar whose range maps the network generates, and write its sensor file.

    Raises:
        DataError: the model does not have it.
    """
    text = config_of(weights).get("sensor")
    if not isinstance(text, str):
        raise DataError("no sensor", file=weights.with_name(CONFIG), key="sensor", wanted="the text of a sensor file")
    with atomic_write(file) as partial:
        partial.write_text(text, encoding="utf-8")
    return load_sensor(file)


def _calibrated(recordings: Recordings) -> tuple[Clip, list[str]]:
    """Return the drive, and its cameras with lens and place."""
    clip = recordings.scene
    if clip is None:
        raise LeftOutError("the recordings have no camera")
    if not len(clip):
        raise LeftOutError("the drive with the most cameras has no lidar, whose axes the cameras would be placed in")
    streams = [clip.cameras[name] for name in recordings.ring]
    cameras = [
        one.name
        for one in streams
        if one.model is not None and (one.lidar_SE3_camera is not None or one.world_SE3_camera is not None)
    ]
    if not cameras:
        raise LeftOutError("no camera is calibrated: lens and place on the car are needed")
    return clip, cameras


def _compare(clip: Clip, frames: list[Frame], generator: LidarGenerator, folder: Path) -> dict[str, dict[str, float]]:
    """Return the metrics of the generated sweeps, and of the recorded ones through the lidar tokenizer."""
    step = generator.lidar.network.config.spatial_compression
    numbers = {f"{clip.clip_id}_{name}".replace("/", "_"): number for number, name in enumerate(clip.frame_ids)}

    def autoencoded(frame: Frame) -> np.ndarray:
        return generator.restore(generator.lidar.encode(lidar_image(clip, numbers[frame.name], step)))

    methods: dict[str, Callable[[Frame], np.ndarray]] = {
        "generated from images": lambda frame: np.load(sweep_file(folder, frame))["range_m"],
        "recorded, through the tokenizer": autoencoded,
    }
    found = {}
    for name, make in methods.items():
        scores = GenerationScores()
        for frame in frames:
            recorded = _recorded(frame)
            made = make(frame)
            scores.add(frame.clip_id, recorded, made, generator.points(recorded), generator.points(made))
        found[name] = {measured.name: float(measured.value) for measured in scores.result()}
    return found


def _recorded(frame: Frame) -> np.ndarray:
    assert frame.recorded is not None  # frames of a clip
    return frame.recorded()


def _picture(frame: Frame, generator: LidarGenerator, folder: Path) -> np.ndarray:
    made, recorded = np.load(sweep_file(folder, frame)), _recorded(frame)
    return three_rows(
        frame.views(made["points"]), made["range_m"], made["points"], recorded, generator.points(recorded)
    )


def _clouds(frame: Frame, title: str, generator: LidarGenerator, folder: Path) -> CloudFrame:
    made = np.load(sweep_file(folder, frame))["points"]
    return CloudFrame(title, [Cloud("Recorded", generator.points(_recorded(frame))), Cloud("Generated", made)])


def _command(data: Path | None, sensor: Path) -> str:
    path, options = shlex.quote(str(data)) if data else "DATA", _OPTIONS
    return (
        f"cosmos-lidar generate-lidar --data {path} --sensor {shlex.quote(str(sensor))} \\\n"
        "    --checkpoint small --lidar-tokenizer small --image-tokenizer small \\\n"
        f"    --sampler {options.sampler} --steps {options.steps} --schedule {options.schedule} "
        f"--condition-sigma {options.condition_sigma:g}"
    )
