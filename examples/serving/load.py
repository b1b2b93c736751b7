"""How long a server takes when several clients ask at once: a bounded number of requests, of this machine's by default.

python load.py photo.jpg --requests 200 --clients 4 --model edsr_x2

tests/test_serving.py runs it.
"""

import argparse
import itertools
import statistics
import sys
import threading
import time
import urllib.parse
from collections import Counter
from pathlib import Path

from client_rest import upscale

MOST_REQUESTS, MOST_CLIENTS = 10_000, 64
LOOPBACK = {"127.0.0.1", "localhost", "::1"}


def main():
    """Prints how many requests a second, how long they took, and what went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", nargs="+", type=Path, help="PNG or JPEG, sent in turn, one in a request")
    parser.add_argument("--url", default="http://127.0.0.1:8501")
    parser.add_argument("--other-machine", action="store_true", help="allow a --url that is not this machine's")
    parser.add_argument("--model", default="edsr_x2")
    parser.add_argument("--label")
    parser.add_argument("--signature", default="upscale_bytes")
    parser.add_argument("--requests", type=int, default=100, help=f"at most {MOST_REQUESTS}")
    parser.add_argument("--clients", type=int, default=2, help=f"at once, at most {MOST_CLIENTS}")
    args = parser.parse_args()
    if not 1 <= args.requests <= MOST_REQUESTS or not 1 <= args.clients <= MOST_CLIENTS:
        parser.error(f"at most {MOST_REQUESTS} requests by {MOST_CLIENTS} clients")
    if urllib.parse.urlsplit(args.url).hostname not in LOOPBACK and not args.other_machine:
        parser.error(f"{args.url} is not this machine; --other-machine if its owner knows of this test")
    images = [path.read_bytes() for path in args.images]
    options = {"label": args.label, "signature": args.signature}
    seconds, outcomes, duration = run(images, args.url, args.model, args.requests, args.clients, **options)
    print(report(seconds, outcomes, duration))
    sys.exit(0 if set(outcomes) == {"ok"} else 1)


def run(images, url, model, requests, clients, **options):
    """Sends the requests and waits for all.

    Args:
        images: Encoded images, as bytes, sent in turn.
        url: As `client_rest.upscale` takes.
        model: As `client_rest.upscale` takes.
        requests: How many in all.
        clients: How many threads send, each its next when it has its answer.
        **options: As `client_rest.upscale` takes.

    Returns:
        The seconds of each request that was answered, a Counter of outcomes ("ok", or what went wrong), and the
        seconds in all.
    """
    numbers = iter(range(requests))
    seconds, outcomes, lock = [], Counter(), threading.Lock()
    sources = itertools.cycle(images)

    def client():
        while True:
            with lock:
                if next(numbers, None) is None:
                    return
                image = next(sources)
            start = time.perf_counter()
            try:
                [(_, outcome)] = upscale([image], url, model, attempts=1, **options)
            except OSError as error:
                outcome = str(error)
            with lock:
                outcomes[outcome] += 1
                if outcome == "ok":
                    seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seconds, outcomes, time.perf_counter() - start


def report(seconds, outcomes, duration):
    """Returns the result as text, the quantiles of the time in milliseconds."""
    lines = [f"{outcomes['ok']} of {outcomes.total()} in {duration:.1f} s: {outcomes['ok'] / duration:.2f} a second"]
    if len(seconds) > 1:
        percent = statistics.quantiles(seconds, n=100, method="inclusive")
        lines.append("  ".join(f"p{p} {1000 * percent[p - 1]:.0f} ms" for p in (50, 90, 99)))
    lines += [f"{count} x {outcome}" for outcome, count in outcomes.most_common() if outcome != "ok"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
