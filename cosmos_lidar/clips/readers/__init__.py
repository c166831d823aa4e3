"""Readers of datasets: one file each, found by listing this package; adding a dataset is adding one file here.

A reader ``readers/NAME.py``, or a package ``readers/NAME/``, becomes ``open_clips(path, format="NAME")`` and
``--format NAME``. It has

``DESCRIPTION``
    one line: which dataset, which of its layouts.
``EXAMPLE_LAYOUT``
    the files it looks for, as a listing; shown when nothing was recognized. Alternatives are separated by blank lines.
    A line holds paths below the folder that a user names, separated by commas, and after two blanks a remark, in which
    ``(optional)`` marks files that may be missing and ``(generic)`` a layout without names of its own.
``recognise(path) -> Strength``
    how surely ``path`` (a file or a folder) is this layout: :class:`~cosmos_lidar.clips.recognition.Strength`. EXACT
    where names are found that only this dataset has, GENERIC where files of a common kind are found that it could read
    (a folder of ``.bin``), else NONE. It looks at names only, and at few of them: every reader is asked about every
    path. The strongest reader opens the path; two equally strong ones make the user choose with ``--format``, which
    overrules all of this.
``open_clips(path, sensor=None, on_error=None) -> list[Clip]``
    the clips, cheap to make: nothing of the size of a sweep is read before ``LidarStream.read`` or
    ``CameraStream.read`` asks for it, but for what is nowhere else (``nuplan``: one cloud per vehicle). ``sensor``
    replaces the sensor that the reader would have chosen for the main lidar. ``open_each(openers, on_error)`` of
    ``readers/_each.py`` leaves out broken clips where the caller wants that.
``ASSUMED`` (of readers with a GENERIC layout)
    one line: what is taken for granted about files that carry no names of their own; becomes a note of the clips.
``CLASS_NAMES`` (of readers with labels whose numbers the dataset fixes)
    names of the semantic classes by their ids, as ``Sweep.labels`` has them; legends show them.

What a reader has to bring into the project's conventions, and nothing more:

* A :class:`~cosmos_lidar.clips.clip.LidarStream` per lidar, by the dataset's names, the main one first, each with its
  own clock and rate; ``one_lidar_clip(…)`` makes the clip of a dataset with one lidar. A
  :class:`~cosmos_lidar.clips.clip.CameraStream` per camera, at the rate of its images. Either may be missing.
* Points in sensor axes x forward, y left, z up, meters. Other axes are turned, and the module docstring says how.
  Points that the dataset has in the axes of the vehicle are moved into those of their lidar; ``ego_SE3_lidar`` and
  ``ego_SE3_camera`` are the mountings in the vehicle's axes.
* ``timestamps_us`` (N, 2): start and end of each sweep. ``world_SE3_lidar`` (N, 2, 4, 4): lidar to world at both.
* ``motion_compensated=True`` says that points lie where they were seen from the pose at the **start** of the sweep.
  Datasets that move them to another time name it in ``reference_us`` (N,), or hand over ``reference_SE3_points`` to
  :class:`cosmos_lidar.clips.files.PointSweeps`, which moves them to the start. Poses at more times than the ends of
  sweeps go into ``trajectory`` (:class:`~cosmos_lidar.clips.trajectory.Trajectory`).
* A :class:`~cosmos_lidar.clips.sweep.Sweep` holds everything that the dataset has per return: intensity, semantic
  class, instance, time, ring, and the second returns. Native range images stay range images, points stay points.
  What is not read is named in the module docstring.
* Boxes of objects, where they are read, are ``Clip.boxes`` (:mod:`cosmos_lidar.clips.boxes`), in the world.
* What is missing (poses, times, labels) is None and a line in ``notes``; what is broken is a
  :class:`~cosmos_lidar.errors.DataError` that names file, clip and key. Nothing is guessed silently.
* What contradicts itself in the files, such as two clocks of which the reader believes one, is a
  :class:`~cosmos_lidar.clips.finding.Finding` in ``Clip.findings``, with the numbers.
* ``read`` is a method of a small picklable object, not a closure: clips travel to worker processes. Where each sweep
  or image is one file, it has them as ``files``: checks name them, and find missing and repeated ones.

Helpers: ``clips/files.py`` (point files, image folders), ``clips/tar_index.py`` (members of a tar by seeking),
``clips/video.py`` (mp4), ``clips/poses.py`` (poses between poses). A module whose name starts with ``_`` is no reader.

The test suite takes up every reader by itself: ``tests/clips/test_recognition.py`` writes its ``EXAMPLE_LAYOUT`` and
runs all other readers on it, ``tests/clips/readers/test_contract.py`` opens what ``write_sample(root)`` of
``tests/clips/readers/test_NAME.py`` writes and checks the conventions above.
"""
