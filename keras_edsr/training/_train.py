"""`train`: trains by the recipe, writes checkpoints, and resumes an interrupted run."""

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
from ..models import EDSR, FIT_BATCHES, MDSR, fit_tail, start_from
from ..trainer import LossSpikeGuard, TrainingLoop, WeightAverage, paper_optimizer
from .board import PICTURES, Board, comparison
from .config import TrainConfig
from .devices import check_folder, check_start, join_workers
from .run import RunFolder
from .validation import check_validation, validate

logger = logging.getLogger("keras_edsr")


class Stopped(SystemExit):
    """`train` stopped after SIGINT or SIGTERM, and has written a checkpoint.

    If nothing catches it, the program ends with status 0 and skips the steps that follow a finished run.
    """


def train(config: TrainConfig, progress: Callable[[int, int, float], None] | None = None) -> Path:
    """Trains a model with the settings of `config`, or resumes the run in `config.output`.

    An epoch is `config.checkpoint_every` steps; at its end `train` validates the model and writes the weights and the
    checkpoint. A batch depends only on the seed and its number. A run that was killed at any moment and restarted thus
    ends with the same weights, to the bit on one machine, as an uninterrupted run. (On a GPU, whose kernels add in any
    order, this needs TensorFlow's TF_DETERMINISTIC_OPS=1, which costs speed and has not been tested.)

    SIGINT and SIGTERM (if `train` is called in the main thread) let the step finish, write a checkpoint and raise
    `Stopped`.

    If TF_CONFIG names several workers, call `train` on each with the same `config`; each processes its part of every
    batch, and the weights are those of one machine within float error. `config.output` is a folder that all share. The
    chief, worker 0, writes to it and validates. A signal to one worker stops all. If a worker dies, the others end
    with a ConnectionError; after a restart all resume from the last checkpoint. A process that trains with others must
    call `train` before it uses TensorFlow for anything else.

    Args:
        config: Settings of the run.
        progress: Function `(step, steps, loss)`, called after each step with the epoch's mean loss so far.

    Returns:
        Path of the best weights, or of the last ones without validation.

    Raises:
        ValueError: If the settings, the data or the folder are not consistent, or another process trains in the folder.
            The message explains which.
        ArithmeticError: If the loss spiked too many times in a row, or the weights are not finite.
        OSError: If a file cannot be written; the previous checkpoint stays.
        ConnectionError: If another worker did not connect, was lost, or ended with an error.
        Stopped: If a signal stopped the run.
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
        loop = build_loop(model, config)
    with run.held() if workers.is_chief else contextlib.nullcontext():
        if workers.is_chief:
            run.open(config, workers.count)
        check_folder(workers, run)
        session = _Session(config, run, loop, batches, validation, progress, workers)
        with _stop_on_signals(session):
            while session.progress.step < config.steps and not session.agree_to_stop():
                session.run_epoch()
            workers.any(False)  # waits until the chief has written the last checkpoint
    if session.progress.step < config.steps:
        logger.warning("Stopped at step %d of %d.", session.progress.step, config.steps)
        raise Stopped(0)
    return run.best if run.best.exists() else run.last


def open_images(config: TrainConfig, with_validation: bool = True) -> tuple[ImagePairs, ImagePairs | None]:
    """Returns the images for training and those for validation.

    Args:
        config: Settings of the run.
        with_validation: Boolean, whether to open the latter, too.

    Raises:
        ValueError: If they cannot be read or do not match. The message names the file.
    """
    validation = _open_validation(config) if with_validation else None
    if validation:
        check_validation(validation)
    images = _open_folder(config, config.hr, config.lr) if config.hr else _open_div2k(config, "train")
    if config.skip_small:
        fitting = images.at_least(config.patch_size)
        logger.info(
            "Skipping %d of %d images, which are smaller than a patch.", len(images) - len(fitting), len(images)
        )
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
            "`div2k` must be the folder of DIV2K's images, of its zips, or TFDS's. "
            f"Received: {folder}, which is not a folder."
        )
    zips = folder if any(folder.glob("DIV2K_*.zip")) else None
    return div2k_pairs(config.scales, split, folder, degradation=config.degradation, manual_dir=zips)


def build_model(config: TrainConfig, warm_start: bool = True) -> EDSR | MDSR:
    """Returns the model of `config`, compiled with its recipe.

    Args:
        config: Settings of the run.
        warm_start: Boolean, whether to copy the weights of `config.init_from`; not for a resumed run.

    Raises:
        ValueError: If the settings are not valid for the model, or `config.init_from` does not match it.
    """
    sizes = {
        "num_blocks": config.num_blocks,
        "filters": config.filters,
        "residual_scaling": config.residual_scaling,
        "dtype": config.precision,
    }
    model = EDSR(config.scale, **sizes) if config.model == "edsr" else MDSR(config.scale, **sizes)
    if config.init_from and warm_start:
        missed = start_from(config.init_from, model)
        taken = f"copied all except {', '.join(missed)}" if missed else "copied all"
        logger.info("Weights of %s: %s.", config.init_from, taken)
    model.compile(
        _optimizer(config),
        keras.losses.MeanAbsoluteError(),
    )
    return model


def build_loop(model: EDSR | MDSR, config: TrainConfig) -> TrainingLoop:
    """Returns the loop that trains the model of `config`."""
    guard = LossSpikeGuard(config.loss_spike_factor) if config.loss_spike_factor else None
    average = WeightAverage(model, config.average) if config.average else None
    return TrainingLoop(model, guard, average)


def fit_tails(model: EDSR | MDSR, images: ImagePairs, config: TrainConfig) -> None:
    """Fits the upsampler and the last convolution of each scale to patches of the training images.

    Args:
        model: The model, with a trained body.
        images: The training images.
        config: Settings of the run; its patch size and seed determine the patches.
    """
    for scale in config.scales:
        sampler = PatchSampler(images, scale, patch_size=config.patch_size, augment=False, seed=config.seed)
        left = fit_tail(model, sampler.pairs_of(FIT_BATCHES), scale)
        logger.info(
            "Fitted the upsampler of x%d: the remaining error is %.2f gray levels (root mean square).", scale, left
        )


def _optimizer(config):
    # The halving is a schedule, too, not `HalvingAdam`: nothing assigns the rate here, and `HalvingAdam` has one more
    # variable than the checkpoints of earlier versions.
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


class _Session:
    """One call of `train`: the model, its progress, and the work around each epoch."""

    def __init__(self, config, run, loop, batches, validation, report, workers):
        self.report = report
        self.config = config
        self.run = run
        self.loop = loop
        self.batches = batches
        # The validated and saved model is float32 for every precision, and has the average of the weights if there is
        # one.
        self.saved = type(loop.model).from_config({**loop.model.get_config(), "dtype": "float32"})
        self.validation = validation
        self.board = Board(run.logs)
        self.workers = workers
        self.asked_to_stop = False
        self.progress = run.load(loop.variables, mend=workers.is_chief)
        if self.progress.step:
            logger.info("Resuming at step %d of %d.", self.progress.step, config.steps)

    def agree_to_stop(self):
        """Whether any worker received a signal: all stop after the same step."""
        return self.workers.any(self.asked_to_stop)

    # === One epoch ===

    def run_epoch(self):
        every, start = self.config.checkpoint_every, self.progress.step
        end = min((start // every + 1) * every, self.config.steps)
        began = time.perf_counter()
        if start % every == 0:  # in the middle of an epoch the metrics go on from the checkpoint
            self.loop.reset()
        self.loop.run(self.batches.stream(start, end - start), self.after_step)
        rate = (self.progress.step - start) * self.config.batch_size / (time.perf_counter() - began)
        arrays = {
            group: [keras.ops.convert_to_numpy(variable) for variable in variables]
            for group, variables in self.loop.variables.items()
        }
        if not all(np.isfinite(weight).all() for weight in arrays["weights"]):
            raise ArithmeticError(
                f"The weights are not finite after step {self.progress.step}: training has diverged. Earlier files are "
                "unchanged. Lower the learning rate, clip the gradients, or skip loss spikes."
            )
        if not self.workers.is_chief:
            return
        if self.progress.step == end:
            self._end_epoch(self.loop.results(), rate)
        self.run.save(arrays, self.progress)

    def _end_epoch(self, logs, images_per_second):
        self._update_saved()
        row = {
            "step": self.progress.step,
            **logs,
            "learning_rate": float(keras.ops.convert_to_numpy(self.loop.model.optimizer.learning_rate)),
        }
        if self.loop.guard:
            row["skipped_steps"] = int(keras.ops.convert_to_numpy(self.loop.guard.skipped))
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
        average = self.loop.average
        weights = average.averages if average else self.loop.model.trainable_variables
        for target, weight in zip(self.saved.trainable_variables, weights, strict=True):
            target.assign(weight)

    def _save_weights(self, row):
        score = row.get("val_psnr")
        if score is not None and (self.progress.best is None or score > self.progress.best):
            self.progress.best = score
            _save_model(self.saved, self.run.best)
        _save_model(self.saved, self.run.last)

    # === One step ===

    def after_step(self):
        """Notes a step; returns whether to stop after it."""
        self.progress.step += 1
        if self.loop.guard:
            self.loop.guard.check()
        if self.report:
            self.report(self.progress.step, self.config.steps, self.loop.results()["loss"])
        if self.agree_to_stop():
            self.asked_to_stop = True  # on all workers
        return self.asked_to_stop


def _save_model(model, path):
    """Writes a .keras file atomically; Keras itself writes to a name, not to an open file."""
    with atomic_path(path, sync=True) as part:
        model.save(part)


def _describe(row, steps):
    values = ", ".join(f"{name} {value:.4g}" for name, value in row.items() if name != "step")
    return f"step {row['step']}/{steps}: {values}"


@contextlib.contextmanager
def _stop_on_signals(session):
    """Lets SIGINT and SIGTERM stop the session after the current step, while the block runs."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread can handle signals
        return

    def stop(signum, frame):
        session.asked_to_stop = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
