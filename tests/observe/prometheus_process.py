"""A real Prometheus for tests, and the questions that they put to it."""

import json
import math
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from dashboards.expressions import filled_in

ROOT = Path(__file__).parents[2]
PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")
SILENCE_S_MAX = 40.0

needs_prometheus = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None,
    reason="needs Prometheus and promtool: apt-get install prometheus",
)


def promtool(*arguments):
    """Run promtool; return its exit status and all it said."""
    done = subprocess.run(
        [PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def scraping(directory, target):
    """Run Prometheus with the project's own configuration, but quicker and on other ports."""
    config = yaml.safe_load((ROOT / "dashboards" / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "300ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(ROOT / "dashboards" / name) for name in config["rule_files"]]
    center, hosts = config["scrape_configs"]
    center["static_configs"][0]["targets"] = [target]
    hosts["http_sd_configs"][0] |= {"url": f"http://{target}/sd", "refresh_interval": "1s"}
    with serving(directory, directory / "data", config) as url:
        yield url


@contextmanager
def serving(directory, data, config):
    """Run Prometheus on a directory of data; yield its address."""
    path, log_path = directory / "prometheus.yml", directory / "prometheus.log"
    path.write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    with log_path.open("w") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={path}",
                f"--storage.tsdb.path={data}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address={address}",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_ready(f"http://{address}", process, log_path)
            yield f"http://{address}"
        finally:
            process.terminate()
            process.wait(timeout=20)


def _wait_until_ready(url, process, log):
    until = time.monotonic() + SILENCE_S_MAX
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(log.read_text())


def answer(url, text, *, at_s=None):
    """The result of an instant query, as (labels, value), now or at a Unix time."""
    asked = {"query": filled_in(text)} | ({} if at_s is None else {"time": at_s})
    try:
        query = urllib.parse.urlencode(asked)
        with urllib.request.urlopen(f"{url}/api/v1/query?{query}", timeout=10) as reply:
            result = json.load(reply)["data"]["result"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{text}: {error.read().decode()}") from error
    return [(sample["metric"], float(sample["value"][1])) for sample in result]


def until(true):
    """Ask until there is an answer; return it."""
    end = time.monotonic() + SILENCE_S_MAX
    while time.monotonic() < end:
        if found := true():
            return found
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def has_data(url, expression):
    """Whether an expression gives at least one number now."""
    return any(not math.isnan(value) for _, value in answer(url, expression.text))


def until_all_have_data(url, expressions, feed, *, silence_s_max=SILENCE_S_MAX):
    """Feed and ask until nothing is left to ask; return what had no data for so long."""
    left, heard_s = list(expressions), time.monotonic()
    while left and time.monotonic() - heard_s < silence_s_max:
        feed()
        still = [one for one in left if not has_data(url, one)]
        if len(still) < len(left):
            heard_s = time.monotonic()
        left = still
        time.sleep(0.1)
    return [one.where for one in left]
