"""inference/video.py: frames, timestamps and every other stream, against files that PyAV writes here."""

import hashlib
from fractions import Fraction

import numpy as np
import pytest

av = pytest.importorskip("av", reason="needs PyAV: pip install 'keras-edsr[video]'")
pytest.importorskip("ncnn", reason="needs ncnn: pip install 'keras-edsr[ncnn]'")

from cli_calls import run  # noqa: E402

import keras_edsr  # noqa: E402
from keras_edsr.inference.video import upscale_video  # noqa: E402

MODEL = "edsr_compact_x2"
LUMA = np.array([0.299, 0.587, 0.114])
BASE = Fraction(1, 1000)
TIMES = (0, 40, 80, 200, 240, 260, 400, 440)  # milliseconds: the rate varies


def pictures(count=8, height=32, width=48, repeat=()):
    """Coarse colors that move; `repeat` names frames that equal the one before."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (height // 8, width // 8, 3)).astype(np.uint8)
    base = coarse.repeat(8, 0).repeat(8, 1)
    shifts = np.cumsum([0 if i in repeat else 3 for i in range(count)])
    return [np.roll(base, shift, 1) for shift in shifts]


def write(path, frames, *, codec="libx264", pix_fmt="yuv420p", audio=True, subtitles=None, rotation=0, **context):
    """Writes a video with a tone, a chapter, and if asked subtitles."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.time_base = pix_fmt, BASE
        stream.codec_context.time_base = BASE
        stream.codec_context.options = {"crf": "2"} if codec != "ffv1" else {}
        for name, value in context.items():
            setattr(stream.codec_context, name, value)
        if rotation:
            stream.set_display_rotation(rotation)
        tone = container.add_stream("aac", rate=44100) if audio else None
        lines = av.open(str(subtitles)) if subtitles else None
        text = container.add_stream_from_template(lines.streams[0]) if lines else None
        container.metadata["title"] = "A title"
        container.set_chapters([{"id": 1, "start": 0, "end": 200, "time_base": BASE, "metadata": {"title": "One"}}])
        for image, time in zip(frames, TIMES, strict=False):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = time, BASE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            wave = np.sin(np.arange(22050) / 20).astype(np.float32)[None]
            for at in range(0, wave.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, at : at + 1024]), "fltp", "mono")
                frame.sample_rate, frame.pts, frame.time_base = 44100, at, Fraction(1, 44100)
                container.mux(tone.encode(frame))
            container.mux(tone.encode(None))
        if lines:
            for packet in lines.demux():
                if packet.dts is not None:
                    packet.stream = text
                    container.mux(packet)
            lines.close()
    return path


def read(path):
    """Returns the frames as RGB, their times, and the bytes of every other stream's packets."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    with av.open(str(path)) as container:
        others = [stream for stream in container.streams if stream.type != "video"]
        digest = {stream.type: hashlib.md5() for stream in others}
        for packet in container.demux(others) if others else ():
            digest[packet.stream.type].update(bytes(packet))
    return frames, [frame.time for frame in frames], {kind: value.hexdigest() for kind, value in digest.items()}


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other.astype(float)) ** 2))


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_times_sound_chapters_and_pixels_are_kept(tmp_path, suffix):
    source = write(tmp_path / f"in{suffix}", pictures())
    target = tmp_path / f"out{suffix}"
    shown = []
    count = upscale_video(source, target, MODEL, crf=4, runtime="ncnn", progress=lambda *done: shown.append(done))
    before, times, streams = read(source)
    after, new_times, new_streams = read(target)
    assert count == len(after) == len(before) == len(shown)
    assert new_times == pytest.approx(times, abs=1e-3)
    assert new_streams == streams
    for small, large in zip(before, after, strict=True):
        wanted = keras_edsr.upscale(MODEL, small.to_ndarray(format="rgb24"), runtime="ncnn")
        # Of the luma: between the colors lie two subsamplings of the chroma.
        assert psnr(large.to_ndarray(format="rgb24") @ LUMA, wanted @ LUMA) > 32
    with av.open(str(target)) as container:
        assert container.metadata["title"] == "A title"
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["One"]


def test_without_loss_the_frames_are_those_of_upscale(tmp_path):
    source = write(tmp_path / "in.mkv", pictures(3), codec="ffv1", pix_fmt="yuv444p", audio=False)
    target = tmp_path / "out.mkv"
    upscale_video(source, target, MODEL, codec="ffv1", runtime="ncnn")
    for small, large in zip(read(source)[0], read(target)[0], strict=True):
        wanted = keras_edsr.upscale(MODEL, small.to_ndarray(format="rgb24"), runtime="ncnn").astype(int)
        difference = np.abs(large.to_ndarray(format="rgb24").astype(int) - wanted)
        assert difference.max() <= 4  # the matrix is applied in integers, there and back
        assert difference.mean() < 1


def test_subtitles_are_copied(tmp_path):
    (tmp_path / "in.srt").write_text("1\n00:00:00,040 --> 00:00:00,240\nHello\n")
    source = write(tmp_path / "in.mkv", pictures(), subtitles=tmp_path / "in.srt")
    upscale_video(source, tmp_path / "out.mkv", MODEL, runtime="ncnn")
    assert read(tmp_path / "out.mkv")[2] == read(source)[2]
    assert set(read(source)[2]) == {"audio", "subtitle"}


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("color_range", [1, 2])
def test_matrix_and_range_are_kept_and_used(tmp_path, matrix, color_range):
    source = write(tmp_path / "in.mkv", pictures(2), audio=False, colorspace=matrix, color_range=color_range)
    upscale_video(source, tmp_path / "out.mkv", MODEL, crf=2, runtime="ncnn")
    (small, *_), (large, *_) = read(source)[0], read(tmp_path / "out.mkv")[0]
    assert (int(large.colorspace), int(large.color_range)) == (matrix, color_range)
    # The mean color of the samples is that of the source, whatever the matrix.
    for plane in range(3):
        means = [
            np.frombuffer(frame.planes[plane], np.uint8).reshape(-1, frame.planes[plane].line_size)
            for frame in (small, large)
        ]
        widths = [frame.planes[plane].width for frame in (small, large)]
        one, other = (values[:, :width].mean() for values, width in zip(means, widths, strict=True))
        assert one == pytest.approx(other, abs=3)


def test_ten_bits_stay_ten_bits(tmp_path):
    source = write(tmp_path / "in.mkv", pictures(2), codec="ffv1", pix_fmt="yuv420p10le", audio=False)
    upscale_video(source, tmp_path / "out.mkv", MODEL, codec="ffv1", runtime="ncnn")
    assert read(tmp_path / "out.mkv")[0][0].format.name == "yuv420p10le"


def test_rotation_and_sample_aspect_ratio_are_kept(tmp_path):
    source = write(tmp_path / "in.mp4", pictures(2), audio=False, rotation=90, sample_aspect_ratio=Fraction(4, 3))
    upscale_video(source, tmp_path / "out.mp4", MODEL, runtime="ncnn")
    before, after = read(source)[0][0], read(tmp_path / "out.mp4")[0][0]
    assert before.rotation == after.rotation != 0
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(4, 3)


def test_a_part_begins_at_zero(tmp_path):
    source = write(tmp_path / "in.mp4", pictures())
    upscale_video(source, tmp_path / "out.mp4", MODEL, start=0.08, duration=0.2, runtime="ncnn")
    assert read(tmp_path / "out.mp4")[1] == pytest.approx([0, 0.12, 0.16, 0.18], abs=2e-3)


def test_a_frame_like_the_one_before_is_not_computed_again(tmp_path, monkeypatch):
    source = write(tmp_path / "in.mkv", pictures(4, repeat=(1, 2)), codec="ffv1", pix_fmt="yuv444p", audio=False)
    calls = []
    from keras_edsr.inference import video

    def counted(model, image, **options):
        calls.append(image.shape)
        return keras_edsr.upscale(model, image, **options)

    monkeypatch.setattr(video, "upscale", counted)
    assert upscale_video(source, tmp_path / "out.mkv", MODEL, codec="ffv1", runtime="ncnn") == 4
    assert len(calls) == 2


def test_odd_sides_become_even(tmp_path):
    source = write(tmp_path / "in.mp4", pictures(2), audio=False)
    upscale_video(source, tmp_path / "out.mp4", MODEL, fit=(75, 75), runtime="ncnn")
    frame = read(tmp_path / "out.mp4")[0][0]
    assert (frame.width, frame.height) == (74, 50)


def test_an_interlaced_video_is_refused_and_leaves_nothing(tmp_path):
    source = tmp_path / "in.mpg"
    with av.open(str(source), "w") as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        stream.codec_context.options = {"flags": "+ildct+ilme", "top": "1"}
        for i, image in enumerate(pictures(4)):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    if not read(source)[0][0].interlaced_frame:
        pytest.skip("this FFmpeg does not mark the frames")
    with pytest.raises(ValueError, match=r"interlaced.*bwdif"):
        upscale_video(source, tmp_path / "out.mp4", MODEL, runtime="ncnn")
    assert [path.name for path in tmp_path.iterdir()] == ["in.mpg"]


def test_an_error_in_the_middle_leaves_nothing(tmp_path):
    source = write(tmp_path / "in.mp4", pictures())

    def fail(done, total):
        if done == 3:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        upscale_video(source, tmp_path / "out.mp4", MODEL, runtime="ncnn", progress=fail)
    assert [path.name for path in tmp_path.iterdir()] == ["in.mp4"]


def test_what_cannot_be_done_is_said_before(tmp_path):
    source = write(tmp_path / "in.mp4", pictures(2))
    with pytest.raises(ValueError, match="must end in"):
        upscale_video(source, tmp_path / "out.gif", MODEL)
    with pytest.raises(ValueError, match=r"\.mp4 can store"):
        upscale_video(source, tmp_path / "out.mp4", MODEL, codec="ffv1")
    with pytest.raises(ValueError, match="there is no such file"):
        upscale_video(tmp_path / "no.mp4", tmp_path / "out.mp4", MODEL)
    (tmp_path / "bad.mp4").write_bytes(b"not a video" * 100)
    with pytest.raises(ValueError, match=r"bad\.mp4 cannot be upscaled"):
        upscale_video(tmp_path / "bad.mp4", tmp_path / "out.mp4", MODEL, runtime="ncnn")
    with pytest.raises(ValueError, match="already exists"):
        upscale_video(source, source, MODEL)


def test_the_command_takes_videos_and_folders_of_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clips").mkdir()
    write(tmp_path / "clips" / "a.mp4", pictures(2))
    result = run("upscale", "clips/a.mp4", "-o", "big.mp4", "--runtime", "ncnn", "--crf", "20")
    assert result.exit_code == 0, result.output
    assert read(tmp_path / "big.mp4")[0][0].width == 96
    result = run("upscale", "clips", "-o", "out/", "--suffix", "_x2.mkv", "--runtime", "ncnn")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "out" / "a_x2.mkv").exists()
    result = run("upscale", "clips/a.mp4", "-o", "big.mp4", "--quality", "90")
    assert result.exit_code == 2
    (tmp_path / "clips" / "b.mp4").write_bytes(b"no")
    result = run("upscale", "clips", "-o", "out2/", "--runtime", "ncnn")
    assert result.exit_code == 1
    assert "1 of 2 videos failed" in result.output
