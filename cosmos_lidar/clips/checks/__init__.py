"""Checks of recordings (`cosmos-lidar inspect`): one file each, found by listing; adding a check is adding one file.

A check ``checks/NAME.py`` becomes ``cosmos-lidar inspect --checks NAME``. It has

``TITLE``
    one line: what it finds.
``READS``
    whether it reads sweeps or images. ``inspect --fast`` runs only checks with False; these may look at times, poses,
    and whether and how large files are.

and at least one of these functions, each of which yields :class:`~cosmos_lidar.clips.finding.Finding` objects:

``check_lidar(recording, stream)``
    about one :class:`~cosmos_lidar.clips.clip.LidarStream`.
``check_camera(recording, camera)``
    about one :class:`~cosmos_lidar.clips.clip.CameraStream`.
``check_clip(recording)``
    about the clip as a whole.

``recording`` is a :class:`~cosmos_lidar.clips.checks._recording.Recording`: the clip, how many sweeps may be read, and
``recording.sweep(stream, index)``, ``recording.image(camera, index)``, which read each of them once for all checks and
return None for what cannot be read (``sweeps.py`` and ``images.py`` report those).

What a check owes:

* ``kind`` is ``NAME.what``. ``severity="error"`` only where a good recording cannot be meant: real recordings of
  every supported dataset stay without errors. A doubt is a ``warning``, and nothing is reported without evidence.
* ``text`` has the numbers with units, and the threshold where it is not obvious. ``evidence`` has the same numbers by
  name. ``frame`` names the first sweep or image concerned; ``file`` is filled in from it where the check gives none.
* One finding per kind and stream, with the count, not one per frame, unless frames fail in different ways.
* Time is bounded: work grows with ``recording.sweeps``, not with the length of the clip, except for arithmetic on
  times and poses and for sizes of files. Memory: no more than what ``recording`` keeps.
* Files are data: errors in reading are findings, never exceptions. An exception of a check is a bug.

Modules whose names start with ``_`` are no checks. Thresholds are constants at the head of each file and stand in
``docs/recordings.md``.
"""
