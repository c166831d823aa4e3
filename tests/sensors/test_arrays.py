import subprocess
import sys

import numpy as np
import pytest
import torch

from cosmos_lidar.sensors.arrays import float64, is_tensor, like, namespace


@pytest.mark.parametrize("value", [np.ones(3, np.float32), torch.ones(3)])
def test_each_kind_stays_what_it_is(value):
    tensor = isinstance(value, torch.Tensor)
    assert is_tensor(value) == tensor
    assert namespace(value) is (torch if tensor else np)
    wide = float64(value)
    assert type(wide) is type(value)
    assert str(wide.dtype).endswith("float64")
    assert type(like(np.arange(3), value)) is type(value)
    assert np.array_equal(np.asarray(like(np.arange(3), value)), [0, 1, 2])


def test_lists_become_numpy_arrays():
    assert float64([1, 2]).dtype == np.float64
    assert not is_tensor([1, 2])


def test_numpy_alone_does_not_import_torch():
    code = (
        "import sys, numpy as np\n"
        "from cosmos_lidar.sensors.arrays import float64, is_tensor, namespace\n"
        "value = np.ones(2, np.float32)\n"
        "assert not is_tensor(value) and namespace(value) is np and float64(value).dtype == np.float64\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
