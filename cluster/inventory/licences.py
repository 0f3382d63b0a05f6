"""Which licences a scenario begins with: frozen facts, not yet judged."""

from dataclasses import dataclass
from datetime import date

from cluster.inventory.licence_terms import Product

EVALUATION_DAYS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceSettings:
    """Nothing in it is the evaluation: all features on all hosts, for 60 days.

    Attributes:
        products: Licences bought for the run, from a vendor of its own.
        file: A licence file's path, as the user wrote it, and `text` what is in it.
        vendor_key: Public key of the vendor who signed the file.
        begins: The day on which the run begins; None is today.
        evaluation_days_left: Of the evaluation, when the run begins.
    """

    products: tuple[tuple[Product, int], ...] = ()
    file: str = ""
    text: str = ""
    vendor_key: bytes | None = None
    begins: date | None = None
    evaluation_days_left: int = EVALUATION_DAYS


NO_LICENCES = LicenceSettings()
