"""Upscales videos: the network processes the frames, and all other streams are copied. It needs PyAV."""

import contextlib
import logging
import math
import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files import atomic_path, one_line, why_not_a_file
from ..runtimes import open_runtime
from .image import upscale
from .sizes import Plan, check_size, plan_size

logger = logging.getLogger("keras_edsr")

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".ts", ".mpg", ".mpeg", ".wmv", ".flv")
WRITTEN_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm")

CODECS = ("libx264", "libx265", "libsvtav1", "ffv1")
_CODECS_OF = {".mp4": CODECS[:3], ".mov": CODECS[:2], ".webm": ("libsvtav1",), ".mkv": CODECS}
# Codecs that a container can store, for containers that cannot store all common ones.
_TAKEN = {
    (".webm", "audio"): ("opus", "vorbis"),
    (".webm", "subtitle"): ("webvtt",),
    (".mp4", "subtitle"): ("mov_text",),
    (".mov", "subtitle"): ("mov_text",),
    (".mkv", "subtitle"): ("ass", "ssa", "srt", "subrip", "webvtt", "dvdsub", "dvd_subtitle", "pgssub"),
}
_AHEAD = 4  # frames that wait for the network, and for the encoder
_HD_LINES = 720  # a video without a matrix is read as BT.709 from this height on, else as BT.601, as in players


@dataclass(frozen=True)
class _Look:
    """The meaning of a video's samples, by the numbers of `AVColorSpace` and `AVColorRange`."""

    matrix: int
    is_full_range: bool

    @classmethod
    def of(cls, frame) -> "_Look":
        matrix = int(frame.colorspace)
        if matrix in (2, 3):  # unspecified, reserved
            matrix = 1 if frame.height >= _HD_LINES else 5
        if matrix in (0, 8, 14):
            raise ValueError(f"its color matrix ({frame.colorspace}) is not supported")
        return cls(_MATRICES.get(matrix, matrix), int(frame.color_range) == 2 or frame.format.name.startswith("yuvj"))


_MATRICES = {6: 5, 10: 9}  # SMPTE 170M equals BT.601; constant luminance is read as BT.2020


def upscale_video(
    source: str | os.PathLike,
    target: str | os.PathLike,
    model: Any,
    scale: float | None = None,
    *,
    width: int | None = None,
    height: int | None = None,
    fit: tuple[int, int] | None = None,
    codec: str = "libx264",
    crf: int = 18,
    start: float = 0.0,
    duration: float | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
    runtime: str | None = "auto",
    device: str | None = None,
    **options: Any,
) -> int:
    """Upscales the frames of a video and copies its other streams.

    The result keeps timestamps (and so a variable frame rate), the rotation, the sample aspect ratio, the color matrix
    and range, the bit depth (8 or 10) and the chroma subsampling. Audio, subtitles, attachments and chapters are copied
    without decoding. A frame that equals the previous one is not computed again. Reading, network and encoding run at
    the same time, a few frames apart. The function writes the file atomically.

    Args:
        source: Path of the video.
        target: Path of the result; its suffix, one of `WRITTEN_SUFFIXES`, decides the container.
        model: As `upscale` takes it.
        scale: As `upscale` takes it; sides that must be even for chroma subsampling are rounded down.
        width: As `upscale` takes it.
        height: As `upscale` takes it.
        fit: As `upscale` takes it.
        codec: One of `CODECS`. `ffv1` is lossless and needs an .mkv file.
        crf: Integer from 0 to 63, the constant rate factor of the codec: lower values give better and larger files.
        start: Float, start in seconds.
        duration: Float, duration in seconds. Defaults to the whole video.
        overwrite: Boolean, whether an existing file may be replaced.
        progress: Function `(done, total)` of frames, called after each; an unknown total is None.
        runtime: As `upscale` takes it.
        device: As `upscale` takes it.
        **options: Passed to `upscale`: `tile_size`, `self_ensemble`.

    Returns:
        Number of frames that were written.

    Raises:
        ValueError: If the file cannot be read, has no video or an interlaced one; the target exists or has another
            container's suffix; or an argument is not valid. The message has one line and names the file.
        ModuleNotFoundError: If PyAV is not installed.
    """
    av = _import_av()
    source, target = Path(source), Path(target)
    _check_target(target, codec, overwrite)
    problem = why_not_a_file(source)
    if problem or not source.exists():
        raise ValueError(f"Cannot read {source}: {problem or 'there is no such file'}.")
    opened = open_runtime(model, runtime, device)
    size = {"scale": scale, "width": width, "height": height, "fit": fit}
    check_size(opened.scales, **size)
    try:
        with av.open(str(source)) as given, atomic_path(target) as part:
            job = _Job(av, given, part, codec, crf, Fraction(start).limit_denominator(10**6), duration)
            job.run(lambda image, plan: _through(opened, image, plan, options), opened.scales, size, progress)
            return job.written
    except av.error.FFmpegError as error:
        raise ValueError(f"{source} cannot be upscaled: {one_line(error).lower()}.") from error
    except _RefusedError as error:
        raise ValueError(f"{source} cannot be upscaled: {error}.") from None


class _RefusedError(Exception):
    """The reason why a video cannot be upscaled, in half a line."""


def _import_av() -> Any:
    try:
        import av
    except ImportError as error:
        raise ModuleNotFoundError("Videos need PyAV: pip install 'keras-edsr[video]'.") from error
    return av


def _check_target(target: Path, codec: str, overwrite: bool) -> None:
    suffix = target.suffix.lower()
    if suffix not in WRITTEN_SUFFIXES:
        raise ValueError(f"Cannot write {target}: a video must end in one of {', '.join(WRITTEN_SUFFIXES)}.")
    if codec not in CODECS:
        raise ValueError(f"`codec` must be one of {CODECS}. Received: codec={codec!r}.")
    if codec not in _CODECS_OF[suffix]:
        fitting = ", ".join(_CODECS_OF[suffix])
        raise ValueError(
            f"Cannot write {codec} into {target}: {suffix} can store {fitting}. Choose another codec or suffix."
        )
    if target.exists() and not overwrite:
        raise ValueError(f"Cannot write {target}: it already exists; pass `overwrite` to replace it.")
    if not target.parent.is_dir():
        raise ValueError(f"Cannot write {target}: its folder does not exist.")


def _through(model: Any, image: NDArray, plan: Plan, options: dict[str, Any]) -> NDArray:
    return upscale(model, image, width=plan.width, height=plan.height, **options)


class _Job:
    """One video: a thread reads, the caller's thread runs the network, and a thread encodes."""

    def __init__(self, av, given, part: Path, codec: str, crf: int, start: Fraction, duration: float | None) -> None:
        self.av, self.given, self.part = av, given, part
        self.codec, self.crf = codec, crf
        videos = [s for s in given.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not videos:
            raise _RefusedError("it has no video stream")
        self.video = videos[0]
        self.video.thread_type = "AUTO"
        self.video.thread_count = 0
        self.start, self.end = start, None if duration is None else start + Fraction(duration).limit_denominator(10**6)
        self.written = 0
        self.stopped = threading.Event()
        self.failure: BaseException | None = None

    # === Reading ===

    def read(self, out: queue.Queue) -> None:
        """Puts ("packet", stream, packet) and ("frame", frame) in the order of the file, and None at the end."""
        streams = [s for s in self.given.streams if s is self.video or s.index in self.copied]
        if self.start:
            self.given.seek(math.floor(self.start * 1_000_000), backward=True)
        for packet in self.given.demux(streams):
            if packet.stream is self.video:
                for frame in packet.decode():
                    if self._is_in(frame.pts, frame.time_base):
                        self.put(out, ("frame", frame))
            elif packet.dts is not None and self._is_in(packet.pts, packet.time_base):
                self.put(out, ("packet", packet.stream.index, packet))

    def _is_in(self, pts: int | None, time_base: Fraction) -> bool:
        if pts is None:
            return True
        time = pts * time_base  # below 0 if an audio codec starts early
        return (not self.start or time >= self.start) and (self.end is None or time < self.end)

    # === Writing ===

    def open(self, frame, plan: Plan):
        """Opens the target after the first frame, which determines its format."""
        av, video = self.av, self.video
        container = self.part.suffix.lower()
        target = av.open(
            str(self.part), "w", options={"movflags": "faststart"} if container in (".mp4", ".mov") else {}
        )
        encoder = target.add_stream(self.codec, rate=video.average_rate or 25)
        context = encoder.codec_context
        encoder.width, encoder.height = plan.width, plan.height
        encoder.pix_fmt = self.pix_fmt
        encoder.time_base = context.time_base = video.time_base
        look = _Look.of(frame)
        context.color_range, context.colorspace = frame.color_range, look.matrix
        context.color_primaries, context.color_trc = frame.color_primaries, frame.color_trc
        aspect = video.sample_aspect_ratio
        if aspect:
            # The picture keeps its shape, even if the sides were rounded.
            changed = Fraction(frame.width * plan.height, frame.height * plan.width)
            context.sample_aspect_ratio = Fraction(aspect) * changed if abs(changed - 1) > Fraction(1, 200) else aspect
        context.options = {"crf": str(self.crf)} if self.codec != "ffv1" else {}
        if frame.rotation:
            encoder.set_display_rotation(frame.rotation)
        encoder.metadata.update(video.metadata)
        target.metadata.update(self.given.metadata)
        copies = {}
        for index in self.copied:
            stream = self.given.streams[index]
            copies[index] = target.add_stream_from_template(stream)
            copies[index].metadata.update(stream.metadata)
        if not self.start and self.end is None:
            with contextlib.suppress(ValueError, NotImplementedError):
                target.set_chapters(self.given.chapters())
        return target, encoder, copies

    def write(self, source: queue.Queue) -> None:
        """Encodes frames and copies packets, in the order in which they come."""
        target: Any = None
        encoder: Any = None
        copies: dict[int, Any] = {}
        waiting = []
        try:
            for item in self.take(source):
                if item[0] == "packet":
                    if target is None:
                        waiting.append(item)
                    else:
                        self._copy(target, copies, item)
                    continue
                _, frame, plan, image = item
                if target is None:
                    target, encoder, copies = self.open(frame, plan)
                    for packet in waiting:
                        self._copy(target, copies, packet)
                for packet in encoder.encode(self._to_frame(frame, image)):
                    target.mux(packet)
                self.written += 1
            if target is None:
                raise _RefusedError("the video, or the requested part of it, has no frames")
            for packet in encoder.encode(None):
                target.mux(packet)
        finally:
            if target is not None:
                target.close()

    def _copy(self, target, copies: dict[int, Any], item: tuple) -> None:
        _, index, packet = item
        offset = int(self.start / packet.time_base)
        if offset:
            packet.pts, packet.dts = packet.pts - offset, packet.dts - offset
        packet.stream = copies[index]
        target.mux(packet)

    # === Pixels ===

    def choose_format(self, frame) -> None:
        """Chooses the depth and subsampling of the result."""
        if frame.interlaced_frame:
            raise _RefusedError("it is interlaced: deinterlace it first, for example by ffmpeg -i IN -vf bwdif OUT")
        name = frame.format.name.replace("yuvj", "yuv")
        self.is_deep = any(component.bits > 8 for component in frame.format.components)
        wanted = name if name in _KEPT else "yuv420p10le" if self.is_deep else "yuv420p"
        known = {f.name for f in self.av.Codec(self.codec, "w").video_formats or ()}
        self.pix_fmt = wanted if wanted in known else "yuv420p10le" if self.is_deep else "yuv420p"
        if self.pix_fmt != name:
            logger.warning("%s: %s pixels are written as %s.", Path(self.given.name).name, name, self.pix_fmt)
        self.even = (2 if "420" in self.pix_fmt else 1, 1 if "444" in self.pix_fmt else 2)  # rows, columns

    def plan(self, frame, scales, size) -> Plan:
        plan = plan_size(scales, (frame.height, frame.width), **size)
        rows, columns = self.even
        height, width = plan.height // rows * rows, plan.width // columns * columns
        if (height, width) == (plan.height, plan.width):
            return plan
        return plan_size(scales, (frame.height, frame.width), width=width, height=height)

    def to_rgb(self, frame) -> NDArray:
        """Returns the pixels of a frame as RGB, uint8 or uint16, full range."""
        look = _Look.of(frame)
        rgb = frame.reformat(
            format="rgb48le" if self.is_deep else "rgb24",
            src_colorspace=look.matrix,
            dst_colorspace=look.matrix,
            src_color_range=2 if look.is_full_range else 1,
            dst_color_range=2,
            interpolation=_SWS,
        )
        return rgb.to_ndarray()

    def _to_frame(self, frame, image: NDArray):
        look = _Look.of(frame)
        made = self.av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb48le" if self.is_deep else "rgb24")
        made = made.reformat(
            format=self.pix_fmt,
            src_colorspace=look.matrix,
            dst_colorspace=look.matrix,
            src_color_range=2,
            dst_color_range=2 if look.is_full_range else 1,
            interpolation=_SWS,
        )
        made.time_base = frame.time_base
        if frame.pts is not None:
            made.pts = frame.pts - int(self.start / frame.time_base)
        return made

    # === The three at work ===

    def run(self, network: Callable, scales, size: dict[str, Any], progress: Callable | None) -> None:
        """Runs all three parts; raises the first error of any."""
        self.copied = self._streams_to_copy()
        frames: queue.Queue = queue.Queue(_AHEAD)
        results: queue.Queue = queue.Queue(_AHEAD)
        threads = [self._thread(self.read, frames, closes=frames), self._thread(self.write, results)]
        for thread in threads:
            thread.start()
        last: tuple[NDArray, NDArray] | None = None
        plan, done, total = None, 0, self._count()
        try:
            for item in self.take(frames):
                if item[0] == "frame":
                    frame = item[1]
                    if plan is None:
                        self.choose_format(frame)
                        plan = self.plan(frame, scales, size)
                        shape = (frame.height, frame.width)
                    if (frame.height, frame.width) != shape:
                        raise _RefusedError("its frames change their size")
                    image = self.to_rgb(frame)
                    if last is None or not np.array_equal(image, last[0]):
                        last = (image, network(image, plan))
                    item = ("frame", frame, plan, last[1])
                    done += 1
                self.put(results, item)
                if item[0] == "frame" and progress:
                    progress(done, total)
            self.put(results, None)
            threads[1].join()
        except BaseException as error:
            self.failure = self.failure or error
        finally:
            self.stopped.set()
            for thread in threads:
                thread.join()
        if self.failure is not None:
            raise self.failure

    def _thread(self, work: Callable, *args: Any, closes: queue.Queue | None = None) -> threading.Thread:
        def guarded() -> None:
            try:
                work(*args)
                if closes is not None:
                    self.put(closes, None)
            except _StoppedError:
                pass
            except BaseException as error:
                self.failure = self.failure or error
                self.stopped.set()

        return threading.Thread(target=guarded, daemon=True)

    def put(self, into: queue.Queue, item: Any) -> None:
        """Puts an item, unless another part has failed."""
        while not self.stopped.is_set():
            with contextlib.suppress(queue.Full):
                into.put(item, timeout=0.1)
                return
        raise _StoppedError

    def take(self, source: queue.Queue) -> Iterator[Any]:
        """Yields items until None; stops if another part has failed."""
        while not self.stopped.is_set():
            with contextlib.suppress(queue.Empty):
                item = source.get(timeout=0.1)
                if item is None:
                    return
                yield item
        raise _StoppedError

    def _streams_to_copy(self) -> tuple[int, ...]:
        kept, container = [], self.part.suffix.lower()
        for stream in self.given.streams:
            if stream is self.video:
                continue
            if self._fits(stream, container):
                kept.append(stream.index)
            elif stream.type != "data" or not self.given.chapters():  # MP4 keeps the chapters' titles in one
                name = getattr(getattr(stream, "codec_context", None), "name", None) or stream.type
                logger.warning("Skipping stream %d (%s): %s files cannot store it.", stream.index, name, container)
        return tuple(kept)

    def _fits(self, stream, container: str) -> bool:
        """Whether the container can store a stream without conversion."""
        if stream.type == "attachment":
            return container == ".mkv"
        if stream.type not in ("audio", "subtitle", "video"):
            return False
        taken = _TAKEN.get((container, stream.type))
        return taken is None or stream.codec_context.name in taken

    def _count(self) -> int | None:
        if self.video.frames and not self.start and self.end is None:
            return self.video.frames
        rate, length = self.video.average_rate, self.given.duration
        if not rate or not length:
            return None
        seconds = Fraction(length, 1_000_000) - self.start
        if self.end is not None:
            seconds = min(seconds, self.end - self.start)
        return max(1, round(seconds * rate))


class _StoppedError(Exception):
    """Another part has failed."""


_KEPT = ("yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le")
_SWS = 4 | 0x2000 | 0x40000 | 0x80000  # bicubic chroma, full chroma interpolation, exact rounding, bit-exact
