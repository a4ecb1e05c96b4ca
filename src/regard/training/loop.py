"""The training loop, from top to bottom: resume, step, measure, save.

A step is a function of the settings, the data, the seed and its number. So N steps in one go, and k steps, a kill,
and N − k steps, end in the same bits.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from regard.data.batches import BatchSource, EvaluationSource
from regard.evaluation import Evaluation
from regard.model import Transformer
from regard.settings import RegardError
from regard.text import Tokenizer
from regard.training import checkpoint, devices
from regard.training.checkpoint import Checkpoint
from regard.training.config import TrainingConfig
from regard.training.interrupt import interrupts
from regard.training.learner import Learner
from regard.training.metrics import Metrics, Progress, Quiet, Speed


@dataclass
class State:
    """What a run knows besides tensors; a checkpoint keeps it as JSON."""

    step: int = 0
    tokens: int = 0
    """Targets trained on."""
    nats: float = 0.0
    """Since the last line of metrics: the sum of the losses, of the objectives, and the number of targets."""
    objective: float = 0.0
    count: int = 0
    before: list[Any] | None = None
    """The evaluation before the first step, and the newest."""
    after: list[Any] | None = None
    best_loss: float | None = None
    best_measure: float | None = None
    measures: dict[str, float] | None = None
    """The newest, the main one first."""
    best_step: int = 0
    waited: int = 0
    """Evaluations since the best."""


@dataclass(frozen=True)
class Run:
    """What training gives back. The folder holds the best model; `regard.load(run.folder)` opens it."""

    folder: Path
    step: int
    tokens: int
    """Targets trained on, since the very start."""
    before: Evaluation | None
    after: Evaluation | None
    """On the validation part, before the first step and after the last; None where there is no such part."""
    best_loss: float | None
    best_step: int
    ended: str
    """`finished`, `patience` (it stopped improving) or `interrupted`."""
    seconds: float
    """Of this session."""
    measures: dict[str, float] = field(default_factory=dict)
    """How well the task is done on the validation part after the last step, the main measure first."""
    best_measure: float | None = None
    """The main measure of the model that was kept."""

    def __str__(self) -> str:
        counted = f"{self.tokens:,} {'targets' if self.measures else 'tokens'}"
        lines = [f"{self.folder}: {self.step:,} steps, {counted}, {self.seconds:.1f} s ({self.ended})"]
        if self.before and self.after and self.measures:
            lines += [f"  before  loss {self.before.loss:.4f}", f"  after   {described(self.after, self.measures)}"]
        else:
            lines += [f"  before  {self.before}"] if self.before else []
            lines += [f"  after   {self.after}"] if self.after and self.after != self.before else []
        if self.best_loss is not None and 0 < self.best_step != self.step:
            best = f"loss {self.best_loss:.4f}"
            if self.best_measure is not None:
                best = f"{next(iter(self.measures))} {self.best_measure:.4f}"
            lines += [f"  kept    the model of step {self.best_step:,}, with the best {best}"]
        return "\n".join(lines)


def described(evaluation: Evaluation, measures: dict[str, float]) -> str:
    """An evaluation for people, by what the task is measured by where there is such a measure."""
    if not measures:
        return str(evaluation)
    return ", ".join([f"loss {evaluation.loss:.4f}", *(f"{name} {value:.4f}" for name, value in measures.items())])


def fit(
    model: Transformer,
    batches: BatchSource,
    training: TrainingConfig,
    folder: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    target_tokenizer: Tokenizer | None = None,
    objective: Objective | None = None,
    validation: EvaluationSource | None = None,
    measures: Callable[[Transformer], dict[str, float]] | None = None,
    identity: dict[str, str] | None = None,
    resume: bool = True,
    show: Progress | None = None,
    sample: Callable[[int], str] | None = None,
) -> Run:
    """Trains a model into a folder, going on from the newest checkpoint there unless `resume` is False.

    objective: what is learnt from a batch, with the ids that it needs; None: as the settings say.
    measures: how well the task is done, the main measure first; by it the best model is kept, else by the loss.
    identity: what must be the same when the run is resumed, such as the fingerprints of data and tokenizer.
    sample: the text to show after an evaluation, by step. Raises `RegardError`.
    """
    folder, show, begun = Path(folder), show or Quiet(), time.perf_counter()
    checkpoints = folder / "checkpoints"

    # Where it stands.
    rank, _ = devices.join(training.device)
    if not resume and rank == 0:
        shutil.rmtree(checkpoints, ignore_errors=True)
    devices.wait()
    checkpoint.prepare(checkpoints)
    found = checkpoint.load_newest(checkpoints, show.say)
    identity = {**(identity or {}), "model": _fingerprint(model.config.to_dict())}
    if found:
        check_identity(found, identity, folder)
        show.say(f"Going on from step {found.step:,} of {folder}.")
    state = State(**found.state["state"]) if found else State()
    resolved = found.state["resolved"] if found else {}

    # What learns.
    place = devices.resolve(training.device, training.dtype, training.spread, resolved, show.say)
    saved = found.path if found else None
    learner = Learner(model, batches, training, place, tokenizer, saved, target_tokenizer, objective)
    compiled = learner.compile(resolved.get("compile"), training.steps - state.step)
    resolved = {**place.resolved(), "compile": compiled}

    # What is written down.
    metrics = Metrics(folder, state.step if found else -1, training.tensorboard, place.first)
    speed = Speed()

    def better(loss: float, main: float | None) -> bool:
        """Whether this is the best so far; of equal measures, the one with the lower loss."""
        if state.best_loss is None:
            return True
        if main is None or state.best_measure is None:
            return loss < state.best_loss
        return (main, -loss) > (state.best_measure, -state.best_loss)

    def measure() -> None:
        """Evaluates, keeps the model if it is the best so far, and shows what it writes."""
        if validation is not None:
            result = learner.evaluate(validation)
            state.after, state.waited = list(result), state.waited + 1
            state.before = state.before or state.after
            found = learner.measure(measures) if measures is not None else {}
            main = next(iter(found.values()), None)
            state.measures = found
            if better(result.loss, main):
                state.best_loss, state.best_measure, state.best_step, state.waited = result.loss, main, state.step, 0
                learner.save_model(folder)
            bits = {} if result.bits_per_byte is None else {"bits_per_byte": result.bits_per_byte}
            metrics.write(state.step, validation_loss=result.loss, **bits, **found)
            show.say(f"step {state.step:,}: validation {described(result, found)}")
        if sample is not None and state.step:
            text = sample(state.step)
            metrics.write(state.step, sample=text)
            if text:
                show.sample(text)

    def log(gradient_norm: float, rate: float) -> None:
        """A line of metrics: means since the last one."""
        count, smooth = max(1, state.count), training.smoothing or training.z_loss or learner.balanced
        means = {"loss": state.nats / count, **({"objective": state.objective / count} if smooth else {})}
        metrics.write(
            state.step, **means, rate=rate, gradient_norm=gradient_norm, tokens=state.tokens, **learner.experts()
        )
        metrics.time(state.step, seconds=time.perf_counter() - begun, tokens_per_second=speed.rate)
        state.nats, state.objective, state.count = 0.0, 0.0, 0

    def tired() -> bool:
        return training.patience is not None and state.waited >= training.patience

    def save() -> None:
        """A checkpoint; and while none was found better than the random start, the newest model is the one to use."""
        metrics.flush()
        everything = {"state": asdict(state), "identity": identity, "resolved": resolved}
        learner.save(checkpoints, state.step, everything)
        if state.best_step == 0:
            learner.save_model(folder)

    # The steps.
    stopped = False
    try:
        with interrupts() as interrupted:
            if state.step == 0:
                measure()
            while state.step < training.steps and not tired() and not stopped:
                speed.start()
                state.step += 1
                done = learner.step(state.step, kept=_kept(state, checkpoints))
                count = int(done["count"])
                state.tokens, state.count = state.tokens + count, state.count + count
                state.nats += done["loss"] * count
                state.objective += done["objective"] * count
                speed.stop(count)
                show.update(state.step, done["loss"], speed.rate)

                stopped = any(place.sum(float(bool(interrupted))))
                last = state.step == training.steps
                if last or state.step % training.log_every == 0:
                    log(done["gradient_norm"], done["rate"])
                if last or state.step % training.evaluate_every == 0:
                    measure()
                if last or stopped or tired() or state.step % training.checkpoint_every == 0:
                    save()
    finally:
        metrics.close()
        show.close()

    ended = "finished" if state.step >= training.steps else "patience" if tired() else "interrupted"
    before, after = (Evaluation(*result) if result else None for result in (state.before, state.after))
    seconds = time.perf_counter() - begun
    return Run(
        folder, state.step, state.tokens, before, after, state.best_loss, state.best_step, ended, seconds,
        state.measures or {}, state.best_measure,
    )  # fmt: skip


def check_identity(found: Checkpoint, identity: dict[str, str], folder: Path) -> None:
    """Raises `RegardError` where a run would go on with another model, tokenizer or text than it began with."""
    for what, now in identity.items():
        before = found.state["identity"].get(what, now)
        if before != now:
            raise RegardError(
                f"{folder} was begun with another {what}, so it cannot go on with this one; train into another folder, "
                "or give the same settings, or start afresh (resume=False, --fresh)."
            )


def _kept(state: State, checkpoints: Path) -> str:
    step = checkpoint.newest_step(checkpoints)
    return f"the checkpoint of step {step:,} is kept" if step is not None else "there is no checkpoint yet"


def _fingerprint(values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
