"""What preflight is asked: facts about a VM, two hosts, and this moment."""

from dataclasses import dataclass

from cluster.inventory.model import HostSpec, Mode, Profile, VmSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """What a host is right now.

    Attributes:
        state: In words.
        answers: It can send a VM away.
        takes_vms: It can take one; a host that enters maintenance mode cannot.
        unlicensed: Why it may not use VMotion; "" is licensed.
        may_not_run: Why it may not run VMs at all; likewise.
        serves_faults: Its kernel can carry post-copy.
    """

    state: str
    answers: bool
    takes_vms: bool
    unlicensed: str
    serves_faults: bool
    may_not_run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What may be different in a second.

    Attributes:
        source: None when the VM is to be powered on.
        free_mib: On the destination, the VM itself not counted.
        free_reserved_mhz: CPU of the destination that nobody has reserved, likewise.
        broken_rules: Sentences of the rules that would newly be broken.
        mode: What was asked for; None leaves it to the cluster.
        line_bytes_per_second: What the network between the two was measured to carry.
        stun_s: Predicted for a migration between these hosts.
    """

    source: HostFacts | None
    destination: HostFacts
    free_mib: int
    free_reserved_mhz: float
    broken_rules: tuple[str, ...] = ()
    mode: Mode | None = None
    line_bytes_per_second: float | None = None
    stun_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """May `vm` go from `source` to `destination`, or be powered on there without a source?

    Without a `moment` only lasting configuration is judged.
    """

    vm: VmSpec
    source: HostSpec | None
    destination: HostSpec
    profile: Profile = Profile.VI3
    evc_features: tuple[str, ...] | None = None
    moment: Moment | None = None
