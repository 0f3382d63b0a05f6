"""What somebody may want of VirtualCenter: heard as events, alone or as a task that is followed."""

from dataclasses import dataclass
from typing import Any

from cluster.inventory.licence_terms import Feature
from cluster.inventory.model import HostSpec, Mode
from cluster.migration.spec import Trigger
from cluster.policy.licence_file import LicenceFile
from cluster.policy.networking import VMotionSetup


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConnectRequested:
    """Somebody wants a host back that does not respond; it comes empty."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceRequested:
    """Somebody wants a host empty. `wait`: also while some VMs cannot go; else give up then."""

    host: str
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceCancelled:
    """Somebody does not want a host to enter maintenance mode any more."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MaintenanceEnded:
    """Somebody has finished the work on a host."""

    host: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DrsConfigured:
    """DRS works in another way from now on; a single VM's automation is in its own spec.

    `changes`: (field of `DrsSettings`, value). Two who change something at once both have it.
    """

    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PassRequested:
    """Somebody wants DRS to look now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecommendationsApproved:
    """Somebody has consented to the open recommendations for these VMs; None: to all."""

    vms: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReconfigured:
    """A host is configured in another way from now on; it keeps its name."""

    spec: HostSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class VMotionConfigured:
    """Somebody configures VMotion on a host: turns it on or off, gives it a port group, or both.

    `setup` None adds no port group; `vmotion` None leaves it on or off.
    """

    host: str
    setup: VMotionSetup | None = None
    vmotion: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmReconfigured:
    """A VM is configured in another way from now on; it keeps its name and its memory.

    `changes`: (field of `VmSpec`, value). Two who change something at once both have it.
    """

    vm: str
    changes: tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LicencesOffered:
    """Somebody wants this file in place of the installed one; the vendor's key says who signed it.

    `held_at`: where the licence server keeps it, with other vendors' licences; "" as before.
    """

    file: LicenceFile
    vendor_key: bytes
    held_at: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesTicked:
    """Somebody wants hosts licensed for features."""

    hosts: tuple[str, ...]
    features: tuple[Feature, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesUnticked:
    """Somebody takes features from hosts, and what needs them; None is all: a release."""

    hosts: tuple[str, ...]
    features: tuple[Feature, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceServerLost:
    """The licence server does not answer any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceServerBack:
    """The licence server answers again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOnRequested:
    """Somebody wants a VM on. `host` None: on its own host, or where DRS places it."""

    vm: str
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOffRequested:
    """Somebody wants a VM off; its memory is given up."""

    vm: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationRequested:
    """Somebody wants a VM elsewhere. `destination` None lets DRS's placement choose.

    `onward`: where it goes on to when it has arrived, because the way there is blocked now.
    """

    vm: str
    destination: str | None
    trigger: Trigger
    mode: Mode | None = None
    reason: str = ""
    onward: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested:
    """Somebody wants a VM's migration stopped."""

    vm: str


Wish = (
    MigrationRequested
    | VMotionConfigured
    | CancelRequested
    | HostConnectRequested
    | MaintenanceRequested
    | MaintenanceCancelled
    | MaintenanceEnded
    | DrsConfigured
    | PassRequested
    | RecommendationsApproved
    | HostReconfigured
    | VmReconfigured
    | LicencesOffered
    | FeaturesTicked
    | FeaturesUnticked
    | LicenceServerLost
    | LicenceServerBack
    | PowerOnRequested
    | PowerOffRequested
)
