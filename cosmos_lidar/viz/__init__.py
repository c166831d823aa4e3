"""Images, videos and reports of range maps and point clouds; no display needed."""

from cosmos_lidar.viz.cloud_figure import Cloud, CloudFrame
from cosmos_lidar.viz.colormap import apply_colormap, colormap_table
from cosmos_lidar.viz.images import caption_image, stack_images, write_png
from cosmos_lidar.viz.point_cloud import (
    ORIGINAL_COLOR,
    PUBLISHED_VIEW,
    RECONSTRUCTION_COLOR,
    View,
    bird_view_image,
    height_colors,
    render_points,
)
from cosmos_lidar.viz.point_files import read_ply, write_ply
from cosmos_lidar.viz.range_map import (
    error_map_image,
    published_colors,
    quantile_limits,
    range_colors,
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
    "ORIGINAL_COLOR",
    "PUBLISHED_VIEW",
    "RECONSTRUCTION_COLOR",
    "View",
    "apply_colormap",
    "bird_view_image",
    "caption_image",
    "colormap_table",
    "error_map_image",
    "height_colors",
    "published_colors",
    "quantile_limits",
    "range_colors",
    "range_map_image",
    "read_ply",
    "read_video",
    "render_points",
    "stack_images",
    "write_ply",
    "write_png",
    "write_video",
]
