"""torchmetrics imported lazily is torchmetrics: all names are there, the classes are the same, and most of it waits."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytest.importorskip("torchmetrics")

PROLOGUE = """
import json, sys
import cosmos_lidar.training
from cosmos_lidar.training import lazy_torchmetrics
def waits(): return "torchmetrics.functional" not in sys.modules
"""
WAYS = {
    "from": "from torchmetrics import MeanMetric",
    "attribute": "import torchmetrics; torchmetrics.functional.mean_squared_error",
    "dir": "import torchmetrics; assert 'Accuracy' in dir(torchmetrics)",
    "no such name": "import torchmetrics; assert not hasattr(torchmetrics, 'no_such_name')",
}


def results(program: str) -> object:
    """Run a program in a fresh interpreter: those of tests.workers have imported everything."""
    done = subprocess.run([sys.executable, "-c", PROLOGUE + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_names_that_lightning_uses_do_not_import_the_rest():
    """A first failure to import the rest is raised, and does not spoil the next try."""
    program = """
import lightning.pytorch
from torchmetrics import Metric, MetricCollection
import torchmetrics.metric, torchmetrics.collections, importlib.metadata, torch
same = Metric is torchmetrics.metric.Metric and MetricCollection is torchmetrics.collections.MetricCollection
known = torchmetrics.__version__ == importlib.metadata.version("torchmetrics")
before, lazy = waits(), torchmetrics.__spec__.loader
plain = lazy.loader
class Unreadable:
    @staticmethod
    def exec_module(module): raise OSError("unreadable")
lazy.loader = Unreadable
for attempt in range(2):
    try:
        torchmetrics.Accuracy
    except OSError:
        continue
    raise AssertionError("no error")
lazy.loader = plain
mean = torchmetrics.MeanMetric()
mean.update(torch.tensor([1.0, 3.0]))
loaded = torchmetrics.__spec__.loader is plain and torchmetrics.__loader__ is plain
print(json.dumps([same, known, before, waits(), loaded, isinstance(mean, Metric), float(mean.compute())]))
"""
    assert results(program) == [True, True, True, False, True, True, 2.0]


# one interpreter with Lightning each
@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=[pytest.mark.slow] if number else []) for number, way in enumerate(WAYS)]
)
def test_any_other_name_gives_the_whole_package(way: str):
    program = f"""
import torchmetrics
from torchmetrics import Metric
before = waits()
{WAYS[way]}
print(json.dumps([before, waits(), issubclass(torchmetrics.MeanMetric, Metric)]))
"""
    assert results(program) == [True, False, True]


def test_another_layout_of_the_package_is_imported_as_usual():
    """A version that keeps its classes elsewhere costs the time, no more."""
    program = """
lazy_torchmetrics.EARLY["Metric"] = "torchmetrics.no_such_module"
from torchmetrics import Metric
import torchmetrics.metric
whole = not waits()
sys.meta_path.remove(lazy_torchmetrics.LazyFinder)
lazy_torchmetrics.install()  # it is there already: left alone
print(json.dumps([Metric is torchmetrics.metric.Metric, whole, lazy_torchmetrics.LazyFinder in sys.meta_path]))
"""
    assert results(program) == [True, True, False]
