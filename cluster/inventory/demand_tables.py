"""The shapes in which a scenario file may give a VM's demand."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from cluster.inventory.fields import Mhz, PositiveSeconds, Seconds, Table, by_type


class SineTable(Table):
    """A wave around a mean, never below 0."""

    mean_mhz: Mhz = Field(description="Middle of the wave.")
    amplitude_mhz: Mhz = Field(description="Height of the wave above its middle.")
    period_s: PositiveSeconds = Field(description="Time from crest to crest.")
    phase_s: Seconds = Field(0.0, description="The wave starts this much later.")


class ConstantDemand(Table):
    """The same demand for ever; a plain number says the same."""

    constant: Mhz = Field(description="MHz.")


class StepsDemand(Table):
    """Demand that jumps."""

    steps: list[Annotated[list[float], Field(min_length=2, max_length=2)]] = Field(
        min_length=1,
        description="Pairs [from this second on, MHz], in ascending order; "
        "the first MHz holds from the start.",
    )


class SineDemand(Table):
    """Demand that comes and goes."""

    sine: SineTable = Field(description="The wave.")


class UniformDemand(Table):
    """Another constant demand for each VM of a group, drawn once by the scenario's seed."""

    uniform: Annotated[list[Mhz], Field(min_length=2, max_length=2)] = Field(
        description="[lowest, highest] MHz; every value between is as likely.",
    )


class TraceDemand(Table):
    """Demand recorded elsewhere: a column of a CSV, Parquet or NPZ file."""

    trace: str = Field(description="Path of the file, from the scenario file's directory.")
    column: Annotated[
        Annotated[str, Tag("<name>")] | Annotated[Annotated[int, Field(ge=0)], Tag("<index>")],
        Discriminator(
            by_type(text="<name>", number="<index>"),
            custom_error_type="column_type",
            custom_error_message='a column\'s name, its number from 0, or "each"',
        ),
    ] = Field(
        0,
        description='Name of the column or its number from 0; "each" gives VM i of a group column i.',
    )
    unit: Literal["mhz", "percent"] = Field(
        "mhz", description="What the numbers are: MHz, or percent of the VM's cpu_mhz."
    )
    interval_s: PositiveSeconds | None = Field(
        None,
        description="Time between two samples in the run; "
        "taken from the trace's column time_s if it is left out.",
    )


def _demand_tag(value: object) -> str | None:
    match value:
        case bool():
            return None
        case int() | float():
            return "<number>"
        case dict():
            for kind in ("constant", "steps", "sine", "uniform", "trace"):
                if kind in value:
                    return f"<{kind}>"
            return None
        case _:
            return None


DemandShape = Annotated[
    Annotated[Mhz, Tag("<number>")]
    | Annotated[ConstantDemand, Tag("<constant>")]
    | Annotated[StepsDemand, Tag("<steps>")]
    | Annotated[SineDemand, Tag("<sine>")]
    | Annotated[UniformDemand, Tag("<uniform>")]
    | Annotated[TraceDemand, Tag("<trace>")],
    Discriminator(
        _demand_tag,
        custom_error_type="demand_type",
        custom_error_message="a number of MHz, or a table with one of "
        "constant, steps, sine, uniform, trace",
    ),
]
