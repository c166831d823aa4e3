"""Images, videos and reports of range maps and point clouds; no display needed."""

from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame
from cosmos_lidar.viz.colormap import apply_colormap, colormap_table
from cosmos_lidar.viz.pictures import caption_picture, stack_pictures, write_png
from cosmos_lidar.viz.point_cloud import (
    ORIGINAL_COLOUR,
    PUBLISHED_VIEW,
    RECONSTRUCTION_COLOUR,
    View,
    bird_view_image,
    height_colours,
    render_points,
)
from cosmos_lidar.viz.point_files import read_ply, write_ply
from cosmos_lidar.viz.range_map import (
    error_map_image,
    published_colours,
    quantile_limits,
    range_colours,
    range_map_image,
)
from cosmos_lidar.viz.report import Comparison, Report, comparison_clouds, write_report
from cosmos_lidar.viz.video import read_video, write_video

__all__ = [
    "Cloud",
    "CloudFrame",
    "Comparison",
    "Report",
    "comparison_clouds",
    "write_report",
    "ORIGINAL_COLOUR",
    "PUBLISHED_VIEW",
    "RECONSTRUCTION_COLOUR",
    "View",
    "apply_colormap",
    "bird_view_image",
    "caption_picture",
    "colormap_table",
    "error_map_image",
    "height_colours",
    "published_colours",
    "quantile_limits",
    "range_colours",
    "range_map_image",
    "read_ply",
    "read_video",
    "render_points",
    "stack_pictures",
    "write_ply",
    "write_png",
    "write_video",
]
