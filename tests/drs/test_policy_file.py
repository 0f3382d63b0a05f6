"""A policy as a file: defaults where it is silent, every mistake at once where it is wrong."""

from dataclasses import fields
from pathlib import Path

import pytest

from drs import Automation, Policy, Preference
from drs.cost import Calibration
from drs.policy_file import READERS, PolicyMistakes, load_policy, save_policy


def written(tmp_path, text, name="policy.toml") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_every_setting_can_be_told():
    assert {f.name for f in fields(Policy)} == set(READERS)


def test_what_is_not_told_has_its_default(tmp_path):
    assert Policy() == load_policy(written(tmp_path, ""))


def test_toml_and_json_say_the_same(tmp_path):
    expected = Policy(
        migration_threshold=5,
        automation=Automation.MANUAL,
        preference=Preference.EVENER,
        weights={"cpu_mhz": 2.0, "memory_mib": 1.0},
        moves_max=7,
        cost_benefit=False,
        stable_s=60.0,
        calibration=Calibration(commit_s=0.5),
    )
    toml = """
        migration_threshold = 5
        automation = "manual"
        preference = "evener"
        weights = { cpu_mhz = 2, memory_mib = 1 }
        moves_max = 7
        cost_benefit = false
        stable_s = 60
        calibration = { commit_s = 0.5 }
    """
    json = """{"migration_threshold": 5, "automation": "manual", "preference": "evener",
        "weights": {"cpu_mhz": 2, "memory_mib": 1}, "moves_max": 7, "cost_benefit": false,
        "stable_s": 60, "calibration": {"commit_s": 0.5}}"""
    assert expected == load_policy(written(tmp_path, toml))
    assert expected == load_policy(written(tmp_path, json, "policy.json"))


def test_a_calibration_file_lies_beside_the_policy(tmp_path):
    Calibration(commit_s=0.25).save(tmp_path / "measured.json")
    policy = load_policy(written(tmp_path, 'calibration = "measured.json"'))
    assert Calibration(commit_s=0.25) == policy.calibration


def test_every_mistake_is_told_at_once(tmp_path):
    text = """
        treshold = 3
        migration_threshold = "high"
        automation = "sometimes"
        cost_benefit = 1
        stable_s = true
        weights = 3
        calibration = { comit_s = 1 }
    """
    with pytest.raises(PolicyMistakes) as caught:
        load_policy(written(tmp_path, text))
    told = [line.split(":")[0] for line in caught.value.mistakes]
    assert [
        "treshold",
        "migration_threshold",
        "automation",
        "cost_benefit",
        "stable_s",
        "weights",
        "calibration",
    ] == told


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.toml", "migration_threshold = 9"),
        ("a.toml", "= ="),
        ("a.json", "[1]"),
        ("a.json", "{"),
        ("a.toml", 'calibration = "not-there.json"'),
        ("a.toml", "calibration = 3"),
    ],
)
def test_what_is_no_policy_is_refused_with_its_name(tmp_path, name, text):
    with pytest.raises(PolicyMistakes, match=name):
        load_policy(written(tmp_path, text, name))


@pytest.mark.parametrize(
    "policy",
    [
        Policy(),
        Policy(
            migration_threshold=5,
            automation=Automation.MANUAL,
            weights={"cpu": 2.0, "memory": 1.0},
            moves_max=7,
            cost_benefit=False,
            preference=Preference.EVENER,
            calibration=Calibration.of({"commit_s": 0.25}),
        ),
    ],
    ids=["default", "set"],
)
def test_what_is_saved_is_read_back_as_the_same(tmp_path, policy):
    save_policy(policy, tmp_path / "policy.json")
    assert policy == load_policy(tmp_path / "policy.json")


def test_a_policy_is_saved_as_json_alone(tmp_path):
    with pytest.raises(ValueError, match=r"as \.json, not as \.toml"):
        save_policy(Policy(), tmp_path / "policy.toml")
