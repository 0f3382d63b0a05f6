"""Units of memory: the page, which everything that moves is counted in, and the mebibyte."""

PAGE_BYTES = 4096
MIB = 1 << 20
