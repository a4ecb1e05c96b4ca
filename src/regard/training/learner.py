"""What learns: a model with its optimisers and average, on a place. It knows how one step is computed, and how all
of it goes to a folder and comes back.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regard.data.batches import Batch, BatchSource, EvaluationSource
from regard.data.store import Part
from regard.evaluation import Evaluation, batch_loss, total_loss
from regard.feedforward.experts import overflow
from regard.model import RecurrentConfig, Transformer
from regard.seeds import derive_seed
from regard.settings import SettingsError
from regard.store import WEIGHTS, load_tensors, save_model, tensors_of
from regard.text import Tokenizer
from regard.training import checkpoint, guard
from regard.training.average import swapped
from regard.training.config import TrainingConfig
from regard.training.devices import Place, placed_like, whole, worth_compiling
from regard.training.objectives import Objective
from regard.training.schedules import Noam


def freeze(model: Transformer, what: int | Literal["encoder"] | None) -> None:
    """Leaves as they are the input and so many of the lowest layers, or all but the head.

    Raises `SettingsError` where there are not so many.
    """
    if what is None:
        return
    stack = model.last_stack
    if what == "encoder":
        stack.requires_grad_(False)
        return
    if what > len(stack.layers):
        raise SettingsError(f"training.frozen is {what}, and the model has {len(stack.layers)} layers: lower it")
    kept = {p for layer in stack.layers[what:] for p in layer.parameters()}
    for name, parameter in stack.named_parameters():
        if parameter not in kept and not name.startswith("end."):
            parameter.requires_grad_(False)


def twice(batch: Batch) -> Batch:
    """The batch with each row a second time below, for dropout to draw anew."""
    again = {
        name: torch.cat([value, value]) if isinstance(value := getattr(batch, name), Tensor) else value
        for name in (field.name for field in fields(Batch))
    }
    return Batch(**{**again, "target_count": 2 * batch.target_count})  # type: ignore[arg-type]


OPTIMISER, AVERAGE = "optimiser.safetensors", "average.safetensors"


class Learner:
    """The moving parts of a run. `saved` is the folder of a checkpoint to start from."""

    def __init__(
        self,
        model: Transformer,
        batches: BatchSource,
        training: TrainingConfig,
        place: Place,
        tokenizer: Tokenizer | None = None,
        saved: Path | None = None,
        target_tokenizer: Tokenizer | None = None,
        objective: Objective | None = None,
    ) -> None:
        self.objective = objective or training.objective
        self.batches, self.training, self.place = batches, training, place
        self.tokenizer, self.target_tokenizer = tokenizer, target_tokenizer
        if saved:
            load_tensors(model, saved / WEIGHTS)
        freeze(model, training.frozen)
        self.model = model.to(place.device).train()
        self.forward: nn.Module = place.wrap(model)
        self.weights: dict[str, Tensor] = {
            name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad
        }
        self.redrawn: list[Any] = [module for module in model.modules() if hasattr(module, "redraw")]
        self.balanced: list[Any] = [module for module in model.modules() if hasattr(module, "rebalance")]
        self.optimisers = training.optimiser.build(model)
        self.average = training.average.start(self.weights) if training.average else None
        self.schedule = training.schedule
        if isinstance(self.schedule, Noam) and self.schedule.d_model is None:
            self.schedule = self.schedule.replace(d_model=model.config.d_model)
        if saved:
            self.optimisers.load_state_dict(checkpoint.load_tensors(saved / OPTIMISER))
        if saved and self.average:
            self.average.state = {
                name: placed_like(tensor, self.weights[name.rpartition("/")[2]])
                for name, tensor in checkpoint.load_tensors(saved / AVERAGE).items()
            }

    def step(self, step: int, kept: str) -> dict[str, float]:
        """One update. Returns its loss and objective (nats a token), targets, learning rate and gradient norm.

        The loss is divided by the real targets of all micro-batches and processes, so that cutting a batch changes
        nothing. Raises `NonFiniteError` before the weights take in what is no number; `kept` says what is left then.
        """
        for module in self.redrawn:
            module.redraw(self.training.seed, step)
        loss, objective, count = self._gradients(step)
        rate = self.schedule.rate(step, self.training.steps)
        parameters = list(self.weights.values())
        total = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        norm = whole(total).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            guard.stop(self.model, step, rate, kept, again=lambda: self._gradients(step, backward=False))
        if self.training.clip is not None and norm > self.training.clip:
            nn.utils.clip_grads_with_norm_(parameters, self.training.clip, total)
        self.optimisers.step(rate)
        self.optimisers.zero_grad()
        for module in self.balanced:
            module.rebalance(self.place.sum)
        if self.average:
            self.average.update(step, self.weights)
        return {"loss": loss, "objective": objective, "count": count, "rate": rate, "gradient_norm": norm}

    def experts(self) -> dict[str, float]:
        """How evenly experts were used in the last step: the busiest one's share beside a fair one, and the share of
        choices beyond a capacity of 1.25; of the layer where they are largest. Nothing where there are none."""
        loads = [module.load for module in self.balanced if module.load is not None]
        if not loads:
            return {}
        busiest = max(len(load) * load.max().item() for load in loads)
        return {"experts_busiest": busiest, "experts_overflow": max(overflow(load).item() for load in loads)}

    def _gradients(self, step: int, backward: bool = True) -> tuple[float, float, int]:
        training, place = self.training, self.place
        parts = [self._batch(step, micro) for micro in range(training.accumulate)]
        count = max(1, int(place.sum(sum(part.target_count for part in parts))[0]))
        terms = {"smoothing": training.smoothing, "z_loss": training.z_loss, "r_drop": training.r_drop}
        forward = self.forward if backward else self.model
        nats = objective = 0.0
        for micro, part in enumerate(parts):
            torch.manual_seed(derive_seed(training.seed, "step", step, micro, place.rank))
            with place.exchanging(self.forward, micro == training.accumulate - 1):
                with place.autocast():
                    part = part.to(place.device)
                    if training.sampled is not None:
                        place_seed = derive_seed(training.seed, "sampled", step, micro, place.rank)
                        part = training.sampled.mixed(self.model, part, step, place_seed)
                    loss = batch_loss(forward, part, **{k: v for k, v in terms.items() if v})
                if backward:  # processes average their gradients, so each must count for all
                    (loss.objective * (place.world / count)).backward()
            nats += loss.nll.cpu().double().sum().item()
            objective += loss.objective.item()
        nats, objective = place.sum(nats, objective)
        return nats / count, objective / count, count

    def _batch(self, step: int, micro: int) -> Batch:
        """This process's part of a step, as the objective has it."""
        batch = self.batches.at(step - 1, micro, self.place.rank, self.place.world)
        batch = self.objective.batch(batch, self.training.seed, step) if batch.target_count else batch
        return twice(batch) if self.training.r_drop else batch

    def compile(self, kept: bool | None, steps: int) -> bool:
        """Compiles the forward pass if the settings say so; "auto" is as it was before (`kept`), else as it pays.

        Says whether it did.
        """
        wanted = self.training.compile == "on"
        if self.training.compile == "auto":
            wanted = bool(kept)
            # Where batches have another shape at each step, and for recurrences, all would be compiled again and again.
            recurrent = any(isinstance(stack, RecurrentConfig) for stack in self.model.config.stacks.values())
            even = hasattr(self.batches, "context_length")
            if kept is None and steps >= 200 and even and not recurrent:
                self._gradients(1)  # the first pass fills caches
                begun = time.perf_counter()
                self._gradients(1)
                wanted = self.place.agree(worth_compiling(time.perf_counter() - begun, steps, self.place.device))
                self.optimisers.zero_grad()
        if wanted:
            self.forward = torch.compile(self.forward)  # type: ignore[assignment]
        return wanted

    def evaluate(self, batches: EvaluationSource) -> Evaluation:
        """The loss on a part that is not trained on, by the average of the weights if one is kept."""
        world, nats, tokens = self.place.world, 0.0, 0
        average = self.average.average() if self.average else None
        with swapped(self.weights, average), self.place.autocast():
            for index in range(self.place.rank, math.ceil(len(batches) / world) * world, world):
                # Sharded weights need as many passes on each process; one past the end counts for nothing.
                batch = self.objective.batch(batches.at(min(index, len(batches) - 1)), self.training.seed, 0)
                more = total_loss(self.model, [batch])
                if index < len(batches):
                    nats, tokens = nats + more[0], tokens + more[1]
        nats, all_tokens = self.place.sum(nats, tokens)
        if not math.isfinite(nats):
            raise guard.NonFiniteError(
                "the loss on the validation part is not finite, though that of the training part was: lower the "
                "learning rate, or compute in float32 (training.dtype=float32)."
            )
        part = getattr(batches, "part", None)
        whole_text = isinstance(part, Part) and self.objective.every_word
        return Evaluation.of(nats, int(all_tokens), part if whole_text else None)

    def measure(self, measures: Callable[[Transformer], dict[str, float]]) -> dict[str, float]:
        """How well the task is done, by the average of the weights if one is kept. Values that are no number are 0."""
        average = self.average.average() if self.average else None
        self.model.eval()
        with swapped(self.weights, average), self.place.autocast():
            found = measures(self.model)
        self.model.train()
        return {name: value if math.isfinite(value) else 0.0 for name, value in found.items()}

    def tensors(self, averaged: bool) -> dict[str, Tensor]:
        """The weights, whole, as a model's folder holds them; all processes must ask together."""
        own = tensors_of(self.model)
        average = self.average.average() if self.average and averaged else {}
        return {name: whole(average.get(name, tensor)) for name, tensor in own.items()}

    def save_model(self, folder: Path) -> None:
        """Puts the model to be used, averaged if so asked, into a folder."""
        tensors = self.tensors(averaged=True)
        if self.place.first:
            checkpoint.replace_files(
                folder, lambda to: save_model(to, self.model, self.tokenizer, tensors, self.target_tokenizer)
            )

    def save(self, folder: Path, step: int, state: dict[str, Any]) -> None:
        """Writes a checkpoint: a model's folder, the optimisers' state, and the average's."""
        tensors, moments = self.tensors(averaged=False), self.optimisers.state_dict()
        averages = {name: whole(tensor) for name, tensor in self.average.state.items()} if self.average else {}

        def write(to: Path) -> None:
            save_model(to, self.model, self.tokenizer, tensors, self.target_tokenizer)
            checkpoint.save_tensors(to / OPTIMISER, moments)
            if averages:
                checkpoint.save_tensors(to / AVERAGE, averages)

        if self.place.first:
            checkpoint.save(folder, step, write, state)
