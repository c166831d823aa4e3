import numpy as np
import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.viz import apply_colormap, colormap_table


@pytest.mark.parametrize("name", ["turbo", "Spectral", "viridis", "turbo_r", "Spectral_r"])
def test_color_maps_match_matplotlib(name):
    matplotlib = pytest.importorskip("matplotlib")
    values = np.linspace(-0.1, 1.1, 3001)
    assert np.abs(matplotlib.colormaps[name](values)[:, :3] - apply_colormap(values, name)).max() <= 1 / 255


def test_color_map_ends_and_names():
    assert np.allclose(colormap_table("turbo")[0] * 255, (48, 18, 59), atol=0.01)
    assert np.array_equal(colormap_table("viridis_r"), colormap_table("viridis")[::-1])
    assert np.array_equal(apply_colormap([np.nan, -3.0, 9.0]), colormap_table("turbo")[[0, 0, 255]])
    with pytest.raises(UserError, match="unknown color map 'jet'.*turbo, Spectral, viridis"):
        colormap_table("jet")
