"""The how-to's nine conditions, each broken in a scenario file and asked of a running Center."""

import pytest

from cluster.inventory.model import Profile
from cluster.inventory.scenario import loads
from cluster.migration.spec import Trigger
from cluster.policy.messages import MigrationRequested, Record, StartMigration
from cluster.policy.preflight import CHECKS
from tests.policy.building import Hand

# Two hosts as the how-to wants them, and a VM that may go from one to the other.
RIGHT = """\
[scenario]
duration_s = 60
profile = "PROFILE"
[drs]
enabled = false

[[host]]
name = "esx-1"
cpu_mhz = 4000
memory_mib = 1024
nic = "1GbE"
other_nics = ["vmnic1"]
datastores = ["shared", "local-1"]
cpu_family = "xeon"
[[host.switch]]
name = "vSwitch0"
nics = ["vmnic1"]                      # of the source
[[host.switch.port_group]]
label = "Production"
network = "VM Network"
[[host.switch]]
name = "vSwitch1"
nics = ["vmnic0"]
[[host.switch.kernel_port]]
label = "VMotion"
ip_address = "10.0.0.1"
subnet_mask = "255.255.255.0"
vmotion = true

[[host]]
name = "esx-2"
cpu_mhz = 4000
memory_mib = 1024
nic = "1GbE"
other_nics = ["vmnic1"]
datastores = ["shared"]
cpu_family = "xeon"                    # of the destination
[[host.switch]]
name = "vSwitch0"
nics = ["vmnic1"]
[[host.switch.port_group]]
label = "OTHER"
network = "VM Network"
[[host.switch]]
name = "vSwitch1"
nics = ["vmnic0"]
[[host.switch.kernel_port]]
label = "VMotion"
ip_address = "10.0.0.2"
subnet_mask = "255.255.255.0"
vmotion = true                         # of the destination

[[vm]]
name = "web-1"
host = "esx-1"
memory_mib = 64
cpu_mhz = 1000
demand = 100
datastore = "shared"
"""
# What `vi3` wants is what `vsphere` forbids: condition 8 of the how-to is the reverse.
OTHER = {Profile.VI3: "Production 2", Profile.VSPHERE: "Production"}

BROKEN = {
    1: ("demand = 100", 'demand = 100\nlocal_devices = ["CD/DVD drive 1"]'),
    2: ('nics = ["vmnic1"]                      # of the source', "nics = []"),
    3: ("demand = 100", "demand = 100\ncpu_affinity = [0]"),
    4: ("demand = 100", "demand = 100\nclustered = true"),
    5: ("demand = 100", 'demand = 100\nswap_datastore = "local-1"'),
    6: ('datastore = "shared"', 'datastore = "local-1"'),
    7: ('cpu_family = "xeon"                    # of', 'cpu_family = "opteron"  # of'),
    9: ("vmotion = true                         # of", "vmotion = false  # of"),
}
NUMBERS = {check.name: check.condition for check in CHECKS}
PROFILES = pytest.mark.parametrize("profile", list(Profile))


def broken(profile: Profile, *conditions: int) -> str:
    """The file with some of the nine conditions broken."""
    other = OTHER[profile]
    if 8 in conditions:
        other = next(label for label in OTHER.values() if label != other)
    text = RIGHT.replace("PROFILE", profile.value).replace("OTHER", other)
    for condition in conditions:
        if condition != 8:
            before, after = BROKEN[condition]
            assert 1 == text.count(before)
            text = text.replace(before, after)
    return text


def asked(text: str, tmp_path):
    scenario = loads(text, file="nine.toml", directory=tmp_path)
    wanted = MigrationRequested(vm="web-1", destination="esx-2", trigger=Trigger.USER)
    return Hand(scenario).up().send(wanted)


def conditions_in(commands) -> list[int]:
    (refusal,) = (c for c in commands if isinstance(c, Record) and c.what == "refused")
    return [NUMBERS[problem["check"]] for problem in dict(refusal.fields)["problems"]]


@PROFILES
def test_when_nothing_is_broken_it_migrates(profile, tmp_path):
    commands = asked(broken(profile), tmp_path)
    assert 1 == sum(isinstance(c, StartMigration) for c in commands)


@PROFILES
@pytest.mark.parametrize("condition", range(1, 10))
def test_each_alone_is_refused_with_exactly_its_own_problem(profile, condition, tmp_path):
    commands = asked(broken(profile, condition), tmp_path)
    assert not any(isinstance(c, StartMigration) for c in commands)
    assert [condition] == conditions_in(commands)


@PROFILES
def test_all_nine_are_refused_with_all_nine(profile, tmp_path):
    commands = asked(broken(profile, *range(1, 10)), tmp_path)
    assert list(range(1, 10)) == conditions_in(commands)
