"""`train`: data, recipe, checkpoints, and the way back after any interruption."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from ..data import ImagePairs, PatchSampler, div2k_pairs, is_track
from ..files import atomic_path
from ..metrics import PSNR
from ..models import (
    EDSR,
    MDSR,
    LossSpikeGuard,
    WeightAverage,
    copy_weights,
    fit_tail,
    load_model,
    paper_optimizer,
)
from .board import PICTURES, Board, comparison
from .config import TrainConfig
from .devices import check_folder, check_start, join_workers
from .run import RunFolder
from .validation import check_validation, validate

logger = logging.getLogger("keras_edsr")

_FIT_BATCHES = 8  # of 16 patches each: 128 of 48x48 give 500 equations for each of a baseline's unknowns


class Stopped(SystemExit):
    """`train` was told to stop by SIGINT or SIGTERM, and has saved a checkpoint.

    If nothing catches it, the program ends with status 0: what would come after a finished run is not done.
    """


def train(config: TrainConfig, progress: Callable[[int, int, float], None] | None = None) -> Path:
    """Trains a model as `config` says, or goes on with the run in `config.output`.

    An epoch is `config.checkpoint_every` steps; at its end the model is validated, the weights and the checkpoint are
    written. A batch depends on the seed and its number alone, so a run that was killed at any moment and started again
    ends in the same weights, to the bit on one machine, as one that was not. (On a GPU, whose kernels add in any order,
    that takes TensorFlow's TF_DETERMINISTIC_OPS=1, which costs speed; it was not tried here.)

    SIGINT and SIGTERM (when called in the main thread) let the step finish, write a checkpoint and raise `Stopped`.

    Where TF_CONFIG names several workers, `train` is called on each with the same `config`, and each takes its part of
    every batch: the weights are those of one machine within float error. `config.output` is a folder that all share;
    the chief, worker 0, writes it and validates. A signal to one stops all; a worker that dies ends the others with a
    ConnectionError, and started again, all go on from the last checkpoint. A process that trains with others must do
    so before anything else with TensorFlow.

    Args:
        config: The run.
        progress: Function `(step, steps, loss)`, called after each step with the epoch's mean loss so far.

    Returns:
        Path of the best weights, or of the last ones when there was no validation.

    Raises:
        ValueError: The configuration, the data or the folder do not fit, or another process trains there; the message
            says which.
        ArithmeticError: The loss spiked too many times in a row, or the weights are not finite.
        OSError: A file cannot be written; the checkpoint before it stays.
        ConnectionError: Another worker did not come, was lost, or ended with an error.
        Stopped: A signal asked for it.
    """
    workers = join_workers(config)
    with workers.together():
        return _train(config, workers, progress)


def _train(config, workers, progress):
    run = RunFolder(config.output)
    run.check(config)
    images, validation = open_images(config, with_validation=workers.is_chief)
    batches = PatchSampler(images, patch_size=config.patch_size, batch_size=config.batch_size, seed=config.seed)
    check_start(workers, config, run, batches)
    keras.utils.set_random_seed(config.seed)
    with workers.strategy.scope():
        model = build_model(config, warm_start=not run.checkpoint.exists())
        if config.fit_tail and not run.checkpoint.exists():
            fit_tails(model, images, config)
    with run.held() if workers.is_chief else contextlib.nullcontext():
        if workers.is_chief:
            run.open(config, workers.count)
        check_folder(workers, run)
        session = _Session(config, run, model, batches, validation, progress, workers)
        with _stop_on_signals(session):
            while session.progress.step < config.steps and not session.agree_to_stop():
                session.run_epoch()
            workers.any(False)  # the chief has written the last checkpoint
    if session.progress.step < config.steps:
        logger.warning("Stopped at step %d of %d.", session.progress.step, config.steps)
        raise Stopped(0)
    return run.best if run.best.exists() else run.last


def open_images(config: TrainConfig, with_validation: bool = True) -> tuple[ImagePairs, ImagePairs | None]:
    """Returns the images to train on and those to validate on.

    Args:
        config: The run.
        with_validation: Whether to open the latter, too.

    Raises:
        ValueError: They cannot be read, or do not fit; the message names the file.
    """
    validation = _open_validation(config) if with_validation else None
    if validation:
        check_validation(validation)
    images = _open_folder(config, config.hr, config.lr) if config.hr else _open_div2k(config, "train")
    if config.skip_small:
        fitting = images.at_least(config.patch_size)
        logger.info("Images smaller than a patch, left out: %d of %d.", len(images) - len(fitting), len(images))
        images = fitting
    return images, validation


def _open_validation(config):
    if config.validation:
        return _open_folder(config, config.validation, config.validation_lr)
    return _open_div2k(config, "validation").head(10) if config.div2k else None


def _open_folder(config, hr, lr):
    # A track is of DIV2K's own images. Validation has seed 0 in each run, as `evaluate --degradation` has by default.
    degradation = None if lr or is_track(config.degradation) else config.degradation
    return ImagePairs.from_folder(hr, config.scales, lr, degradation=degradation)


def _open_div2k(config, split):
    folder = Path(config.div2k)
    if not folder.is_dir():
        raise ValueError(
            f"`div2k` must be the folder of DIV2K's images, of its zips, or TFDS's. Received: {folder}, which is none."
        )
    zips = folder if any(folder.glob("DIV2K_*.zip")) else None
    return div2k_pairs(config.scales, split, folder, degradation=config.degradation, manual_dir=zips)


def build_model(config: TrainConfig, warm_start: bool = True) -> EDSR | MDSR:
    """Returns the model of `config`, compiled with its recipe.

    Args:
        config: The run.
        warm_start: Whether to take the weights of `config.init_from`; not for a run that has its own.

    Raises:
        ValueError: The model cannot be built so, or `config.init_from` does not fit it.
    """
    sizes = {
        "num_blocks": config.num_blocks,
        "filters": config.filters,
        "residual_scaling": config.residual_scaling,
        "dtype": config.precision,
    }
    model = EDSR(config.scale, **sizes) if config.model == "edsr" else MDSR(config.scale, **sizes)
    if config.init_from and warm_start:
        missed = copy_weights(load_model(config.init_from), model)
        taken = f"all taken but {', '.join(missed)}" if missed else "all taken"
        logger.info("Weights of %s: %s.", config.init_from, taken)
    model.compile(
        _optimizer(config),
        keras.losses.MeanAbsoluteError(),
        metrics=[PSNR()] if config.model == "edsr" else None,  # an MDSR has its own, for each scale
        jit_compile=False,
    )
    model._maybe_symbolic_build()  # what the checkpoint holds must be there before fit builds it
    if config.loss_spike_factor:
        model.loss_guard = LossSpikeGuard(config.loss_spike_factor)
    if config.average:
        model.weight_average = WeightAverage(model, config.average)
    return model


def fit_tails(model: EDSR | MDSR, images: ImagePairs, config: TrainConfig) -> None:
    """Fits the upsampler and the last convolution of each scale to patches of the training images.

    Args:
        model: The model, its body trained.
        images: The images to train on.
        config: The run; its patch size and seed say which patches.
    """
    for scale in config.scales:
        sampler = PatchSampler(images, scale, patch_size=config.patch_size, augment=False, seed=config.seed)
        batches = map(sampler.batch, range(_FIT_BATCHES))
        patches = (pair for lr, hr in batches for pair in zip(lr, hr, strict=True))
        left = fit_tail(model, patches, scale)
        logger.info("Upsampler of x%d fitted: %.2f grey levels are left (root mean square).", scale, left)


def _optimizer(config):
    # A schedule for the halving, too, not `HalvingAdam`: nothing assigns the rate here, and that has one variable more
    # than the checkpoints of earlier versions.
    if config.schedule == "cosine":
        learning_rate = keras.optimizers.schedules.CosineDecay(
            config.learning_rate,
            decay_steps=config.steps,
            alpha=config.final_learning_rate / config.learning_rate,
        )
    else:
        learning_rate = keras.optimizers.schedules.ExponentialDecay(
            config.learning_rate, config.halve_every, decay_rate=0.5, staircase=True
        )
    return paper_optimizer(
        learning_rate,
        beta_1=config.beta_1,
        beta_2=config.beta_2,
        epsilon=config.epsilon,
        global_clipnorm=config.clip_norm,
    )


class _Session(keras.callbacks.Callback):
    """One call of `train`: the model, how far it is, and what happens around each epoch."""

    def __init__(self, config, run, model, batches, validation, report, workers):
        super().__init__()
        self.report = report
        self.config = config
        self.run = run
        self.trained = model
        self.batches = batches
        # Validated and saved: float32 whatever the precision, and the average of the weights if there is one.
        self.saved = type(model).from_config({**model.get_config(), "dtype": "float32"})
        self.validation = validation
        self.board = Board(run.logs)
        self.workers = workers
        self.asked_to_stop = False
        self.progress = run.load(self._variables(), mend=workers.is_chief)
        self._metrics = [variable.numpy() for variable in model.metrics_variables]
        if self.progress.step:
            logger.info("Going on from step %d of %d.", self.progress.step, config.steps)

    def _variables(self):
        model = self.trained
        return {
            "weights": model.weights,
            "optimizer": model.optimizer.variables,
            "metrics": model.metrics_variables,
            "guard": model.loss_guard.variables if model.loss_guard else [],
            "average": model.weight_average.variables if model.weight_average else [],
        }

    def agree_to_stop(self):
        """Whether any worker was asked to: all stop after the same step."""
        return self.workers.any(self.asked_to_stop)

    # === One epoch ===

    def run_epoch(self):
        every, start = self.config.checkpoint_every, self.progress.step
        end = min((start // every + 1) * every, self.config.steps)
        began = time.perf_counter()
        logs = self.trained.fit(
            self.batches.dataset(start, end - start),
            shuffle=False,
            verbose=0,
            callbacks=[self],
        ).history
        rate = (self.progress.step - start) * self.config.batch_size / (time.perf_counter() - began)
        arrays = {group: [v.numpy() for v in variables] for group, variables in self._variables().items()}
        if not all(np.isfinite(weight).all() for weight in arrays["weights"]):
            raise ArithmeticError(
                f"The weights are not finite after step {self.progress.step}: training has diverged. What was written "
                "before stays. Lower the learning rate, clip the gradients, or skip loss spikes."
            )
        if not self.workers.is_chief:
            return
        if self.progress.step == end:
            self._end_epoch({name: values[-1] for name, values in logs.items()}, rate)
        self.run.save(arrays, self.progress)

    def _end_epoch(self, logs, images_per_second):
        self._update_saved()
        row = {
            "step": self.progress.step,
            **logs,
            "learning_rate": float(self.trained.optimizer.learning_rate),
        }
        if self.trained.loss_guard:
            row["skipped_steps"] = int(self.trained.loss_guard.skipped.numpy())
        pictures: dict[str, np.ndarray] = {}

        def show(name, lr, sr, hr):
            if sum(key.endswith(name[-2:]) for key in pictures) < PICTURES:
                pictures[name] = comparison(lr, sr, hr)

        if self.validation:
            row |= validate(self.saved, self.validation, show)
        self.progress.history.append(row)
        self._save_weights(row)
        self.board.write(row, images_per_second, pictures)
        logger.info("%s", _describe(row, self.config.steps))

    def _update_saved(self):
        average = self.trained.weight_average
        weights = average.averages if average else self.trained.trainable_variables
        for target, weight in zip(self.saved.trainable_variables, weights, strict=True):
            target.assign(weight)

    def _save_weights(self, row):
        score = row.get("val_psnr")
        if score is not None and (self.progress.best is None or score > self.progress.best):
            self.progress.best = score
            _save_model(self.saved, self.run.best)
        _save_model(self.saved, self.run.last)

    # === What fit calls ===

    def on_epoch_begin(self, epoch, logs=None):
        # fit has just reset the metrics; in the middle of an epoch they go on from the checkpoint.
        step = self.progress.step
        done = step % self.config.checkpoint_every
        if done:
            for variable, value in zip(self.trained.metrics_variables, self._metrics, strict=True):
                variable.assign(value)
            self.trained._seen_scales |= set(map(self.batches.scale_sampler, range(step - done, step)))

    def on_train_batch_end(self, batch, logs=None):
        self.progress.step += 1
        if self.trained.loss_guard:
            self.trained.loss_guard.check()
        if self.report:
            self.report(self.progress.step, self.config.steps, logs["loss"])
        if self.agree_to_stop():
            self.asked_to_stop = True  # on all workers
            self.trained.stop_training = True


def _save_model(model, path):
    """Writes a .keras file whole or not at all; Keras itself writes by name, not into an open file."""
    with atomic_path(path, sync=True) as part:
        model.save(part)


def _describe(row, steps):
    values = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
    return f"step {row['step']}/{steps}: {values}"


@contextlib.contextmanager
def _stop_on_signals(session):
    """While the block runs, SIGINT and SIGTERM ask the session to stop after the step."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals belong to the main thread
        return

    def stop(signum, frame):
        session.asked_to_stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
