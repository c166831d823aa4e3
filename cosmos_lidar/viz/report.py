"""HTML reports in one self-contained file that opens offline, in light and dark mode, on a screen or a phone."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from cosmos_lidar import __version__
from cosmos_lidar.errors import UserError
from cosmos_lidar.files import atomic_write
from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame, clouds_html, color_table_html, gradient_css
from cosmos_lidar.viz.curve import COLORS, Series, curve_html, read_series
from cosmos_lidar.viz.images import png_bytes, to_uint8
from cosmos_lidar.viz.range_map import INVENTED, MISSED, bar_ticks_m, error_map_image, range_map_image

_LOSS_NAMES = {"loss": "training loss", "val/loss": "validation loss", "val_loss": "validation loss"}


@dataclass(frozen=True)
class Comparison:
    """One frame, original beside reconstruction.

    Attributes:
        title: names the frame, such as ``"drive_0003 · frame 000012"``.
        original_m: (rows, columns) meters, 0 = no return.
        reconstruction_m: likewise.
        original_points: (N, 3) meters; row-major points of the pixels with a return where errors are to be shown.
        reconstruction_points: (M, 3) meters, row-major points of the pixels of ``reconstruction_m`` with a return.
    """

    title: str
    original_m: np.ndarray
    reconstruction_m: np.ndarray
    original_points: np.ndarray | None = None
    reconstruction_points: np.ndarray | None = None


class Report:
    """HTML report: add sections from top to bottom, then :meth:`write` it."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self.title, self.subtitle = title, subtitle
        self._parts: list[str] = []
        self._headings: list[tuple[str, str]] = []
        self._scripts: dict[str, None] = {}

    def heading(self, text: str) -> Report:
        """Start a section; it gets a link at the top of the page."""
        anchor = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") + f"-{len(self._headings) + 1}"
        self._headings.append((anchor, text))
        self._parts.append(f'<h2 id="{anchor}">{escape(text)}</h2>')
        return self

    def text(self, text: str) -> Report:
        """Add paragraphs of plain text; an empty line starts a new one."""
        self._parts += [f"<p>{escape(part.strip())}</p>" for part in re.split(r"\n\s*\n", text) if part.strip()]
        return self

    def tiles(self, tiles: Sequence[tuple[str, str, str]]) -> Report:
        """Add large numbers: (name, number with its unit, small remark) each."""
        cells = (
            f"<div class='tile'><dt>{escape(name)}</dt><dd>{escape(number)}<small>{escape(remark)}</small></dd></div>"
            for name, number, remark in tiles
        )
        self._parts.append(f'<dl class="tiles">{"".join(cells)}</dl>')
        return self

    def facts(self, facts: Sequence[tuple[str, str]]) -> Report:
        """Add (name, text) pairs, one per line."""
        lines = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in facts)
        self._parts.append(f'<div class="card"><dl class="facts">{lines}</dl></div>')
        return self

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str = "") -> Report:
        """Add a table: the first column names the row, floats get four digits, whole numbers commas.

        NaN and None become a dash.

        Raises:
            UserError: a row has another length than ``columns``.
        """
        for row in rows:
            if len(row) != len(columns):
                raise UserError(f"the table has {len(columns)} columns, this row {len(row)} fields: {list(row)}")
        head = "".join(_head(str(column)) for column in columns)
        body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        note = f'<p class="note">{escape(caption)}</p>' if caption else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        self._parts.append(f'<div class="card"><div class="scroll">{table}</div>{note}</div>')
        return self

    def curve(
        self,
        source: str | Path | Mapping[str, Series | tuple[Sequence[float], Sequence[float]]],
        names: Mapping[str, str] | None = None,
        caption: str = "",
        log: bool | None = None,
        colors: Sequence[str] = COLORS,
    ) -> Report:
        """Add a training curve.

        Args:
            source: a metrics.csv (see :func:`~cosmos_lidar.viz.curve.read_series`), or (steps, values) by name.
            names: columns to draw and the names to show them by; all columns with "loss" in their name when None.
            caption: text below.
            log: logarithmic vertical axis; decided by the values when None.
            colors: of the lines, in CSS.

        Raises:
            UserError: none of the wanted columns has a value; the message lists those that have.
        """
        series = read_series(source) if isinstance(source, (str, Path)) else _as_series(source)
        if names is None and isinstance(source, (str, Path)):
            names = {name: _LOSS_NAMES.get(name, name) for name in series if "loss" in name}
        wanted = {names[key]: series[key] for key in names if key in series} if names is not None else series
        if not wanted:
            raise UserError(f"no values of {', '.join(names or ()) or 'a loss'} to draw: there are {', '.join(series)}")
        return self.block(f"<figure>{curve_html(wanted, log, colors)}{_caption(caption)}</figure>", "curve.js")

    def image(self, image: np.ndarray, caption: str = "", alt: str = "") -> Report:
        """Add an (H, W, 3) image, uint8 or floats in [0, 1]; wide ones scroll sideways on a phone."""
        image = to_uint8(image)
        kind = "picture wide" if image.shape[1] > 2 * image.shape[0] else "picture"
        element = _image(image, alt or caption or "image")
        box = f'<div class="scroll"><div class="{kind}">{element}</div></div>'
        self._parts.append(f'<figure class="card">{box}{_caption(caption)}</figure>')
        return self

    def range_maps(
        self, frames: Sequence[Comparison], near_m: float = 2.0, far_m: float = 100.0, max_error_m: float = 1.0
    ) -> Report:
        """Add, for each frame, the original range map above the reconstruction above the error, and what colors mean.

        Args:
            frames: what to show; point clouds are not used here.
            near_m: range of the warm end of the colors.
            far_m: range of the cold end.
            max_error_m: error of the last color of the error map.
        """
        for frame in frames:
            images = [
                ("Original", range_map_image(frame.original_m, near_m=near_m, far_m=far_m, bar=False)),
                ("Reconstruction", range_map_image(frame.reconstruction_m, near_m=near_m, far_m=far_m, bar=False)),
                ("Error", error_map_image(frame.original_m, frame.reconstruction_m, max_error_m=max_error_m)),
            ]
            self._parts.append(_maps(frame.title, images, _range_bar(near_m, far_m) + _error_legend(max_error_m)))
        return self

    def recorded_maps(
        self, title: str, maps_m: Sequence[tuple[str, np.ndarray]], near_m: float = 2.0, far_m: float = 100.0
    ) -> Report:
        """Add (label, (rows, columns) range map in meters) pairs one above the other, such as frames of a recording."""
        images = [(label, range_map_image(one, near_m=near_m, far_m=far_m, bar=False)) for label, one in maps_m]
        self._parts.append(_maps(title, images, _range_bar(near_m, far_m)))
        return self

    def point_clouds(self, frames: Sequence[CloudFrame], caption: str = "", most_points: int = 60_000) -> Report:
        """Add a figure of point clouds that can be turned; see :func:`~cosmos_lidar.viz.cloud_figure.clouds_html`."""
        return self.block(clouds_html(frames, caption, most_points), "orbit.js", "point_clouds.js")

    def block(self, html: str, *scripts: str) -> Report:
        """Add HTML as it is; ``scripts`` are files of this package, which share one scope and run in this order."""
        self._scripts.update(dict.fromkeys(scripts))
        self._parts.append(html)
        return self

    def html(self) -> str:
        """Return the whole page."""
        folder = resources.files("cosmos_lidar.viz")
        scripts = [(folder / name).read_text(encoding="utf-8") for name in self._scripts]
        links = "".join(f'<a href="#{anchor}">{escape(text)}</a>' for anchor, text in self._headings)
        table = color_table_html() if "orbit.js" in self._scripts else ""
        fields = {
            "title": escape(self.title),
            "subtitle": f"<p>{escape(self.subtitle)}</p>" if self.subtitle else "",
            "nav": f"<nav>{links}</nav>" if len(self._headings) > 1 else "",
            "body": "\n".join(self._parts) + table,
            "footer": f"Made by cosmos-lidar {__version__}. This file needs no network.",
            "script": "{\n" + "\n".join(scripts) + "}",
        }
        page = (folder / "report.html").read_text(encoding="utf-8")
        return re.sub(r"\{\{(\w+)\}\}", lambda match: fields[match[1]], page)

    def write(self, path: str | Path) -> Path:
        """Write the page atomically and return its path; missing folders are made."""
        with atomic_write(path) as partial:
            partial.write_text(self.html(), encoding="utf-8")
        return Path(path)


def write_report(
    path: str | Path,
    title: str,
    *,
    subtitle: str = "",
    summary: str = "",
    tiles: Sequence[tuple[str, str, str]] = (),
    tables: Sequence[tuple[str, Sequence[str], Sequence[Sequence[object]]]] = (),
    metrics_csv: str | Path | None = None,
    frames: Sequence[Comparison] = (),
) -> Path:
    """Write the usual report of a tokenizer: numbers, training curve, range maps, point clouds.

    Args:
        path: HTML file to write.
        title: of the page.
        subtitle: one line below it.
        summary: paragraphs before the numbers.
        tiles: (name, number with its unit, small remark) of the headline numbers.
        tables: (caption, columns, rows) each.
        metrics_csv: training log; its columns with "loss" in their name are drawn.
        frames: what to compare; those with points also get point clouds.
    """
    report = Report(title, subtitle).text(summary)
    if tiles or tables:
        report.heading("Results").tiles(tiles)
    for caption, columns, rows in tables:
        report.table(columns, rows, caption)
    if metrics_csv is not None:
        report.heading("Training").curve(metrics_csv)
    if frames:
        report.heading("Range maps").range_maps(frames)
    clouds = [comparison_clouds(frame) for frame in frames if frame.original_points is not None]
    if clouds:
        report.heading("Point clouds").point_clouds(clouds, "Both panels share one camera.")
    return report.write(path)


def comparison_clouds(frame: Comparison) -> CloudFrame:
    """Return the two point clouds of a frame; where its points belong to pixels, with the range error of each."""
    shared = (frame.original_m > 0) & (frame.reconstruction_m > 0)
    error = np.where(shared, np.abs(np.asarray(frame.reconstruction_m, np.float32) - frame.original_m), np.nan)
    pairs = (
        ("Original", frame.original_points, None),
        ("Reconstruction", frame.reconstruction_points, error[frame.reconstruction_m > 0]),
    )
    clouds = []
    for name, points, point_error in pairs:
        points = np.zeros((0, 3), np.float32) if points is None else points
        fits = point_error is not None and len(point_error) == len(points)
        clouds.append(Cloud(name, points, point_error if fits else None))
    return CloudFrame(frame.title, clouds)


def _as_series(source: Mapping) -> dict[str, Series]:
    return {name: Series(*(np.asarray(part, np.float64) for part in one)) for name, one in source.items()}


def _head(name: str) -> str:
    kind = " class='long'" if len(name) > 24 else ""
    return f"<th scope='col'{kind}>{escape(name)}</th>"


def _cell(value: object) -> str:
    if isinstance(value, str) and len(value) > 40:
        return f'<td class="words">{escape(value)}</td>'
    if isinstance(value, (int, np.integer)) and not isinstance(value, bool):
        text = f"{value:,}"
    elif value is None or (isinstance(value, (float, np.floating)) and np.isnan(value)):
        text = "–"
    else:
        text = f"{value:.4g}" if isinstance(value, (float, np.floating)) else str(value)
    return f"<td>{escape(text)}</td>"


def _caption(text: str) -> str:
    return f"<figcaption>{escape(text)}</figcaption>" if text else ""


def _image(image: np.ndarray, alt: str) -> str:
    data = base64.b64encode(png_bytes(image)).decode("ascii")
    height, width = image.shape[:2]
    return f'<img alt="{escape(alt)}" width="{width}" height="{height}" src="data:image/png;base64,{data}">'


def _maps(title: str, images: Sequence[tuple[str, np.ndarray]], legend: str) -> str:
    """Return a card of wide images that scroll sideways together."""
    rows = "".join(
        f'<div class="label">{escape(name)}</div>{_image(image, f"{name} range map, {title}")}'
        for name, image in images
    )
    head = f'<figcaption class="title">{escape(title)}</figcaption>'
    box = f'<div class="maps">{head}<div class="scroll"><div class="rows">{rows}</div></div></div>'
    return f'<figure class="card">{box}<div class="legend">{legend}</div></figure>'


def _range_bar(near_m: float, far_m: float) -> str:
    ticks = [(np.log(tick / near_m) / np.log(far_m / near_m), f"{tick:g}") for tick in bar_ticks_m(near_m, far_m)]
    return _bar("Range", gradient_css("turbo_r"), ticks)


def _error_legend(max_error_m: float) -> str:
    ticks = [(share, f"{share * max_error_m:g}") for share in (0.0, 0.5, 1.0)]
    swatches = (("lost return", MISSED), ("invented return", INVENTED))
    marks = "".join(
        f'<span class="swatch"><i style="background:rgb{color}"></i>{name}</span>' for name, color in swatches
    )
    return _bar("Error", gradient_css("viridis"), ticks) + marks


def _bar(name: str, gradient: str, ticks: Sequence[tuple[float, str]]) -> str:
    spans = "".join(f'<span style="left:{100 * share:.2f}%">{text}</span>' for share, text in ticks)
    name = f"{name} in meters"
    bar = f'<div class="bar" style="background:{gradient}"></div>'
    return f'<div class="scale">{name}{bar}<div class="ticks">{spans}</div></div>'
