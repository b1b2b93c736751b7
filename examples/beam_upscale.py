"""Upscales the images of a file pattern with Apache Beam, on any number of workers and any file system of Beam.

    pip install 'keras-edsr[beam,ncnn]'
    python examples/beam_upscale.py --input 'photos/**.jpg' --output upscaled --model edsr_compact_x2

The program writes to OUTPUT: the images, in their tree below the part of the pattern without wildcards;
`manifest.jsonl`, with a line for each existing image (source, target, bytes, whether this run wrote it);
`dead_letter.jsonl`, with a line and the reason for each image that failed; and `settings.json`. Each image equals the
result of `keras-edsr upscale` and is an atomic write. After an interruption, the same command makes only the missing
images. The exit status is 1 if there are dead letters.

--help lists the program's options; all others are Beam's. With several processes on this machine, each with one core:

    OMP_NUM_THREADS=1 python examples/beam_upscale.py … --direct_num_workers 2 --direct_running_mode multi_processing

48 photographs of 481x321, edsr_compact_x2 by ncnn, took 34.6 and 34.1 s with one worker, 21.5 and 21.9 s with two
(1.6 x), of which 2.3 and 2.6 s are the start (two AMD EPYC cores, 2026-11-25).

Flink and Dataflow (not run here; the workers need an image with Python, keras_edsr and this file's packages):

    python examples/beam_upscale.py --input 's3://photos/**.jpg' --output s3://upscaled --model edsr_compact_x2 \
        --runner FlinkRunner --flink_master flink:8081 --parallelism 16 --environment_type DOCKER \
        --environment_config registry.example/keras-edsr-beam
    python examples/beam_upscale.py --input 'gs://photos/**.jpg' --output gs://upscaled --model edsr_compact_x2 \
        --runner DataflowRunner --project PROJECT --region europe-west4 --temp_location gs://upscaled/tmp \
        --sdk_container_image registry.example/keras-edsr-beam --experiments use_runner_v2

tests/examples/test_beam_upscale.py runs it, in one process and in two. The extra [beam] needs protobuf 6 and Pillow 12,
which TensorFlow 2.21 also supports. With the runtime ncnn (`auto` selects it if it is installed and TensorFlow has no
GPU), workers do not import TensorFlow.
"""

import argparse
import contextlib
import hashlib
import json
import posixpath
import re
import sys
import tempfile
import time
import uuid
from pathlib import Path

import apache_beam as beam
from apache_beam.io import fileio
from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared

from keras_edsr.image_io import READ_SUFFIXES, SUFFIXES

DEAD = "dead letters"


def main(arguments=None):
    """Runs the pipeline and prints the counts of its results; returns the exit status."""
    args, beam_arguments = parse(arguments)
    check_settings(args)
    options = PipelineOptions(beam_arguments, save_main_session=False)
    pipeline = beam.Pipeline(options=options)
    build(pipeline, args)
    result = pipeline.run()
    result.wait_until_finish()
    counts = {name: count(result, name) for name in ("written", "present", DEAD)}
    remove_parts(args.output)
    print(json.dumps(counts))
    if not any(counts.values()):
        print(f"No images to read: no file that matches {args.input} is an image.", file=sys.stderr)
    return 0 if counts[DEAD] == 0 and any(counts.values()) else 1


def parse(arguments):
    """Returns the options of this program, and those of Beam."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True, help="pattern of files, such as gs://photos/**.jpg; quote it")
    parser.add_argument("--output", required=True, help="folder to write")
    parser.add_argument("--model", required=True, help="preset or model file that each worker can read")
    parser.add_argument("--scale", type=float, help="scale, required if the model has several")
    parser.add_argument(
        "--suffix", default="", help="text to add to the names: .png makes a.png of a.jpg, _x2 makes a_x2.jpg"
    )
    parser.add_argument("--self-ensemble", action="store_true")
    parser.add_argument("--runtime", choices=("auto", "tensorflow", "ncnn"), default="auto")
    args, rest = parser.parse_known_args(arguments)
    args.input, args.output = absolute(args.input), absolute(args.output)
    return args, rest


def absolute(path):
    """Returns a path that is independent of a worker's folder; paths of other file systems stay unchanged."""
    return path if "://" in path else str(Path(path).absolute())


def build(pipeline, args):
    """Adds the steps to the pipeline; returns the lines of the manifest and the dead letters."""
    root = args.input[: re.search(r"[*?\[{]|$", args.input).start()].rpartition("/")[0]
    done = (
        pipeline
        | "Match" >> fileio.MatchFiles(args.input, fileio.EmptyMatchTreatment.ALLOW)
        | "Leave out" >> beam.Filter(is_source, args.output)
        | "Name" >> beam.Map(lambda file: (target_of(file.path, root, args.output, args.suffix), file.path))
        | "Group" >> beam.GroupByKey()  # finds sources of one name, and distributes the files over the workers
        | "Upscale" >> beam.ParDo(Upscale(vars(args))).with_outputs(DEAD, main="done")
    )
    for name, lines in {"manifest": done["done"], "dead_letter": done[DEAD]}.items():
        lines | f"Write {name}" >> beam.io.WriteToText(
            f"{args.output}/{name}", file_name_suffix=".jsonl", shard_name_template=""
        )
    return done["done"], done[DEAD]


def is_source(file, output):
    """Whether a file is an image that no earlier run wrote."""
    return posixpath.splitext(file.path)[1].lower() in READ_SUFFIXES and not file.path.startswith(f"{output}/")


def target_of(source, root, output, suffix):
    """Returns where the result of `source` goes: its place below `root`, now below `output`."""
    stem, kind = posixpath.splitext(source[len(root) :].lstrip("/"))
    text, new_kind = posixpath.splitext(f"a{suffix}")
    if new_kind.lower() not in SUFFIXES:
        text, new_kind = f"a{suffix}", kind
    return f"{output}/{stem}{text[1:]}{new_kind}"


class Upscale(beam.DoFn):
    """Upscales (target, [source]) with a model that all threads of a worker share; yields lines of JSON."""

    def __init__(self, args):
        self.args = args
        self.shared = Shared()

    def setup(self):
        """Opens the model once in each process."""
        self.model = self.shared.acquire(self._open)

    def _open(self):
        from keras_edsr.runtimes import open_runtime

        return open_runtime(self.args["model"], self.args["runtime"])

    def process(self, element):
        """Yields the line of the manifest, or the dead letters."""
        target, sources = element[0], sorted(element[1])
        if len(sources) > 1:
            reason = f"Several inputs would become {target}: {', '.join(sources)}. Upscale them separately."
            yield from (dead(source, reason) for source in sources)
            return
        [source] = sources
        began = time.monotonic()
        if FileSystems.exists(target):
            yield line("present", source, target)
            return
        try:
            with tempfile.TemporaryDirectory() as folder:
                result = self._upscale(source, Path(folder), posixpath.splitext(target)[1])
                data = result.read_bytes()
        except ImageError as error:
            yield dead(source, str(error))
            return
        write_whole(self.args["output"], target, data)  # an error here comes from the file system: the runner retries
        Metrics.distribution("upscale", "milliseconds").update(int(1000 * (time.monotonic() - began)))
        yield line("written", source, target)

    def _upscale(self, source, folder, kind):
        """Returns the path of the result, made in `folder` of a copy of the source."""
        from keras_edsr.inference import upscale_files

        copy, result = folder / f"in{posixpath.splitext(source)[1]}", folder / f"out{kind}"
        try:
            with FileSystems.open(source) as file:
                copy.write_bytes(file.read())
        except (OSError, BeamIOError) as error:
            raise ImageError(f"Cannot read {source}: {error}") from error
        options = {"self_ensemble": self.args["self_ensemble"]}
        for _, error in upscale_files([(copy, result)], self.model, self.args["scale"], **options):
            raise ImageError(str(error).replace(str(copy), source).replace(str(result), "its result"))
        return result


class ImageError(Exception):
    """An image cannot be upscaled, and a retry would not help."""


def line(status, source, target):
    """Returns a line of the manifest."""
    Metrics.counter("upscale", status).inc()
    size = FileSystems.get_filesystem(target).size(target)
    return json.dumps({"source": source, "target": target, "bytes": size, "status": status})


def dead(source, reason):
    """Returns a dead letter."""
    Metrics.counter("upscale", DEAD).inc()
    return beam.pvalue.TaggedOutput(DEAD, json.dumps({"source": source, "reason": " ".join(reason.split())}))


# === Files ===


def write_whole(output, target, data):
    """Writes a file atomically, under another name first, so that a killed worker leaves no partial file."""
    part = f"{output}/.parts/{uuid.uuid4().hex}"
    with FileSystems.create(part) as file:
        file.write(data)
    with contextlib.suppress(OSError, BeamIOError):  # it exists, or its file system has no folders
        FileSystems.mkdirs(posixpath.dirname(target))
    FileSystems.rename([part], [target])


def remove_parts(output):
    """Removes partial files of killed workers or an earlier run, of this program and of Beam."""
    [found] = FileSystems.match([f"{output}/beam-temp-*/*"])
    folders = {posixpath.dirname(file.path) for file in found.metadata_list} | {f"{output}/.parts"}
    FileSystems.delete([folder for folder in sorted(folders) if FileSystems.exists(folder)])


def check_settings(args):
    """Stops the program if OUTPUT has images with other settings; otherwise records the settings."""
    model = Path(args.model)
    settings = {
        "model": args.model,
        "sha256": hashlib.sha256(model.read_bytes()).hexdigest() if model.is_file() else None,
        "scale": args.scale,
        "self_ensemble": args.self_ensemble,
        "runtime": args.runtime,
    }
    path = f"{args.output}/settings.json"
    if not FileSystems.exists(path):
        write_whole(args.output, path, json.dumps(settings, indent=1).encode())
        return
    with FileSystems.open(path) as file:
        before = json.loads(file.read())
    if before != settings:
        changed = [
            f"{name} {before.get(name)} -> {value}" for name, value in settings.items() if before.get(name) != value
        ]
        sys.exit(f"{args.output} contains images made with other settings: {', '.join(changed)}. Name another folder.")


def count(result, name):
    """Returns a counter of the workers."""
    found = result.metrics().query(MetricsFilter().with_name(name))["counters"]
    return sum(counter.committed or 0 for counter in found)


if __name__ == "__main__":
    sys.exit(main())
