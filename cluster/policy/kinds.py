"""Thousands of VMs and hosts come in few kinds: each is looked at once, and a kind is judged once."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from cluster.inventory.demand import Constant
from cluster.inventory.model import GuestSpec, HostSpec, VmSpec
from cluster.inventory.switches import KernelPort, interface_of

_NO_GUEST = GuestSpec(program="")
_NO_DEMAND = Constant(mhz=0.0)


class Named(Hashable, Protocol):
    """A frozen configuration with a name."""

    @property
    def name(self) -> str: ...


Spec = TypeVar("Spec", bound=Named)


class Kinds(Generic[Spec]):
    """Numbers the kinds of specs; a spec that was seen before is found by its identity.

    A kind that nobody has any more keeps its number.

    Attributes:
        found: One spec of each kind, by its number.
    """

    def __init__(self, kind_of: Callable[[Spec], Spec]) -> None:
        """`kind_of` returns the spec without what makes no difference."""
        self.found: list[Spec] = []
        self._kind_of = kind_of
        self._numbers: dict[Spec, int] = {}
        self._seen: dict[str, tuple[Spec, int]] = {}

    def numbers(self, specs: Iterable[Spec]) -> npt.NDArray[np.int64]:
        """Return the number of each spec's kind, (specs,)."""
        return np.array([self._number(spec) for spec in specs], np.int64)

    def _number(self, spec: Spec) -> int:
        seen = self._seen.get(spec.name)
        if seen is not None and seen[0] is spec:
            return seen[1]
        kind = self._kind_of(spec)
        number = self._numbers.setdefault(kind, len(self._numbers))
        if number == len(self.found):
            self.found.append(kind)
        self._seen[spec.name] = (spec, number)
        return number


def vm_kind(spec: VmSpec) -> VmSpec:
    """The VM without what no check of its configuration reads; what is new in it is kept."""
    return replace(
        spec, name="", host=None, guest=_NO_GUEST, demand=_NO_DEMAND, clients=None, seed=0
    )


def host_kind(spec: HostSpec) -> HostSpec:
    """The host likewise; of a VMkernel port only its subnet is compared."""
    switches = tuple(
        replace(switch, kernel_ports=tuple(_subnet(port) for port in switch.kernel_ports))
        for switch in spec.switches
    )
    return replace(spec, name="", fault_domain="", features=None, switches=switches)


def _subnet(port: KernelPort) -> KernelPort:
    interface = interface_of(port)
    if interface is None:
        return port
    return replace(port, ip_address=str(interface.network.network_address))
