"""Live through histories of the registry until told to stop: `python -m tests.fuzz.registry [--seed N] [--steps N]`.

Prints the seed of each history in which the registry ends otherwise than ECS, which `--seed N --count 1` shows again.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import time

from tests.support.control_plane import aws


def main() -> int:
    """Run histories; return 1 when one went wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.registry", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first one")
    parser.add_argument("--steps", type=int, default=40, help="things that happen in a history")
    parser.add_argument("--count", type=int, help="how many histories; without it until Ctrl-C")
    options = parser.parse_args()
    os.environ.update(aws.ENVIRONMENT)
    # Only here: botocore reads the environment when it is loaded.
    from tests.support.control_plane.histories import World

    began, wrong, run = time.monotonic(), 0, 0
    last = None if options.count is None else options.seed + options.count
    try:
        for seed in itertools.count(options.seed):
            if seed == last:
                break
            try:
                World().run(seed, options.steps)
            except Exception as error:
                wrong += 1
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
            run += 1
    except KeyboardInterrupt:
        pass
    print(f"{run} histories in {time.monotonic() - began:.0f} s, {wrong} went wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
