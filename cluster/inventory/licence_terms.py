"""What is sold and how it is counted: editions, features, processors."""

import math
from dataclasses import dataclass
from enum import Enum

# A licence covers two processors, and a processor has up to four cores.
PROCESSORS_PER_LICENCE = 2
CORES_PER_PROCESSOR = 4


class Feature(Enum):
    """What a host, or VirtualCenter itself, may do. The values are the names in licence files."""

    ESX = "PROD_ESX"
    VIRTUALCENTER = "PROD_VC"
    VMOTION = "VC_VMOTION"
    DRS = "VC_DRS"
    HA = "VC_DAS"

    @property
    def title(self) -> str:
        """As people say it."""
        return _TITLES[self]


_TITLES = {
    Feature.ESX: "ESX Server",
    Feature.VIRTUALCENTER: "VirtualCenter",
    Feature.VMOTION: "VMotion",
    Feature.DRS: "DRS",
    Feature.HA: "HA",
}

# What else a host needs before a feature does anything.
NEEDS: dict[Feature, tuple[Feature, ...]] = {
    Feature.ESX: (),
    Feature.VIRTUALCENTER: (),
    Feature.VMOTION: (Feature.ESX,),
    Feature.DRS: (Feature.ESX, Feature.VMOTION),
    Feature.HA: (Feature.ESX,),
}
HOST_FEATURES = (Feature.ESX, Feature.VMOTION, Feature.DRS, Feature.HA)


class FeatureName(Enum):
    """A feature of hosts as it is typed in a scenario file or on a command line."""

    ESX = "esx"
    VMOTION = "vmotion"
    DRS = "drs"
    HA = "ha"

    @property
    def feature(self) -> Feature:
        """The feature that is meant."""
        return Feature[self.name]


FEATURE_NAMES = tuple(name.value for name in FeatureName)


class Product(Enum):
    """What an order names. VMotion alone is for Starter and Standard; Enterprise contains it."""

    STARTER = "starter"
    STANDARD = "standard"
    ENTERPRISE = "enterprise"
    VIRTUALCENTER = "virtualcenter"
    VMOTION = "vmotion"


FEATURES: dict[Product, tuple[Feature, ...]] = {
    Product.STARTER: (Feature.ESX,),
    Product.STANDARD: (Feature.ESX,),
    Product.ENTERPRISE: (Feature.ESX, Feature.VMOTION, Feature.DRS, Feature.HA),
    Product.VIRTUALCENTER: (Feature.VIRTUALCENTER,),
    Product.VMOTION: (Feature.VMOTION,),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """So many licences of a product; one is for two processors, or for one VirtualCenter.

    Attributes:
        days: How long they are good for; None is for ever.
    """

    product: Product
    count: int
    days: int | None = None


def licences_needed(sockets: int, cores_per_socket: int) -> int:
    """Return how many licences of a feature a host takes.

    A socket with more than four cores counts as several processors. Two sockets of one
    to four cores take 1 licence, two of eight cores take 2, one of twelve takes 2.
    """
    processors = sockets * math.ceil(cores_per_socket / CORES_PER_PROCESSOR)
    return math.ceil(processors / PROCESSORS_PER_LICENCE)
