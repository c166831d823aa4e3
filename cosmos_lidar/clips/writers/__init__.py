"""Writers of clips: one file per layout, found by listing this package; adding a layout is adding one file here.

A writer ``writers/NAME.py``, or a package ``writers/NAME/``, becomes ``cosmos-lidar convert-clips SRC DST --to NAME``.
It has

``DESCRIPTION``
    one line: which layout, for whom.
``HOLDS``
    frozenset of names of :data:`~cosmos_lidar.clips.writers._contract.VALUES`: what the layout has room for. The table
    in the documentation is checked against it.
``write_clip(clip, folder, options, progress) -> Written``
    writes one clip below ``folder``, the folder of the whole dataset, which may hold other clips and be written to by
    other processes at the same time.
``NEEDS`` (optional)
    tuple of modules of :data:`cosmos_lidar.extras.EXTRAS` without which nothing can be written.
``frames(clip) -> int`` (optional)
    how often ``progress(1)`` will be called; without it once per sweep of the main lidar.
``begin(clips, folder) -> None`` (optional)
    called once before the first clip: for files that all clips share.

What a writer owes, and nothing more:

* A clip appears complete or not at all. Files are made under temporary names and get their real ones together:
  :class:`~cosmos_lidar.clips.writers._staged.Staged`, whose block may end by any error, ``KeyboardInterrupt`` too.
* Nothing is lost silently. :class:`~cosmos_lidar.clips.writers._contract.Losses` names what the clip has and ``HOLDS``
  lacks; what is lost only in part (points hidden behind others, instances beyond 16 bits) the writer notes itself.
  Rounding to the storage step of a value is no loss: the module docstring states the step.
* Values keep the units of the dataset; a value that the layout wants in a unit is converted. Nothing is invented:
  what a layout requires and the clip lacks is a :class:`~cosmos_lidar.errors.DataError` that names clip and value.
* The same clip gives the same bytes: no time of writing, no user, no host in files.
* Memory for one sweep and one image at a time.
* ``progress(1)`` after every frame; it may raise, to end the work.

A module whose name starts with ``_`` is no writer. ``tests/clips/writers/test_contract.py`` puts every writer through
the checks above on synthetic drives; a writer's own tests read its files back.
"""
