"""Wait on a node of the lab until its Ray knows as many nodes as there are.

python -m tests.netlab.await_nodes ADDRESS COUNT SECONDS
"""

import sys
import time

import ray


def main(address: str, count: int, wait_s_max: float) -> int:
    """Return 0 once `count` nodes are alive, 1 if that does not come."""
    ray.init(address=address, log_to_driver=False)
    end = time.monotonic() + wait_s_max
    while (alive := sum(node["Alive"] for node in ray.nodes())) < count:
        if time.monotonic() > end:
            print(f"{alive} of {count} nodes are alive", file=sys.stderr)
            return 1
        time.sleep(0.1)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
