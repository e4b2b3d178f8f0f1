"""What the errata say of the gradients: nothing that a record could decide."""

from prose import Entries

ENTRIES = Entries(
    neutral=(
        "moving that current measures the derivative",
        "To the claim that the term is new",
        "Whether it helps is another question",
        "This is zero at $U = 1$ and far from the threshold",
        "the potential just as far on the other side",
    ),
)
