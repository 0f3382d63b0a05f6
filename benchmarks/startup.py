"""Start 8 hosts and 64 VMs of 16 MiB: how long until all run, memory for each VM, what bounds it.

The time is split by what happens: Ray itself, the hosts, the VMs. What bounds it is read
from the CPU time that all processes took: as many cores' worth as there are is CPU-bound.

    python benchmarks/startup.py
    python benchmarks/startup.py --quick --json
"""

import os
import resource
import time
from pathlib import Path

from claims import Claim, arguments, finish

from cluster.actors.cluster import Cluster, wait_until_up
from cluster.actors.session import ray_session
from cluster.inventory.demand import Constant
from cluster.inventory.model import DrsSettings, GuestSpec, HostSpec, Scenario, VmSpec
from cluster.policy.state import HostState, PowerState

_TICK_HZ = os.sysconf("SC_CLK_TCK")


def scenario(hosts: int, vms: int) -> Scenario:
    """A cluster of idle VMs, spread evenly."""
    return Scenario(
        name="startup",
        duration_s=1.0,
        hosts=tuple(
            HostSpec(name=f"esx-{i}", cpu_mhz=9600.0, memory_mib=4096) for i in range(hosts)
        ),
        vms=tuple(
            VmSpec(
                name=f"vm-{i}",
                memory_mib=16,
                cpu_mhz=1000.0,
                guest=GuestSpec(program="idle"),
                demand=Constant(mhz=100.0),
                host=f"esx-{i % hosts}",
            )
            for i in range(vms)
        ),
        drs=DrsSettings(enabled=False),
    )


def processes(name: str) -> list[int]:
    """Return the pids of workers that run actors of class `name`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "cmdline").read_bytes().startswith(b"ray::" + name.encode()):
                    found.append(int(entry.name))
            except OSError:
                continue  # it has ended meanwhile
    return found


def private_mib(pid: int) -> float:
    """Return what would be free again if the process ended: its proportional set size."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no Pss for {pid}")


def cpu_s_of_machine() -> float:
    """Return the CPU seconds all processes have used since boot, idle and waiting left out."""
    fields = [int(x) for x in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(fields[:3]) + sum(fields[5:8])) / _TICK_HZ


def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--hosts", type=int, default=None)
    parser.add_argument("--vms", type=int, default=None)
    options = parser.parse_args()
    hosts = options.hosts or (4 if options.quick else 8)
    vms = options.vms or (16 if options.quick else 64)
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    began = time.monotonic()
    with ray_session(None, namespace="startup"):
        ray_s = time.monotonic() - began
        cpu_before = cpu_s_of_machine()
        launched = time.monotonic()
        cluster = Cluster.launch(scenario(hosts, vms))
        hosts_up: list[float] = []

        def looked(view):
            if not hosts_up and all(h.state is HostState.CONNECTED for h in view.hosts):
                hosts_up.append(time.monotonic())

        try:
            view = wait_until_up(cluster, looked)
            up = time.monotonic()
            busy = (cpu_s_of_machine() - cpu_before) / (up - launched)
            running = sum(power is PowerState.ON for _, _, power in view.vms)
            vm_mib = [private_mib(pid) for pid in processes("Vm")]
            host_mib = [private_mib(pid) for pid in processes("Host")]
        finally:
            cluster.stop()
    n = f"{hosts} hosts, {vms} VMs of 16 MiB"
    cores = os.cpu_count() or 1
    return finish(
        [
            Claim(
                claim="VMs running",
                value=running,
                unit="VMs",
                bar=f"all {vms}",
                holds=running == vms,
                conditions=n,
            ),
            Claim(claim="Ray started", value=ray_s, unit="s", conditions=n),
            Claim(claim="hosts connected after that", value=hosts_up[0] - launched, unit="s"),
            Claim(claim="all VMs up after that", value=up - hosts_up[0], unit="s"),
            Claim(claim="each VM", value=(up - hosts_up[0]) / vms, unit="s/VM", n=vms),
            Claim(
                claim="memory a VM process, guest memory apart",
                n=len(vm_mib),
                unit="MiB",
                value=sum(vm_mib) / len(vm_mib),
                conditions="proportional set size",
            ),
            Claim(
                claim="memory a host process",
                n=len(host_mib),
                unit="MiB",
                value=sum(host_mib) / len(host_mib),
                conditions="proportional set size",
            ),
            Claim(
                claim="cores busy meanwhile",
                value=busy,
                unit=f"of {cores}",
                conditions="near all of them: the CPU that starts Python processes is the bound",
            ),
        ],
        as_json=options.json,
    )


if __name__ == "__main__":
    raise SystemExit(main())
