"""Upscales images by TensorFlow Serving over REST, with nothing but Python's own library.

python client_rest.py photo.jpg more/*.png -o upscaled/ --model edsr_x2 --label stable

tests/test_serving.py runs it.
"""

import argparse
import base64
import http.client
import json
import random
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

# What may be better the next time: a queue that is full, a server that is starting.
TRY_AGAIN = {429, 503}
LONGEST_WAIT = 30.0  # seconds


def main():
    """Sends the files in requests of a few, and writes the PNG of each; exits with 1 if one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True, help="folder; files that exist are left alone")
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--model", default="edsr_x2")
    parser.add_argument("--label", help="version label, such as stable")
    parser.add_argument("--signature", default="upscale_bytes", help="of an MDSR: x2_upscale_bytes, ...")
    parser.add_argument("--together", type=int, default=4, help="images in one request")
    args = parser.parse_args()
    args.output.mkdir(parents=True, exist_ok=True)
    failed = 0
    for start in range(0, len(args.images), args.together):
        paths = args.images[start : start + args.together]
        try:
            options = {"label": args.label, "signature": args.signature}
            results = upscale([path.read_bytes() for path in paths], args.url, args.model, **options)
        except OSError as error:
            results = [(b"", str(error))] * len(paths)
        for path, (png, status) in zip(paths, results, strict=True):
            failed += not save(png, status, path, args.output)
    sys.exit(1 if failed else 0)


def upscale(images, url, model, *, label=None, signature="upscale_bytes", attempts=6, timeout=120.0, sleep=time.sleep):
    """Sends encoded images as one request and tries again where that may help.

    Args:
        images: PNG or JPEG files, as bytes.
        url: Such as "http://127.0.0.1:8501".
        model: Name of the model in the server.
        label: Version label; None for the newest version.
        signature: Name of one that takes encoded images.
        attempts: How often to try in all.
        timeout: Seconds to wait for an answer.
        sleep: Function that waits between the attempts.

    Returns:
        For each image the PNG and the status, "ok" or what is wrong with that image.

    Raises:
        OSError: There is no answer, or one that says that the whole request is wrong.
    """
    version = f"/labels/{label}" if label else ""
    body = {
        "signature_name": signature,
        "instances": [{"image_bytes": {"b64": base64.b64encode(image).decode()}} for image in images],
    }
    request = urllib.request.Request(
        f"{url}/v1/models/{model}{version}:predict",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    for attempt in range(1, attempts + 1):
        try:
            with urllib.request.urlopen(request, timeout=timeout) as response:
                predictions = json.load(response)["predictions"]
            return [(base64.b64decode(row["sr_bytes"]["b64"]), row["status"]) for row in predictions]
        except urllib.error.HTTPError as error:
            with error:
                message = f"HTTP {error.code}: {_said(error)}"
            if error.code not in TRY_AGAIN:
                raise OSError(message) from error
        except (OSError, http.client.HTTPException) as error:  # not there, or gone while it answered
            message = str(error)
        if attempt < attempts:
            sleep(wait_before(attempt))
    raise OSError(f"{message} (tried {attempts} times)")


def wait_before(attempt):
    """Seconds: twice as long each time, and never the same, so that clients don't come back all at once."""
    return min(LONGEST_WAIT, 0.5 * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)


def save(png, status, source, folder):
    """Writes a result as a new file; says on stderr why there is none."""
    target = folder / f"{source.stem}.png"
    if status == "ok":
        try:
            with target.open("xb") as file:
                file.write(png)
            print(target)
            return True
        except OSError as error:
            status = str(error)
    print(f"{source}: {status}", file=sys.stderr)
    return False


def _said(error):
    try:
        return json.load(error)["error"]
    except (ValueError, KeyError, TypeError):
        return error.reason


if __name__ == "__main__":
    main()
