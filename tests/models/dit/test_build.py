from __future__ import annotations

import pytest

from cosmos_lidar.errors import UserError
from cosmos_lidar.models.dit import GeneralDiT, Predict2DiT, build_dit, find_shape, shape_names


def test_a_name_chooses_the_network() -> None:
    assert isinstance(build_dit("faditv2_debug"), GeneralDiT)
    network = build_dit("predict2_debug_multiview", state_t=3)
    assert isinstance(network, Predict2DiT)
    assert network.config.state_t == 3
    assert all(find_shape(name).head_dim for name in shape_names())


def test_wrong_names_are_refused_with_the_valid_ones() -> None:
    with pytest.raises(
        UserError, match="unknown diffusion transformer 'x'; valid: .*faditv2_7b.*predict2_2b_multiview"
    ):
        build_dit("x")
    with pytest.raises(UserError, match="unknown field 'n_views'; valid: .*state_t"):
        build_dit("predict2_2b_multiview", n_views=3)
