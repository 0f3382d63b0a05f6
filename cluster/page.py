"""The unit of everything that moves: one page of guest memory."""

PAGE_BYTES = 4096
