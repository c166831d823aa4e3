"""Readers of datasets: one file each, found by listing this package; adding a dataset is adding one file here.

A reader ``readers/NAME.py`` becomes ``open_clips(path, format="NAME")`` and ``--format NAME``. It has

``DESCRIPTION``
    one line: which dataset, which of its layouts.
``EXAMPLE_LAYOUT``
    the files it looks for, as a user would see them in a listing; shown when nothing was recognised.
``recognise(path) -> bool``
    True where ``path`` (a file or a folder) holds this layout. It looks at names only, and at few of them: every
    reader is asked about every path. Two readers that both say True make the user choose with ``--format``.
``open_clips(path, sensor=None, on_error=None) -> list[Clip]``
    the clips, cheap to make: nothing of the size of a sweep is read before ``Clip.read_sweep`` or
    ``CameraStream.read`` asks for it. ``sensor`` replaces the sensor that the reader would have chosen.
    ``open_each(openers, on_error)`` of ``readers/_each.py`` passes over broken clips where the caller wants that.

What a reader has to bring into the project's conventions, and nothing more:

* Points in sensor axes x forward, y left, z up, metres. Other axes are turned, and the module docstring says how.
* ``timestamps_us`` (N, 2): start and end of each sweep. ``world_SE3_lidar`` (N, 2, 4, 4): lidar to world at both.
* ``motion_compensated=True`` says that points lie where they were seen from the pose at the **start** of the sweep.
  Datasets that move them to the middle or the end hand over ``reference_SE3_points`` to
  :class:`cosmos_lidar.clips.files.PointSweeps`, which moves them on.
* What is missing (poses, times, labels) is None and a line in ``notes``; what is broken is a
  :class:`~cosmos_lidar.errors.DataError` that names file, clip and key. Nothing is guessed silently.
* ``read_sweep`` and ``read`` are methods of small picklable objects, not closures: clips travel to worker processes.

Helpers: ``clips/files.py`` (point files, picture folders), ``clips/tar_index.py`` (members of a tar by seeking),
``clips/video.py`` (mp4), ``clips/poses.py`` (poses between poses). A module whose name starts with ``_`` is no reader.
"""
