"""Figure of a video for HTML reports: H.264 as a data URI, which plays in the page without a network."""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path

from cosmos_lidar.bounds import read_file

LARGEST_BYTES = 16 << 20  # of a video in a page: longer ones belong beside it


def video_html(path: str | Path, caption: str, width_px: int = 0) -> str:
    """Return the HTML of a video that plays in a loop, without sound, with the browser's controls.

    Args:
        path: mp4 with H.264, as :func:`~cosmos_lidar.viz.video.write_video` makes it.
        caption: text below; screen readers read it, too.
        width_px: of a frame, which is never shown larger than twice that; 0: as wide as the page.

    Raises:
        DataError: there is no such file, or it has more than :data:`LARGEST_BYTES` bytes.
    """
    data = base64.b64encode(read_file(Path(path), "a video for a page", LARGEST_BYTES)).decode("ascii")
    widest = f"max-width:{2 * width_px}px;" if width_px else ""
    style = f"display:block;width:100%;{widest}height:auto;margin:0 auto"
    return (
        '<figure class="card"><div style="background:var(--stage)">'
        f'<video style="{style}" aria-label="{escape(caption)}" controls loop muted autoplay playsinline '
        f'src="data:video/mp4;base64,{data}"></video></div><figcaption>{escape(caption)}</figcaption></figure>'
    )
