"""The names that a cluster's actors have in its namespace."""

CENTER = "center"
LOAD = "load"
LICENCES = "licences"


def namespace_of(cluster: str) -> str:
    """Return where a cluster's names are, so that several live side by side."""
    return f"vmotion-{cluster}"


def host_name(host: str) -> str:
    """Return the name of a host's actor."""
    return f"host/{host}"
