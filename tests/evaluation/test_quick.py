"""What training prints is what evaluation finds."""

from __future__ import annotations

import pytest
import torch

from regard.evaluation.classification import classification_scores
from regard.evaluation.quick import quick_measures
from regard.settings import RegardError


def test_labels() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(40, 2), torch.randint(0, 2, (40,))
    whole = classification_scores(targets.numpy(), logits.softmax(-1).numpy(), ("a", "b"), None).measures
    for name, value in quick_measures("classify", logits, targets).items():
        assert value == pytest.approx(whole[name].value)
    masked = torch.cat([targets, torch.tensor([-100])])
    assert quick_measures("classify", torch.cat([logits, torch.randn(1, 2)]), masked) == quick_measures(
        "classify", logits, targets
    )


def test_many_labels_and_numbers() -> None:
    found = quick_measures(
        "multilabel", torch.tensor([[1.0, -1.0], [1.0, 1.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    )
    assert found == {"micro_f1": pytest.approx(2 * 2 / (3 + 2)), "subset_accuracy": 0.5}
    found = quick_measures("regress", torch.tensor([1.0, 2.0, 9.0]), torch.tensor([1.0, 3.0, float("nan")]))
    assert found["mse"] == 0.5
    assert found["pearson"] == pytest.approx(1)


def test_tags_leave_out_what_is_no_first_piece() -> None:
    labels = ("O", "B-x", "I-x")
    row = torch.eye(3)[[0, 1, 2, 2]]  # O B-x I-x I-x
    assert quick_measures("tag", [row], [torch.tensor([-100, 1, -100, 2])], labels)["f1"] == 1
    assert quick_measures("tag", [row], [torch.tensor([-100, 1, 0, 2])], labels)["f1"] == 0


def test_answers_and_vectors() -> None:
    ends = torch.full((2, 5, 2), -9.0)
    ends[0, 1, 0] = ends[0, 3, 1] = ends[1, 0, 0] = ends[1, 2, 1] = 0
    found = quick_measures("answer", ends, torch.tensor([[1, 3], [0, 0]]))
    assert found == {"both_ends": 0.5, "start": 1.0, "end": 0.5}
    vectors = torch.tensor([[1.0, 0], [0, 1], [1, 0.2], [1, 0.1]])
    found = quick_measures("embed", vectors, torch.tensor([2, 3, -100, -100]))
    assert found == {"accuracy@1": 0.0, "mrr": 0.5}


def test_another_kind() -> None:
    with pytest.raises(RegardError, match="'poem'"):
        quick_measures("poem", torch.zeros(1), torch.zeros(1))
