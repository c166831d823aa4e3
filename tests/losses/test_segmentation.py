"""Losses of semantic segmentation, against torch and against IoU itself."""

from __future__ import annotations

import itertools

import pytest
import torch
import torch.nn.functional as F

from cosmos_lidar.losses.segmentation import lovasz_softmax, segmentation_loss


def test_cross_entropy_is_the_mean_over_points_with_a_class():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(50, 4, generator=generator)
    classes = torch.randint(4, (50,), generator=generator)
    counted = classes > 0
    wanted = F.cross_entropy(logits[counted], classes[counted])
    assert segmentation_loss(logits, classes) == pytest.approx(float(wanted), rel=1e-6)


def test_without_any_class_both_are_0_and_have_a_gradient():
    logits = torch.randn(5, 3, requires_grad=True)
    for loss in (segmentation_loss, lovasz_softmax):
        value = loss(logits, torch.zeros(5, dtype=torch.int64))
        assert float(value) == 0
        value.backward()
    assert float(logits.grad.abs().sum()) == 0


@pytest.mark.parametrize("wrong", itertools.product([0, 1], repeat=4))
def test_lovasz_of_certain_predictions_is_one_minus_iou(wrong: tuple[int, ...]):
    """At the corners of the cube the Lovasz extension is the function itself, class by class."""
    truth = torch.tensor([1, 1, 2, 2, 0])
    predicted = torch.tensor([*(3 - t if w else t for t, w in zip([1, 1, 2, 2], wrong, strict=True)), 1])
    logits = F.one_hot(predicted, 3) * 1e4
    terms = []
    for label in (1, 2):
        found, there = predicted[:4] == label, truth[:4] == label
        terms.append(1 - float((found & there).sum() / (found | there).sum()))
    assert float(lovasz_softmax(logits, truth)) == pytest.approx(sum(terms) / 2, abs=1e-6)
