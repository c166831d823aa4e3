"""Lidars and cameras of a bag, from the index of their messages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cosmos_lidar.clips.point_fields import to_sweep
from cosmos_lidar.clips.readers.rosbag.bag import Bag, Message, storage_of
from cosmos_lidar.clips.readers.rosbag.clouds import read_cloud
from cosmos_lidar.clips.readers.rosbag.messages import CLOUD, cloud_fields, image_pixels, parse
from cosmos_lidar.clips.sweep import Sweep
from cosmos_lidar.errors import DataError


@dataclass(frozen=True)
class MessagesOf:
    """The messages of one topic, by number.

    Attributes:
        clip_id: for messages.
        topic: its name.
        type: of the messages.
        encoding: of the messages.
        places: (file, place) of each message.
    """

    clip_id: str
    topic: str
    type: str
    encoding: str
    places: tuple[tuple[Path, Any], ...]

    def parsed(self, index: int) -> Any:
        """Return message ``index``.

        Raises:
            DataError: it cannot be read.
        """
        file, place = self.places[index]
        content = storage_of(file).fetch(place)
        return parse(content, self.type, self.encoding, file=file, clip=self.clip_id, topic=self.topic)

    def refuse(self, error: DataError, index: int) -> DataError:
        """Return an error of a message with its file, topic and number."""
        key = f"{self.topic} message {index}" + (f" {error.key}" if error.key else "")
        return error.at(file=self.places[index][0], clip=self.clip_id, key=key)


@dataclass(frozen=True)
class CloudMessages:
    """``read`` of a lidar: PointCloud2 messages.

    Attributes:
        messages: of its topic.
        timestamps_us: (N, 2) start and end of the sweeps.
    """

    messages: MessagesOf
    timestamps_us: np.ndarray

    def __call__(self, index: int) -> Sweep:
        """Read sweep ``index``.

        Raises:
            DataError: a message that is broken, has no x, y, z, or no point.
        """
        file, place = self.messages.places[index]
        with storage_of(file).stream(place) as (stream, size):
            try:
                fields = read_cloud(stream, size, self.messages.encoding)
            except DataError as error:
                raise self.messages.refuse(error, index) from error
        message = self.messages.parsed(index) if fields is None else None
        try:
            found = fields or cloud_fields(message)
            del fields, message
            return to_sweep(found, self.timestamps_us[index], file=file)
        except DataError as error:
            raise self.messages.refuse(error, index) from error


@dataclass(frozen=True)
class ImageMessages:
    """``read`` of a camera: Image or CompressedImage messages.

    Attributes:
        messages: of its topic.
    """

    messages: MessagesOf

    def __call__(self, index: int) -> np.ndarray:
        """Return image ``index`` as (H, W, 3) uint8 RGB.

        Raises:
            DataError: a message that is broken, or of an encoding that is not read.
        """
        message = self.messages.parsed(index)
        try:
            return image_pixels(message, self.messages.type)
        except DataError as error:
            raise self.messages.refuse(error, index) from error


@dataclass(frozen=True)
class Stream:
    """The messages of a topic in the order of time.

    Attributes:
        topic: its name.
        messages: with increasing times.
        times_us: (N,) int64, of the headers where all have one, else of the recording.
        dropped: messages of a time that another one has, too.
        of_bag: whether the times are those of the recording.
    """

    topic: str
    messages: tuple[Message, ...]
    times_us: np.ndarray
    dropped: int
    of_bag: bool

    @property
    def frame(self) -> str:
        """The frame of its first message."""
        return self.messages[0].head.frame

    def read(self, bag: Bag, clip_id: str) -> MessagesOf:
        """Return what reads its messages."""
        places = tuple((bag.files[one.file].path, one.entry.place) for one in self.messages)
        topic = bag.topics[self.topic]
        return MessagesOf(clip_id, topic.name, topic.type, topic.encoding, places)


def in_time_order(topic: str, messages: list[Message]) -> Stream:
    """Return the messages of a topic by their stamps: those of the headers, or of the recording where one is 0."""
    of_bag = any(one.head.stamp_ns == 0 for one in messages)
    stamps = np.array([one.entry.time_ns if of_bag else one.head.stamp_ns for one in messages], np.int64)
    times, first = np.unique(stamps // 1000, return_index=True)
    return Stream(topic, tuple(messages[place] for place in first), times, len(messages) - len(times), of_bag)


def largest_first(streams: list[Stream], bag: Bag) -> list[Stream]:
    """Return the lidars, that with the most points in its first message first."""
    return sorted(
        (one for one in streams if bag.topics[one.topic].type == CLOUD),
        key=lambda one: (-one.messages[0].head.size[0] * one.messages[0].head.size[1], one.topic),
    )
