"""The table of preflight's checks as Markdown, for docs/howto.md.

`python -m cluster.policy.checks_table` prints it.
"""

from cluster.policy.preflight import CHECKS

BEGIN = "<!-- begin of the table that `python -m cluster.policy.checks_table` makes -->"
END = "<!-- end of the table -->"


def checks_table() -> str:
    """Return one row a check, in the order in which problems are told."""
    rows = ["| Condition | Check | Reads | What to do |", "|---|---|---|---|"]
    rows += [
        f"| {check.condition or '–'} | {check.name} | {check.reads} | {check.cure} |"
        for check in CHECKS
    ]
    return "\n".join(rows)


if __name__ == "__main__":
    print(checks_table())
