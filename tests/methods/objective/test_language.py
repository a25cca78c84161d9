"""Objectives of language models against their formulas and against torch's own."""

from __future__ import annotations

import doctest

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from trainonce.methods.objective.language import label_smoothing, z_loss
from trainonce.methods.objective.language.label_smoothing import LabelSmoothing
from trainonce.methods.objective.language.z_loss import ZLoss
from trainonce.methods.registry import methods
from trainonce.sites import Family, SettingError, Site
from trainonce.train.losses import token_losses

IN_THEIR_LIMIT = [ZLoss(weight=0.0), LabelSmoothing(share=0.0)]


def batch(dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    logits_BTV = 3 * torch.randn(2, 5, 7, generator=generator)
    return logits_BTV.to(dtype).requires_grad_(), torch.randint(7, (2, 5), generator=generator)


def test_every_objective_of_the_family_is_tested_here() -> None:
    known = methods(Site.OBJECTIVE).values()
    here = {type(objective) for objective in IN_THEIR_LIMIT}
    assert {one.cls for one in known if one.family is Family.LANGUAGE} == here


@pytest.mark.parametrize("objective", IN_THEIR_LIMIT, ids=lambda one: type(one).__name__)
def test_in_its_limit_an_objective_is_cross_entropy(objective: ZLoss | LabelSmoothing) -> None:
    logits_BTV, targets_BT = batch()
    assert torch.equal(objective(logits_BTV, targets_BT), token_losses(logits_BTV, targets_BT))


def test_the_gradient_of_z_loss_pulls_the_normalizer_to_one() -> None:
    """``d log(Z)^2 / d logits = 2 log(Z) softmax(logits)``."""
    logits_BTV, targets_BT = batch()
    penalty = ZLoss(weight=0.5)(logits_BTV, targets_BT) - token_losses(logits_BTV, targets_BT)
    (found,) = torch.autograd.grad(penalty.sum(), logits_BTV)
    normalizers_BT1 = logits_BTV.logsumexp(-1, keepdim=True)
    expected = 2 * 0.5 * normalizers_BT1 * logits_BTV.softmax(-1)
    assert torch.allclose(found, expected, atol=1e-5)


def test_logits_that_rise_together_cost_z_loss_only() -> None:
    logits_BTV, targets_BT = batch()
    normalized = logits_BTV - logits_BTV.logsumexp(-1, keepdim=True)
    objective = ZLoss(weight=1e-4)
    assert torch.allclose(
        objective(normalized, targets_BT), token_losses(normalized, targets_BT), atol=1e-6
    )
    raised = objective(normalized + 100, targets_BT) - token_losses(normalized + 100, targets_BT)
    assert torch.allclose(raised, torch.ones(2, 5), rtol=1e-4)


@pytest.mark.parametrize("share", [0.1, 0.7])
def test_label_smoothing_is_torchs(share: float) -> None:
    logits_BTV, targets_BT = batch()
    expected = F.cross_entropy(
        logits_BTV.transpose(1, 2), targets_BT, label_smoothing=share, reduction="none"
    )
    assert torch.allclose(LabelSmoothing(share=share)(logits_BTV, targets_BT), expected, atol=1e-6)


@pytest.mark.parametrize("objective", [ZLoss(), LabelSmoothing()], ids=lambda o: type(o).__name__)
def test_half_precision_is_raised_and_shapes_are_kept(objective: ZLoss | LabelSmoothing) -> None:
    logits_BTV, targets_BT = batch(torch.bfloat16)
    losses_BT = objective(logits_BTV, targets_BT)
    assert (losses_BT.shape, losses_BT.dtype) == (targets_BT.shape, torch.float32)


@pytest.mark.parametrize("weight", [-1e-4, float("nan"), float("inf")])
def test_a_reward_for_drifting_is_refused(weight: float) -> None:
    with pytest.raises(SettingError, match="a number from 0 on"):
        ZLoss(weight=weight)


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_what_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(SettingError, match="from 0 to below 1"):
        LabelSmoothing(share=share)


@pytest.mark.parametrize("module", [z_loss, label_smoothing])
def test_the_examples_are_right(module: object) -> None:
    found = doctest.testmod(module)  # type: ignore[arg-type]
    assert (found.attempted > 0, found.failed) == (True, 0)
