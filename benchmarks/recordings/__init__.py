"""Recordings of real size, one file per reader, for ``benchmarks/clips.py``; found by the name of the reader.

A module ``recordings/NAME.py`` has

``write(root, street) -> Path``
    writes the sweeps of a :class:`~recordings.street.Street` below ``root`` in the layout that the reader NAME takes,
    by an encoder that shares no code with the reader; returns what is given to ``open_clips``. Where that has nothing
    at its own level, it is a folder of such recordings.
``reads(clip) -> list[Read]`` (optional)
    what is measured of a clip, each with the work of its decoder alone. Without it: the sweeps of the main lidar beside
    reading as many bytes.

A reader without a module here is measured on the small sample that its tests write.
"""
