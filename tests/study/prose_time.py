"""What the chapter on tasks of time says of the gradients."""

from prose import Entries

ENTRIES = Entries()
