"""What the list of records says of the gradients: nothing that a record could decide."""

from prose import Entries

ENTRIES = Entries(neutral=("a difference in the last digit can add or remove a spike",))
